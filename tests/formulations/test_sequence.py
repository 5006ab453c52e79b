"""Text from text: every layout learns it, writes what it learnt, and sees neither padding nor the future."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmlab.commands.export import Trained, settings_of, write
from lmlab.errors import Diverged, UserError
from lmlab.formulations.sequence import TextGeneration
from lmlab.models.bart import Bart
from lmlab.models.bert import Bert
from lmlab.models.decoding import beam_search
from lmlab.models.gpt import Gpt
from lmlab.models.mobilebert import MobileBert
from lmlab.models.t5 import T5
from lmlab.models.t5_decoder import T5Decoder
from lmlab.text.tokenizers import WordPiece
from lmlab.tuning.frozen import Frozen

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
TOKENIZER = WordPiece(vocab_size=400, num_sentinels=2).train([" ".join(WORDS)] * 3)
TASK = SimpleNamespace(kind="text", name="t", fields=["source"])
SIZE = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64, "dropout": 0.0}
LEARNT = {"max_positions": 64, "attention_dropout": 0.0}
T5_SIZE = {**SIZE, "head_size": 16}
VOCABULARY = TOKENIZER.vocab_size + 3  # rows to spare

FORMS = {
    "encoder-decoder": (lambda: T5(VOCABULARY, TOKENIZER.pad_id, **T5_SIZE), {}),
    "encoder-decoder-bart": (lambda: Bart(VOCABULARY, TOKENIZER.eos_id, **SIZE, max_positions=64), {}),
    "decoder-causal": (lambda: Gpt(VOCABULARY, **SIZE, **LEARNT), {}),
    "decoder-prefix": (lambda: Gpt(VOCABULARY, **SIZE, **LEARNT), {"sees_text_whole": True}),
    "decoder-local": (lambda: Gpt(VOCABULARY, **SIZE, **LEARNT, local_window=5), {"sees_text_whole": True}),
    "decoder-relative": (lambda: T5Decoder(VOCABULARY, **T5_SIZE), {"sees_text_whole": True}),
    "encoder-in-place": (lambda: Bert(VOCABULARY, **SIZE, **LEARNT), {"encoder_generates": "in_place"}),
    "encoder-on-top": (lambda: Bert(VOCABULARY, **SIZE, **LEARNT, embedding_size=16),
                       {"encoder_generates": "on_top", "num_decoder_layers": 1}),
}  # fmt: skip


def rows(n=8):
    """Sources of three to seven words; targets of one to four."""
    generator = np.random.default_rng(0)
    texts = [generator.choice(WORDS, 3 + i % 5, replace=False).tolist() for i in range(n)]
    pairs = [(" ".join(text), " ".join(text[::-1][: 1 + i % 4])) for i, text in enumerate(texts)]
    return [{"id": str(i), "inputs": {"source": s}, "target": [t, "eta"]} for i, (s, t) in enumerate(pairs)]


def prepared(form, far_from_start=True, **settings):
    """A formulation and a learner, with weights that are far from the start if wanted: its answers are, too."""
    make, own = FORMS[form]
    torch.manual_seed(0)
    formulation = TextGeneration(**{"max_target_length": 8, **own, **settings})
    learner = formulation.learner(make(), TASK, TOKENIZER)
    for parameter in learner.parameters() if far_from_start else ():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return formulation, learner.eval()


def learn(learner, batches, steps, lr=3e-3):
    learner.train()
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        for batch in batches.step(step):
            (learner(batch)["sequence"] / batch.counts["sequence"]).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()


@pytest.mark.parametrize("form", FORMS)
def test_eight_examples_are_learnt_and_written_exactly(form):
    formulation, learner = prepared(form, far_from_start=False)
    assert formulation.serves("text", learner.model.layout)
    learn(learner, formulation.batches(learner, rows(), 4000, 0, batch_size=8), 130, lr=5e-3)
    for num_beams in (1, 3):
        formulation.num_beams = num_beams
        answers = formulation.answer(learner, rows(), 10_000)
        assert answers.loss < 0.05
        assert answers.predictions == [row["target"][0] for row in rows()]


def targets(learner):
    return [[*TOKENIZER.encode(row["target"][0]), TOKENIZER.eos_id] for row in rows()]


def logits(form, learner, source, target):
    """Scores of the vocabulary for each token of a target, from one whole pass over one example."""
    source_ids = [example.ids.tolist() for example in learner.prepare(rows())][source]
    read, written = torch.tensor([source_ids]), torch.tensor([target])
    joined = torch.cat([read, written], dim=1)[:, :-1]
    prefix = (torch.arange(joined.shape[1]) < len(source_ids))[None]
    start = torch.tensor([[learner.model.start_id or TOKENIZER.pad_id]])
    shifted = torch.cat([start, written[:, :-1]], dim=1)
    model = learner.model
    with torch.no_grad():
        if model.layout == "encoder-decoder":
            hidden = model(read, shifted)
        elif "on-top" in form:
            hidden = learner.heads["decoder"].decode(shifted, model(read))
        elif model.layout == "encoder":
            hidden = model(joined, (~prefix).long(), prefix_mask=prefix)
        else:
            hidden = model(joined, prefix_mask=None if form == "decoder-causal" else prefix)
        return learner.heads["vocabulary"](hidden[0, -len(target) :])


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_that_of_each_target_alone_over_the_whole_vocabulary(form):
    formulation, learner = prepared(form)
    count = sum(map(len, targets(learner)))
    wanted = sum(
        float(F.cross_entropy(logits(form, learner, i, target), torch.tensor(target), reduction="sum"))
        for i, target in enumerate(targets(learner))
    )
    losses = [formulation.answer(learner, rows(), tokens).loss for tokens in (1, 10_000)]
    assert losses[0] == pytest.approx(wanted / count, rel=1e-5)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_greedy_search_takes_the_likeliest_token_of_whole_passes_and_a_batch_changes_nothing(form):
    formulation, learner = prepared(form)
    together, alone = (formulation.answer(learner, rows(), tokens).predictions for tokens in (10_000, 1))
    never = torch.tensor(learner.never)
    for i, prediction in enumerate(alone):
        written = []
        for _ in range(8):
            scores = logits(form, learner, i, [*written, TOKENIZER.eos_id])[-1].index_fill(0, never, -torch.inf)
            written.append(int(scores.argmax()))
            if written[-1] == TOKENIZER.eos_id:
                break
        assert prediction == TOKENIZER.decode(written)
    assert together == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize("form", FORMS)
def test_no_token_sees_what_comes_after_it(form):
    _, learner = prepared(form)
    ids = [TOKENIZER.id(word) for word in WORDS]
    before, after = (logits(form, learner, 0, [*ids[:3], *later]) for later in (ids[3:6], ids[6:9]))
    torch.testing.assert_close(before[:4], after[:4])
    assert not torch.allclose(before[4:], after[4:])


def test_an_encoder_in_place_shows_the_source_to_all_and_the_target_to_no_source():
    _, learner = prepared("encoder-in-place")
    examples = learner.prepare(rows())
    batch = learner.writing.collate(examples[:1])
    inputs, length = dict(batch.inputs), len(examples[0].ids)
    del inputs["positions"]
    assert inputs["segment_ids"][0].tolist() == [0] * length + [1] * (inputs["input_ids"].shape[1] - length)
    with torch.no_grad():
        hidden = learner.model(**inputs)
        inputs["input_ids"] = inputs["input_ids"].index_fill(1, torch.tensor([length]), 7)
        other = learner.model(**inputs)
        torch.testing.assert_close(hidden[:, :length], other[:, :length])
        torch.testing.assert_close(hidden[:, :length], learner.model(inputs["input_ids"][:, :length]))


@pytest.mark.parametrize("form", ["encoder-decoder", "decoder-relative"])
def test_beams_find_the_best_of_all_texts_when_there_are_enough(form):
    """With as many beams as there are texts, the search is exhaustive."""
    _, learner = prepared(form)
    allowed = [TOKENIZER.eos_id, *(TOKENIZER.id(word) for word in WORDS[:3])]
    banned = torch.tensor(sorted(set(range(VOCABULARY)) - set(allowed)))
    texts = [[]]
    for _ in range(3):
        texts += [[*text, id] for text in texts for id in allowed[1:] if [*text, id] not in texts]
    examples = learner.prepare(rows())[:2]
    for penalty in (0.0, 1.0, 2.0):
        steps, tokens = learner.writing.begin(learner.model, learner.heads, examples, torch.device("cpu"))
        found = beam_search(steps, learner.heads["vocabulary"], tokens, 3, allowed[0], 40, penalty, banned)
        for i, best in enumerate(found):

            def score(text, row=i, penalty=penalty):
                target = [*text, *allowed[:1]][:3]  # what has not stopped at the limit counts without an end
                chosen = logits(form, learner, row, target).log_softmax(-1).gather(1, torch.tensor(target)[:, None])
                return float(chosen.sum()) / len(target) ** penalty

            assert best == max(texts, key=score)


def half_learnt(**settings):
    """An encoder-decoder that writes something else for each source, and is never sure."""
    formulation, learner = prepared("encoder-decoder", far_from_start=False, **settings)
    learn(learner, formulation.batches(learner, rows(), 4000, 0, batch_size=8), 15)
    return formulation, learner


def test_a_larger_penalty_makes_longer_texts():
    formulation, learner = half_learnt(num_beams=4)
    lengths = []
    for formulation.length_penalty in (0.0, 1.0, 4.0):
        lengths.append(sum(len(text.split()) for text in formulation.answer(learner, rows(), 10_000).predictions))
    assert lengths[0] < lengths[1] < lengths[2]


@pytest.mark.parity
@pytest.mark.parametrize("num_beams", [1, 4])
def test_an_encoder_decoder_writes_what_transformers_writes(num_beams, tmp_path):
    transformers = pytest.importorskip("transformers")
    formulation, learner = half_learnt(num_beams=num_beams, length_penalty=1.5)
    settings = settings_of({"_target_": "lmlab.models.t5.T5", "pad_id": TOKENIZER.pad_id, **T5_SIZE}, learner.model)
    write(Trained(learner, TOKENIZER, "lmlab.models.t5.T5", "span_corruption", settings, (None, None)), tmp_path)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path)
    inputs = learner.writing.collate(learner.prepare(rows())).inputs
    written = theirs.generate(
        inputs["input_ids"], attention_mask=inputs["attention_mask"], num_beams=num_beams, do_sample=False,
        length_penalty=1.5, max_new_tokens=8, suppress_tokens=learner.never,
    )  # fmt: skip
    texts = [TOKENIZER.decode(row) for row in written]
    assert formulation.answer(learner, rows(), 10_000).predictions == texts
    assert len(set(texts)) > 5


def test_a_pretrained_vocabulary_head_is_taken_over():
    model = FORMS["encoder-in-place"][0]()
    heads = nn.ModuleDict({"vocabulary": model.vocabulary_head()})
    nn.init.normal_(heads["vocabulary"].bias)
    for encoder_generates in ("in_place", "on_top"):
        formulation = TextGeneration(encoder_generates=encoder_generates, max_target_length=8)
        learner = formulation.learner(model, TASK, TOKENIZER, heads)
        assert torch.equal(learner.heads["vocabulary"].bias, heads["vocabulary"].bias)
        assert learner.heads["vocabulary"].weight is model.embeddings.tokens.weight


def test_a_decoder_on_top_moves_while_the_encoder_is_frozen():
    formulation, learner = prepared("encoder-on-top")
    Frozen().prepare(learner)
    model = {name: weight.clone() for name, weight in learner.model.named_parameters()}
    assert not learner.train().model.training
    learn(learner, formulation.batches(learner, rows(), 4000, 0, batch_size=8), 150, lr=1e-2)
    assert all(torch.equal(weight, model[name]) for name, weight in learner.model.named_parameters())
    assert formulation.answer(learner, rows(), 4000).predictions == [row["target"][0] for row in rows()]
    assert learner.heads["decoder"].embeddings.tokens.weight is learner.model.embeddings.tokens.weight


def test_frozen_weights_and_no_new_ones_are_refused():
    formulation, learner = prepared("encoder-decoder")
    Frozen().prepare(learner)
    with pytest.raises(UserError, match="nothing to learn"):
        formulation.batches(learner, rows(), 4000, 0, batch_size=8)


def test_a_cut_target_has_no_end():
    formulation, learner = prepared("decoder-causal", max_target_length=2, max_length=5)
    examples = learner.prepare(rows())
    assert max(len(example.ids) for example in examples) == 5
    assert [len(example.labels) for example in examples] == [2] * 8
    assert [int(example.labels[1]) == TOKENIZER.eos_id for example in examples] == [True, False, False, False] * 2
    assert all(len(text.split()) <= 2 for text in formulation.answer(learner, rows(), 500).predictions)


@pytest.mark.parametrize("form", FORMS)
def test_a_learner_may_write_in_another_way(form):
    formulation, learner = prepared(form)
    learnt = formulation.answer(learner, rows(), 10_000)
    other = formulation.decode(learner, num_beams=3, length_penalty=2.0, max_target_length=4)
    found = other.answer(learner, rows(), 10_000)
    asked, alike = prepared(form, num_beams=3, length_penalty=2.0)
    asked.max_target_length = 4
    assert found.predictions == asked.answer(alike, rows(), 10_000).predictions != learnt.predictions
    assert found.loss == pytest.approx(learnt.loss, rel=1e-5)  # of the whole targets
    assert formulation.answer(learner, rows(), 10_000).predictions == learnt.predictions
    with pytest.raises(UserError, match="num_beams=0"):
        formulation.decode(learner, num_beams=0)
    if learner.writing.room(learner.model, learner.heads) is not None:
        with pytest.raises(UserError, match="max_target_length=65: the model has positions for"):
            formulation.decode(learner, max_target_length=65)


@pytest.mark.parametrize("form", ["encoder-decoder", "encoder-on-top"])
def test_sources_are_encoded_once_and_rows_tokenised_once(form, monkeypatch):
    formulation, learner = prepared(form, num_beams=3)
    asked, calls = rows(), []
    for name in ("encode", "examples"):
        own = getattr(learner.writing, name)
        monkeypatch.setattr(learner.writing, name, lambda *given, own=own, name=name: calls.append(name) or own(*given))
    answers = [formulation.answer(learner, asked, 10_000) for _ in range(2)]
    assert answers[0] == answers[1]
    assert calls == ["examples", "encode", "encode"]


def test_what_the_model_reads_is_measured():
    longest = {}
    for form in ("decoder-causal", "encoder-in-place", "encoder-on-top", "encoder-decoder"):
        _, learner = prepared(form)
        longest[form] = learner.longest_sequence(rows())
        sizes = [(len(example.ids), len(example.labels)) for example in learner.prepare(rows())]
        together = max(map(sum, sizes))
        assert longest[form] == (
            together if form in ("decoder-causal", "encoder-in-place") else max(s for s, _ in sizes)
        )


def test_batches_of_sources_and_targets_stay_within_the_budget():
    formulation, learner = prepared("encoder-decoder")
    texts = [" ".join(WORDS * 3), "alpha"]
    pairs = [{"id": str(i), "inputs": {"source": texts[i % 2]}, "target": [texts[1 - i % 2]]} for i in range(20)]
    learner.writing.max_target_length = 64
    for batch in formulation.batches(learner, pairs, 200, 0, batch_size=20).step(0):
        size = sum(batch.inputs[name].numel() for name in ("input_ids", "decoder_input_ids"))
        assert size <= 200


def test_more_beams_than_half_the_vocabulary():
    formulation, learner = prepared("encoder-decoder")
    answers = [formulation.decode(learner, num_beams=n).answer(learner, rows(2), 10_000) for n in (VOCABULARY, 20)]
    assert len(answers[0].predictions) == len(answers[1].predictions) == 2


def test_weights_that_are_no_numbers_are_told():
    formulation, learner = prepared("decoder-causal")
    next(learner.model.parameters()).data.fill_(torch.nan)
    with pytest.raises(Diverged, match="task 't' is nan"):
        formulation.answer(learner, rows(), 10_000)


def test_a_decoder_on_top_may_write_more_than_its_encoder_reads():
    formulation = TextGeneration(encoder_generates="on_top", max_target_length=100)
    learner = formulation.learner(Bert(VOCABULARY, **SIZE, **LEARNT, norm_eps=1e-5), TASK, TOKENIZER)
    assert learner.heads["decoder"].embeddings.positions.num_embeddings == 100
    assert learner.heads["decoder"].embeddings.norm.eps == 1e-5


@pytest.mark.parametrize(("settings", "message"), [
    ({"encoder_generates": "inplace"}, "did you mean 'in_place'"),
    ({"num_beams": 0}, "num_beams=0 must be at least 1"),
    ({"num_decoder_layers": 0}, "num_decoder_layers=0 must be at least 1"),
    ({"max_length": 40, "max_target_length": 25}, "together at most the model's 64"),
    ({"max_length": 3}, "max_length=3 leaves no room"),
    ({"max_target_length": 62}, "4 tokens or more"),
    ({"encoder_generates": "on_top", "max_length": 65}, "take at most 64"),
])  # fmt: skip
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        prepared("encoder-in-place", **settings)


def test_embeddings_that_read_the_next_token_need_a_decoder_on_top():
    torch.manual_seed(0)
    mobile = MobileBert(VOCABULARY, 32, 8, 16, 2, 2, 32, max_positions=64, attention_dropout=0.0, norm="layer_norm")
    with pytest.raises(UserError, match="the one to be written; take on_top"):
        TextGeneration(max_target_length=8).learner(mobile, TASK, TOKENIZER)
    formulation = TextGeneration(max_target_length=8, encoder_generates="on_top")
    learner = formulation.learner(mobile, TASK, TOKENIZER)
    learn(learner, formulation.batches(learner, rows(), 4000, 0, batch_size=8), 100, lr=5e-3)
    assert formulation.answer(learner, rows(), 10_000).predictions == [row["target"][0] for row in rows()]


def test_an_encoder_of_the_users_own_is_told_what_it_lacks():
    other = SimpleNamespace(layout="encoder", max_positions=None)
    with pytest.raises(UserError, match="neither a prefix mask nor a cache"):
        TextGeneration().learner(other, TASK, TOKENIZER)
    shapeless = FORMS["encoder-in-place"][0]()
    shapeless.make_stack = None
    with pytest.raises(UserError, match="no `make_stack`"):
        TextGeneration(max_target_length=8, encoder_generates="on_top").learner(shapeless, TASK, TOKENIZER)
