"""Objectives: what is asked where, in each layout, and losses against closed forms."""

import math

import numpy as np
import pytest
import torch

from lmlab.batch import IGNORE
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.errors import UserError
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.objectives.base import Learner
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.mlm import Mlm
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.objectives.sum import Sum
from lmlab.text.features import CONVERTERS

PAD, UNK, CLS, SEP, MASK = range(5)
SENTINELS = list(range(5, 35))
SPECIAL = frozenset(range(35))
VOCAB = 300
MARKS = {"cls_id": CLS, "sep_id": SEP, "special_ids": SPECIAL}


def mlm() -> Mlm:
    return Mlm(TokenMask(MASK, VOCAB, SPECIAL), mask_id=MASK, **MARKS)


def span_corruption(**settings) -> SpanCorruption:
    return SpanCorruption(Spans(MASK, **settings), SENTINELS, SEP)


def text(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(35, VOCAB, length)


def pair(seed: int = 0, is_random: bool = False) -> dict:
    return {"a": text(9, seed), "b": text(12, seed + 1), "is_random": is_random}


def batch_of(objective, layout, units):
    examples = [objective.example(unit, np.random.default_rng(i)) for i, unit in enumerate(units)]
    batch = CONVERTERS[layout](PAD, objective.pools)(examples)
    batch.counts = objective.counts(batch.targets)
    return batch


def test_mlm_asks_for_the_original_at_the_noise_and_nowhere_else():
    unit = text(126)
    unit[50] = SEP  # the border of two documents inside a block
    example = mlm().example(unit, np.random.default_rng(0))
    whole = np.concatenate([[CLS], unit, [SEP]])
    asked = example["labels"] != IGNORE
    assert len(example["inputs"]) == 128 == 2 + mlm().block_length(128)
    assert asked.sum() == round(0.15 * 128)
    assert not asked[[0, 51, 127]].any()
    assert np.array_equal(example["labels"][asked], whole[asked])
    assert np.array_equal(example["inputs"][~asked], whole[~asked])


def test_a_pair_has_its_segments_and_the_label_convention_of_the_config():
    for positive, is_random, label in [
        ("random", True, 1),
        ("random", False, 0),
        ("next", True, 0),
        ("next", False, 1),
    ]:
        example = Nsp(**MARKS, positive=positive).example(pair(is_random=is_random), np.random.default_rng(0))
        assert example["sentence_label"] == label
    tokens, segments = example["inputs"], example["segment_ids"]
    assert tokens[0] == CLS and tokens[10] == SEP and tokens[23] == SEP and len(tokens) == 24
    assert segments.tolist() == [0] * 11 + [1] * 13


def test_bert_sums_the_means_of_both_terms():
    torch.manual_seed(0)
    objective = Sum({"nsp": Nsp(**MARKS), "mlm": mlm()})
    learner = Learner(Bert(VOCAB, 16, 2, 2, 32, max_positions=64), objective).eval()
    short = pair(3) | {"b": text(5)}
    batch = batch_of(objective, "encoder", [pair(0), pair(1, is_random=True), short])
    losses = learner(batch)
    assert batch.counts == {"nsp": 3, "mlm": 4 + 4 + 3}  # round(.15 * 24), round(.15 * 17)
    metrics = learner.evaluate([batch])
    expected = {term: loss.item() / batch.counts[term] for term, loss in losses.items()}
    assert metrics["loss"] == pytest.approx(sum(expected.values()), rel=1e-5)
    assert metrics["mlm_loss"] == pytest.approx(expected["mlm"], rel=1e-5)
    # the same, position by position, from whole hidden states
    inputs = {name: value for name, value in batch.inputs.items() if name != "positions"}
    hidden = learner.model(**inputs)
    logits = learner.heads["next_sentence"](learner.heads["pooler"](hidden[:, 0]))
    nsp = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0]))
    assert expected["nsp"] == pytest.approx(nsp.item(), rel=1e-5)


def test_perplexity_is_that_of_the_tokens_whatever_the_order_of_the_parts():
    objective = Sum({"nsp": Nsp(**MARKS), "mlm": mlm()})
    learner = Learner(Bert(VOCAB, 16, 2, 2, 32, max_positions=64), objective)
    metrics = learner.evaluate([batch_of(objective, "encoder", [pair(0), pair(1)])])
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["mlm_loss"]))


def test_causal_lm_predicts_every_token_once_from_its_past():
    objective = CausalLm()
    batch = batch_of(objective, "decoder", [text(objective.block_length(8)), text(9, 1)])
    assert batch.inputs["input_ids"].shape == (2, 8) and batch.counts == {"causal_lm": 16}
    rows = batch.targets["labels"].view(2, 8)
    assert torch.equal(rows[:, :-1], batch.inputs["input_ids"][:, 1:])
    assert rows[0, -1] == text(9)[-1]


@pytest.mark.parametrize(("rate", "mean", "seq_len", "raw", "targets"), [
    (0.15, 3.0, 32, 34, 8), (0.15, 3.0, 64, 70, 14), (0.15, 3.0, 128, 141, 29), (0.15, 3.0, 256, 284, 58),
    (0.15, 3.0, 512, 568, 114), (0.15, 3.0, 1024, 1137, 229), (0.5, 3.0, 512, 766, 512), (0.15, 1.0, 512, 511, 155),
])  # fmt: skip
def test_lengths_are_those_of_t5(rate, mean, seq_len, raw, targets):
    objective = SpanCorruption(Spans(rate=rate, mean_length=mean), list(range(5, 500)), SEP)
    assert objective.block_length(seq_len) == raw
    example = objective.example(np.arange(1000, 1000 + raw), np.random.default_rng(0))
    assert len(example["inputs"]) == seq_len and len(example["targets"]) == targets


