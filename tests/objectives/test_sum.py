"""Sums: terms, weights, forward passes, and what parts share."""

import numpy as np
import pytest
import torch
from asked import END, MARKS, SENTINELS, VOCAB, bart, batches_of, mlm, pair, span_corruption, text, token_mask
from torch.nn import functional as F

from lmlab.batch import IGNORE
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.whole_word import WholeWord
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.objectives.base import Learner
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.denoising import Denoising
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.prefix_lm import PrefixLm
from lmlab.objectives.sop import Sop
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.objectives.sum import Sum


def bert() -> Bert:
    torch.manual_seed(0)
    return Bert(VOCAB, 16, 2, 2, 32, max_positions=64)


def t5() -> T5:
    torch.manual_seed(0)
    return T5(VOCAB, 0, 16, 2, 2, 2, 8, 32)


def means(learner: Learner, batches) -> dict[str, float]:
    """Loss of each term over its own predictions, as a training step divides it."""
    return {term: loss.item() / batch.counts[term] for batch in batches for term, loss in learner(batch).items()}


def test_bert_sums_the_means_of_both_terms():
    objective = Sum({"nsp": Nsp(**MARKS), "mlm": mlm()})
    learner = Learner(bert(), objective).eval()
    (batch,) = batches_of(objective, "encoder", [pair(0), pair(1, is_random=True), pair(2, lengths=(9, 5))])
    losses = means(learner, [batch])
    assert batch.counts == {"nsp": 3, "mlm": 4 + 4 + 3}  # round(.15 * 24), round(.15 * 17)
    metrics = learner.evaluate([batch])
    assert metrics["loss"] == pytest.approx(sum(losses.values()), rel=1e-5)
    assert metrics["mlm_loss"] == pytest.approx(losses["mlm"], rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(np.exp(metrics["mlm_loss"]))  # of the tokens, though nsp is first
    # the same, position by position, from whole hidden states
    inputs = {name: value for name, value in batch.inputs.items() if name != "positions"}
    hidden = learner.model(**inputs)
    logits = learner.heads["pair_answer"](learner.heads["pooler"](hidden[:, 0]))
    assert losses["nsp"] == pytest.approx(F.cross_entropy(logits, torch.tensor([0, 1, 0])).item(), rel=1e-5)


def test_weights_move_the_loss_and_leave_the_figures_of_its_terms_alone():
    plain, weighted = (Sum({"mlm": mlm(), "nsp": Nsp(**MARKS)}, weights) for weights in ({}, {"mlm": 2.0}))
    learner = Learner(bert(), plain)
    batches = batches_of(plain, "encoder", [pair(0), pair(1)])
    before = learner.evaluate(batches)
    learner.objective = weighted
    after = learner.evaluate(batches)
    assert after["loss"] == pytest.approx(2 * before["mlm_loss"] + before["nsp_loss"])
    assert after["perplexity"] == before["perplexity"]


def test_a_sum_of_two_passes_is_the_weighted_sum_of_its_parts_alone():
    """A mixture of denoisers as in UL2: each part with its own corruption, asked in a forward pass of its own."""
    parts = {
        "short": span_corruption(),
        "long": SpanCorruption(Spans(rate=0.5, mean_length=8), SENTINELS, END),
        "prefix": PrefixLm(),
    }
    weights = {"long": 0.25, "prefix": 3.0}
    objective = Sum(parts, weights)
    assert len(objective.passes) == 3 and objective.terms == ("short", "long", "prefix")
    model, units = t5(), [text(objective.block_length(32), seed) for seed in range(4)]
    learner = Learner(model, objective).eval()
    batches = batches_of(objective, "encoder-decoder", units)
    assert [batch.part for batch in batches] == [0, 1, 2]
    metrics, total, gradient = learner.evaluate(batches), 0.0, 0.0
    for name, part in parts.items():
        alone = Learner(model, part)
        alone.heads = learner.heads
        (batch,) = batches_of(part, "encoder-decoder", units)
        alone_metrics = alone.evaluate([batch])
        assert metrics[f"{name}_loss"] == pytest.approx(alone_metrics["loss"], rel=1e-6)
        assert metrics[f"{name}_accuracy"] == alone_metrics["accuracy"]
        total += weights.get(name, 1.0) * alone_metrics["loss"]
        alone.eval()
        loss = alone(batch)[part.name] / batch.counts[part.name]
        gradient = gradient + weights.get(name, 1.0) * torch.autograd.grad(loss, model.embeddings.tokens.weight)[0]
    assert metrics["loss"] == pytest.approx(total, rel=1e-6)
    summed = sum(loss / batch.counts[term] for batch in batches for term, loss in learner(batch).items())
    torch.testing.assert_close(torch.autograd.grad(summed, model.embeddings.tokens.weight)[0], gradient)


def test_the_blocks_of_a_sum_suit_all_of_its_parts():
    objective = Sum({"spans": span_corruption(), "prefix": PrefixLm()})
    assert objective.block_length(32) == min(34, 33)
    assert objective.sequence_length(32, "decoder") == 32 + 8 - 1
    assert Sum({"prefix": PrefixLm()}).sees_inputs_whole and not Sum({"causal": CausalLm()}).sees_inputs_whole


def test_a_question_about_the_pair_shares_the_pass_of_the_first_other_part():
    objective = Sum({"a": mlm(), "nsp": Nsp(**MARKS), "b": mlm(rate=0.5)}, {"b": 2.0})
    batches = batches_of(objective, "encoder", [pair(0), pair(1)])
    assert [set(batch.counts) for batch in batches] == [{"nsp", "a"}, {"b"}]
    learner = Learner(bert(), objective)
    assert set(learner.heads) == {"vocabulary", "pooler", "pair_answer"}  # both parts score the same vocabulary
    metrics = learner.evaluate(batches)
    assert metrics["loss"] == pytest.approx(metrics["a_loss"] + metrics["nsp_loss"] + 2 * metrics["b_loss"])


@pytest.mark.parametrize("order", [("mlm", "sop"), ("sop", "mlm")])
def test_masked_tokens_are_those_of_the_pair_as_it_was_swapped(order):
    objective = Sum({name: {"mlm": mlm(), "sop": Sop(**MARKS)}[name] for name in order})
    (question,) = objective.passes
    unit, labels = pair(lengths=(9, 12)), set()
    for seed in range(20):
        example = question.example(unit, np.random.default_rng(seed))
        asked = example["labels"] != IGNORE
        whole = np.where(asked, example["labels"], example["inputs"])
        first = int(example["segment_ids"].argmax()) - 2
        assert first == (12 if example["sentence_label"] else 9)
        assert np.array_equal(whole[1 : first + 1], (unit.b if example["sentence_label"] else unit.a).tokens)
        labels.add(int(example["sentence_label"]))
    assert labels == {0, 1}


def test_heads_of_pairs_are_exchanged_between_nsp_and_sop():
    trained, other = Learner(bert(), Nsp(**MARKS)), Learner(bert(), Sop(**MARKS))
    other.load_state_dict(trained.state_dict())


def test_a_sum_reads_what_its_parts_read():
    words = WholeWord(4, VOCAB)
    objective = Sum({"a": SpanCorruption(words, SENTINELS, END), "b": Denoising(bart(), END), "c": PrefixLm()})
    assert set(objective.reads) == {"word_starts", "sentence_starts"} and not objective.learns


def test_corruptions_that_learn_are_taught_through_the_sum():
    taught = []

    class Learns(type(token_mask())):
        learns = True

        def learn(self, store, tokenizer, cache_dir=None):
            taught.append((store, tokenizer, cache_dir))
            return "hash"

    def asks() -> SpanCorruption:
        return SpanCorruption(Learns(4, VOCAB), SENTINELS, END)

    objective = Sum({"a": asks(), "b": PrefixLm(), "c": asks()})
    assert objective.learns and asks().learns and not PrefixLm().learns
    assert objective.learn("store", "tokenizer", "folder") == "hashhash"
    assert PrefixLm().learn("store", "tokenizer", "folder") == ""
    assert taught == [("store", "tokenizer", "folder")] * 2


def test_a_sum_of_nothing_and_weights_of_nobody_are_refused():
    with pytest.raises(ValueError, match="name at least one objective"):
        Sum({})
    with pytest.raises(ValueError, match=r"weights names \['msp'\], but the parts are \['mlm'\]"):
        Sum({"mlm": mlm()}, {"msp": 1.0})
    with pytest.raises(ValueError, match="part inner is a sum itself"):
        Sum({"inner": Sum({"mlm": mlm()})})


def test_a_decoder_learns_a_sum_too():
    torch.manual_seed(0)
    objective = Sum({"spans": span_corruption(), "prefix": PrefixLm()})
    learner = Learner(Gpt(VOCAB, 16, 2, 2, max_positions=64), objective)
    batches = batches_of(objective, "decoder", [text(33, seed) for seed in range(4)])
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2)
    before = learner.evaluate(batches)
    for _ in range(20):
        optimizer.zero_grad()
        for batch in batches:
            sum(loss / batch.counts[term] for term, loss in learner(batch).items()).backward()
        optimizer.step()
    after = learner.evaluate(batches)
    assert after["spans_loss"] < before["spans_loss"] and after["prefix_loss"] < before["prefix_loss"]