def test_inputs_and_targets_of_span_corruption_give_the_text_back():
    unit = text(100)
    example = span_corruption().example(unit, np.random.default_rng(0))
    assert example["inputs"][-1] == example["targets"][-1] == SEP
    spans, current = {}, None
    for token in example["targets"][:-1].tolist():
        if token in SENTINELS:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    assert list(spans) == SENTINELS[: len(spans)] and all(spans.values())
    restored = [t for token in example["inputs"][:-1].tolist() for t in spans.get(token, [token])]
    assert restored == unit.tolist()


def test_too_many_spans_for_the_sentinels_are_refused():
    objective = span_corruption(mean_length=1)
    with pytest.raises(UserError, match="sentinels"):
        objective.example(text(400), np.random.default_rng(0))
    with pytest.raises(UserError, match="60 spans"):  # before any training: from the length alone
        objective.sequence_length(400, "encoder-decoder")


def test_a_decoder_reads_inputs_and_targets_in_one_sequence():
    objective = SpanCorruption(Spans(), list(range(5, 500)), SEP)
    assert objective.sequence_length(512, "encoder-decoder") == 512
    assert objective.sequence_length(512, "decoder") == 512 + 114 - 1


def test_weights_move_the_loss_and_leave_the_figures_of_its_terms_alone():
    torch.manual_seed(0)
    model = Bert(VOCAB, 16, 2, 2, 32, max_positions=64)
    plain, weighted = (Sum({"mlm": mlm(), "nsp": Nsp(**MARKS)}, weights) for weights in ({}, {"mlm": 2.0}))
    learner = Learner(model, plain)
    batch = batch_of(plain, "encoder", [pair(0), pair(1)])
    before = learner.evaluate([batch])
    learner.objective = weighted
    after = learner.evaluate([batch])
    assert after["loss"] == pytest.approx(2 * before["mlm_loss"] + before["nsp_loss"])
    assert after["perplexity"] == before["perplexity"]


def test_the_corrupted_inputs_stay_whatever_the_order_of_the_parts():
    examples = []
    for parts in ({"mlm": mlm(), "nsp": Nsp(**MARKS)}, {"nsp": Nsp(**MARKS), "mlm": mlm()}):
        examples.append(Sum(parts).example(pair(), np.random.default_rng(0)))
    assert np.array_equal(examples[0]["inputs"], examples[1]["inputs"]) and (examples[0]["inputs"] == MASK).any()
    with pytest.raises(ValueError, match="more than one corrupts"):
        Sum({"a": mlm(), "b": mlm()})


def test_a_decoder_is_asked_for_the_targets_only_and_sees_the_inputs_whole():
    objective = span_corruption()
    units = [text(40), text(40, 1)]
    batch = batch_of(objective, "decoder", units)
    example = objective.example(units[0], np.random.default_rng(0))
    sources, targets = len(example["inputs"]), len(example["targets"])
    assert batch.inputs["prefix_mask"][0].sum() == sources
    assert batch.inputs["positions"][:targets].tolist() == list(range(sources - 1, sources + targets - 1))
    assert batch.targets["labels"][:targets].tolist() == example["targets"].tolist()


def test_an_encoder_decoder_is_fed_the_targets_shifted():
    batch = batch_of(span_corruption(), "encoder-decoder", [text(40), text(80, 1)])
    shifted, labels = batch.inputs["decoder_input_ids"], batch.targets["labels"]
    assert (shifted[:, 0] == PAD).all()
    assert batch.inputs["attention_mask"].sum(1).tolist() == [len(r) for r in map(np.array, inputs_of(40, 80))]
    asked = batch.inputs["positions"]
    same_row = asked.diff() == 1
    assert torch.equal(labels[:-1][same_row], shifted.view(-1)[asked[1:]][same_row])


def inputs_of(*lengths):
    for i, length in enumerate(lengths):
        yield span_corruption().example(text(length, i), np.random.default_rng(i))["inputs"]


@pytest.mark.parametrize(("model", "objective"), [
    (lambda: Bert(VOCAB, 32, 2, 2, 64, max_positions=64), mlm),
    (lambda: Gpt(VOCAB, 32, 2, 2, max_positions=64), CausalLm),
    (lambda: T5(VOCAB, PAD, 32, 2, 2, 2, 16, 64), span_corruption),
    (lambda: Gpt(VOCAB, 32, 2, 2, max_positions=64), span_corruption),
], ids=["bert mlm", "gpt causal_lm", "t5 span_corruption", "gpt span_corruption"])  # fmt: skip
def test_the_loss_starts_at_ln_v_and_eight_examples_are_learnt(model, objective):
    torch.manual_seed(0)
    objective, model = objective(), model()
    learner = Learner(model, objective)
    batch = batch_of(objective, model.layout, [text(40, seed) for seed in range(8)])
    (term,) = batch.counts
    for head in (learner.heads["vocabulary"],):  # nothing known: every token is as likely
        zero = torch.zeros(5, model.hidden_size)
        assert head.cross_entropy(zero, torch.arange(5)).item() / 5 == pytest.approx(math.log(VOCAB), rel=0.02)
    learner.eval()  # no dropout: this is about fitting
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for _ in range(250):
        loss = learner(batch)[term] / batch.counts[term]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    metrics = learner.evaluate([batch])
    assert metrics["loss"] < 0.1 and metrics["accuracy"] > 0.99
