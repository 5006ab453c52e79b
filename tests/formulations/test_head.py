"""The head: each kind of task can be learnt by each layout, scores are those of a direct computation."""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmlab.errors import UserError
from lmlab.formulations.head import POOLINGS, Head, mean_by_group
from lmlab.formulations.sequence import TextGeneration
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.tasks.choice import Choice
from lmlab.tasks.classification import Classification
from lmlab.tasks.regression import Regression
from lmlab.tasks.span import SpanExtraction
from lmlab.tasks.tagging import Tagging
from lmlab.text.tokenizers import BPE, WordPiece

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
TOKENIZER = WordPiece(vocab_size=400, num_sentinels=2).train([" ".join(WORDS)] * 3)
LAYOUTS = ("encoder", "decoder", "encoder-decoder")
NAMES = {"name": "t", "source": "none"}


def model(layout, dropout=0.0, max_positions=64, num_layers=2):
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_layers": num_layers, "num_heads": 2, "intermediate_size": 64, "dropout": dropout}
    facts = {"vocab_size": TOKENIZER.vocab_size, "max_positions": max_positions, "attention_dropout": dropout}
    if layout == "encoder-decoder":
        return T5(TOKENIZER.vocab_size, TOKENIZER.pad_id, head_size=16, **size)
    return (Bert if layout == "encoder" else Gpt)(**facts, **size)


# --- eight rows of each kind; the texts differ in length ---


def sentences():
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, 2 + i, replace=False)) for i in range(8)]


def single():
    task = Classification(labels=["a", "b", "c"], fields=["s"], metrics=["accuracy"], **NAMES)
    return task, rows_of([{"s": s} for s in sentences()], [i % 3 for i in range(8)])


def pair():
    task = Classification(labels=["a", "b", "c"], fields=["s", "t"], metrics=["accuracy"], **NAMES)
    inputs = [{"s": s, "t": WORDS[i]} for i, s in enumerate(sentences())]
    return task, rows_of(inputs, [i % 3 for i in range(8)])


def regression():
    task = Regression(low=0, high=5, fields=["s"], metrics=["pearson"], **NAMES)
    return task, rows_of([{"s": s} for s in sentences()], [i % 5 / 2 for i in range(8)])


def apart():
    return pair()


def apart_values():
    task = Regression(low=0, high=5, fields=["s", "t"], metrics=["pearson"], **NAMES)
    return task, [row | {"target": i % 5 / 2} for i, row in enumerate(pair()[1])]


def tagging():
    task = Tagging(labels=["x", "y"], fields=["w"], metrics=["accuracy"], **NAMES)
    words = [s.split() for s in sentences()]
    return task, rows_of([{"w": each} for each in words], [[WORDS.index(w) % 2 for w in each] for each in words])


def span():
    """Every third question has no answer in its text."""
    task = SpanExtraction(unanswerable=True, fields=["q", "c"], target="a", metrics=["f1"], **NAMES)
    answers = [[s.split()[1]] if i % 3 else [] for i, s in enumerate(sentences())]
    targets = [{"text": a, "answer_start": [s.index(x) for x in a]} for s, a in zip(sentences(), answers, strict=True)]
    return task, rows_of([{"q": WORDS[i], "c": s} for i, s in enumerate(sentences())], targets)


def choice():
    """Rows of two to four choices."""
    task = Choice(fields=["s"], choices=["c"], metrics=["accuracy"], **NAMES)
    inputs = [{"s": s, "choices": [f"{WORDS[i]} {w}" for w in WORDS[: 2 + i % 3]]} for i, s in enumerate(sentences())]
    return task, [row | {"right": [row["target"]], "group": None} for row in rows_of(inputs, [i % 2 for i in range(8)])]


def rows_of(inputs, targets):
    return [{"id": str(i), "inputs": x, "target": y} for i, (x, y) in enumerate(zip(inputs, targets, strict=True))]


APART = (apart, apart_values)
KINDS = (single, pair, regression, *APART, tagging, span, choice)
POOLED = (pair, choice)  # classification and regression are read alike
EVERYTHING = [(kind, layout, "token") for kind in KINDS for layout in LAYOUTS]
EVERYTHING += [(kind, layout, pooling) for kind in POOLED for layout in LAYOUTS for pooling in POOLINGS[1:]]
EVERYTHING += [(kind, layout, "mean") for kind in APART for layout in LAYOUTS]
EVERYTHING += [(kind, layout, "last_four") for kind in (tagging, span) for layout in LAYOUTS]
everything = pytest.mark.parametrize(("kind", "layout", "pooling"), EVERYTHING)
SLOW = [pytest.param(*each, marks=pytest.mark.slow) for each in EVERYTHING if each[2] != "token"]


def put(kind, layout, pooling="token", **settings):
    """Head, learner and rows of a kind of task, its long texts in windows."""
    task, rows = kind()
    if kind in (tagging, span):
        settings |= {"max_length": 12, "max_question_tokens": 4, "doc_stride": 2}
    settings |= {"sees_text_whole": True} if pooling == "first" else {}
    settings |= {"pairs": "apart"} if kind in APART else {}
    head = Head(pooling=pooling, **settings)
    assert head.serves(task.kind, layout)
    return head, head.learner(model(layout, num_layers=4 if pooling == "last_four" else 2), task, TOKENIZER), rows


def learn(learner, batches, steps, lr=5e-3):
    """Train until the loss of a step is next to nothing."""
    learner.train()
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for batch in batches.step(step):
            for term, loss in learner(batch).items():
                (loss / batch.counts[term]).backward()
                total += loss.item()
        if total < 0.04:
            break
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()


@pytest.mark.parametrize(("kind", "layout", "pooling"), [*(each for each in EVERYTHING if each[2] == "token"), *SLOW])
def test_eight_examples_can_be_learnt(kind, layout, pooling):
    head, learner, rows = put(kind, layout, pooling)
    learn(learner, head.batches(learner, rows, 2000, 0, batch_size=100), 200)
    answers = head.answer(learner, rows, 100)
    assert answers.loss < 0.02
    task = learner.question.task
    for row, prediction in zip(rows, answers.predictions, strict=True):
        if task.kind == "regression":
            assert prediction == pytest.approx(row["target"], abs=0.3)
        else:
            record = task.record(row, prediction)
            assert record["prediction"] in record["references"]


@everything
def test_neither_padding_nor_company_changes_what_is_said(kind, layout, pooling):
    head, learner, rows = put(kind, layout, pooling)
    alone, together = (head.answer(learner, rows, tokens) for tokens in (1, 10_000))
    assert alone.loss == pytest.approx(together.loss, rel=1e-5)
    if kind in (regression, apart_values):
        assert alone.predictions == pytest.approx(together.predictions, rel=1e-4)
    elif kind is span:
        odds = [[p["null_odds"] for p in each.predictions] for each in (alone, together)]
        assert odds[0] == pytest.approx(odds[1], rel=1e-4, abs=1e-5)
    else:
        assert alone.predictions == together.predictions


@everything
def test_sequences_are_padded_to_the_longest_of_the_batch_alone(kind, layout, pooling):
    _, learner, rows = put(kind, layout, pooling)
    examples = list(learner.question.examples(rows))
    for part in (examples, examples[:3]):
        batch = learner.collate(part)
        assert batch.inputs["input_ids"].shape[1] == max(len(example.ids) for example in part)
        assert batch.num_tokens == sum(map(learner.question.frame.length, part))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [pair, tagging, span])
def test_the_last_four_layers_are_read_side_by_side(kind, layout):
    _, learner, rows = put(kind, layout, "last_four")
    learner.eval()
    batch = learner.collate(list(learner.question.examples(rows)))
    positions = batch.inputs.get("positions")
    everywhere = {name: value for name, value in batch.inputs.items() if name != "positions"}
    states = torch.cat(learner.model.hidden_states(**everywhere)[-4:], dim=-1)
    if positions is not None:
        states = states.flatten(0, 1)[positions]
    torch.testing.assert_close(learner.predict(batch), learner.heads["output"](states))
    assert (positions is None) == (kind is span) and states.shape[-1] == 4 * 32


def test_four_layers_must_be_there():
    for layout in LAYOUTS:
        with pytest.raises(UserError, match="last_four reads 4 layers, and the model has 3"):
            Head(pooling="last_four").learner(model(layout, num_layers=3), pair()[0], TOKENIZER)


def test_the_first_token_is_not_read_from_a_decoder_that_has_seen_nothing_there():
    with pytest.raises(UserError, match="pooling=first"):
        Head(pooling="first").learner(model("decoder"), pair()[0], TOKENIZER)
    Head(pooling="first").learner(model("decoder"), tagging()[0], TOKENIZER)  # tags are read at each word anyway


def test_evaluation_streams_and_tokenises_once(monkeypatch):
    head, learner, rows = put(choice, "encoder")
    predict, alive, sizes = learner.predict, weakref.WeakSet(), []

    def watched(batch):
        assert len(alive) <= 1  # the outputs before the last ones are gone
        outputs = predict(batch)
        alive.add(outputs)
        sizes.append(batch.inputs["input_ids"].numel())
        return outputs

    monkeypatch.setattr(learner, "predict", watched)
    first = head.answer(learner, rows, 60)
    assert len(sizes) > 3 and max(sizes) <= 60
    monkeypatch.setattr(TOKENIZER, "encode_batch", None)
    assert head.answer(learner, rows, 60) == first


def test_mean_pooling_is_the_mean_over_the_tokens_of_each_example():
    rows = torch.randn(7, 3)
    means = mean_by_group(rows, torch.tensor([0, 0, 1, 2, 2, 2, 2]), torch.tensor([2, 1, 4]))
    assert torch.allclose(means, torch.stack([rows[:2].mean(0), rows[2], rows[3:].mean(0)]))


# --- two texts, each by itself ---


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_layer_reads_two_states_their_distance_and_their_product(layout, pooling):
    _, learner, rows = put(apart, layout, pooling)
    learner.eval()
    frame, places = learner.question.frame, {"first": 0, "last": -1}

    def state(text):
        inputs = frame.collate([frame.join([TOKENIZER.encode(text)])])
        states = torch.cat(learner.model.hidden_states(**inputs)[-learner.question.num_layers :], dim=-1)[0]
        return states.mean(0) if pooling == "mean" else states[places.get(pooling, 0 if layout == "encoder" else -1)]

    pairs = [(state(row["inputs"]["s"]), state(row["inputs"]["t"])) for row in rows]
    features = torch.stack([torch.cat([u, v, (u - v).abs(), u * v]) for u, v in pairs])
    scores = learner.predict(learner.collate(list(learner.question.examples(rows))))
    torch.testing.assert_close(scores, learner.heads["output"](features))
    assert list(learner.heads) == ["output"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_order_of_two_texts_matters(layout):
    _, learner, rows = put(apart, layout, "mean")
    learner.eval()
    swapped = [row | {"inputs": {"s": row["inputs"]["t"], "t": row["inputs"]["s"]}} for row in rows]
    scores, others = (learner.predict(learner.collate(list(learner.question.examples(r)))) for r in (rows, swapped))
    assert ((scores - others).abs().amax(-1) > 1e-3).all()


def test_each_of_two_texts_has_the_whole_length():
    _, learner, rows = put(apart, "encoder", max_length=8)
    row = rows[0] | {"inputs": {"s": " ".join(WORDS), "t": " ".join(WORDS)}}
    assert [len(example.ids) for example in learner.question.examples([row])] == [8, 8]


@pytest.mark.parametrize("kind", [tagging, span, choice, "three fields"])
def test_pairs_are_read_apart_where_two_texts_have_one_answer(kind):
    three = Classification(labels=["a", "b"], fields=["s", "t", "u"], metrics=["accuracy"], **NAMES)
    task = three if kind == "three fields" else kind()[0]
    with pytest.raises(UserError, match="pairs=apart is for tasks with two texts, of classification or regression;"):
        Head(pairs="apart").learner(model("encoder"), task, TOKENIZER)


def test_a_text_alone_is_read_as_ever():
    task, rows = single()
    heads = Head(pairs="joined"), Head(pairs="apart")
    joined, alone = (head.learner(model("encoder"), task, TOKENIZER).eval() for head in heads)
    alone.load_state_dict(joined.state_dict())
    scores = [each.predict(each.collate(list(each.question.examples(rows)))) for each in (joined, alone)]
    assert torch.equal(*scores)


# --- choices ---


def test_the_loss_of_a_row_is_a_soft_max_over_its_own_choices():
    _, learner, rows = put(choice, "encoder")
    learner.eval()
    examples = list(learner.question.examples(rows))
    expected = 0.0
    for index, row in enumerate(rows):
        own = [example for example in examples if example.row == index]
        assert len(own) == len(row["inputs"]["choices"])
        scores = torch.cat([learner.predict(learner.collate([example]))[:, 0] for example in own])
        expected += F.cross_entropy(scores, torch.tensor(row["target"]))
    batch = learner.collate(examples)
    assert batch.counts == {"choice": 8}
    torch.testing.assert_close(learner(batch)["choice"], expected)


@pytest.mark.parametrize("kind", [pair, apart])
def test_a_classifier_learns_probabilities_as_well_as_labels(kind):
    """The cross-entropy with a list of probabilities in place of a label; one that is sure is that label."""
    head, learner, rows = put(kind, "encoder")
    shares = np.random.default_rng(1).dirichlet(np.ones(3), len(rows))
    soft = [row | {"target": share.tolist()} for row, share in zip(rows, shares, strict=True)]
    sure = [row | {"target": np.eye(3)[row["target"]].tolist()} for row in rows]
    hard, certain, batch = (
        head.batches(learner, each, 10_000, 0, batch_size=8).step(0)[0] for each in (rows, sure, soft)
    )
    torch.testing.assert_close(learner(certain), learner(hard))
    wanted, scores = batch.targets["labels"], learner.predict(batch)
    assert sorted(wanted[:, 0].tolist()) == pytest.approx(sorted(shares[:, 0]))
    torch.testing.assert_close(learner(batch)["classification"], -(wanted * scores.log_softmax(-1)).sum())


def test_of_several_right_choices_none_is_pushed_down():
    """The loss is that of what the right ones take together of the soft-max (ReCoRD)."""
    task = Choice(fields=[], choices=["c"], metrics=["accuracy"], **NAMES)
    rows = [{"id": "0", "inputs": {"choices": WORDS[:3]}, "target": 0, "right": [0, 2]}]
    rows += [{"id": "1", "inputs": {"choices": WORDS[:2]}, "target": 1}]
    learner = Head().learner(model("encoder"), task, TOKENIZER)
    targets = learner.collate(list(learner.question.examples(rows))).targets
    outputs = torch.tensor([[1.0], [2.0], [-0.5], [0.3], [0.1]], requires_grad=True)
    loss = learner.question.loss(outputs, targets)
    first, second = outputs[:3, 0].softmax(0), outputs[3:, 0].softmax(0)
    torch.testing.assert_close(loss, -(first[0] + first[2]).log() - second[1].log())
    loss.backward()
    assert (outputs.grad[:, 0] > 0).tolist() == [False, True, False, True, False]


def test_the_choices_of_a_row_share_a_batch():
    head, learner, rows = put(choice, "decoder")
    batches = head.batches(learner, rows, 1, 0, batch_size=3)
    parts = [part for step in range(batches.steps_per_epoch) for part in batches.step(step)]
    assert len(parts) == 8 and all(part.counts == {"choice": 1} for part in parts)
    assert sorted(len(part.inputs["input_ids"]) for part in parts) == sorted(len(r["inputs"]["choices"]) for r in rows)


@pytest.mark.parametrize(
    ("fields", "text"), [([], "eta"), (["a"], "alpha [SEP] eta"), (["b", "a"], "beta alpha [SEP] eta")]
)
def test_a_choice_follows_all_fields_as_one_text(fields, text):
    task = Choice(fields=fields, choices=["c"], metrics=["accuracy"], **NAMES)
    row = {"id": "0", "inputs": {"a": "alpha", "b": "beta", "choices": ["zeta", "eta"]}, "target": 1}
    _, second = Head().learner(model("encoder"), task, TOKENIZER).question.examples([row])
    assert [TOKENIZER.token(i) for i in second.ids] == f"[CLS] {text} [SEP]".split()


def test_a_question_after_a_long_passage_is_read():
    """As in ReCoRD and RACE: what is too long is taken off the longest of the texts."""
    task = Choice(fields=["a", "b"], choices=["c"], metrics=["accuracy"], **NAMES)
    inputs = {"a": " ".join(WORDS * 3), "b": "kappa iota", "choices": ["eta theta", "zeta"]}
    row = {"id": "0", "inputs": inputs, "target": 1}
    examples = Head(max_length=12).learner(model("encoder"), task, TOKENIZER).question.examples([row])
    read = [" ".join(TOKENIZER.token(i) for i in example.ids) for example in examples]
    assert read == [
        "[CLS] alpha beta gamma delta epsilon kappa iota [SEP] eta theta [SEP]",
        "[CLS] alpha beta gamma delta epsilon zeta kappa iota [SEP] zeta [SEP]",
    ]


def test_fields_one_after_the_other_have_the_tokens_of_running_text():
    task, text = Choice(fields=["a", "b"], choices=["c"], metrics=["accuracy"], **NAMES), " ".join(WORDS)
    for tokenizer in (TOKENIZER, BPE(vocab_size=400, num_sentinels=2).train([f"a {text} a"] * 3)):
        question = Head().learner(model("encoder"), task, tokenizer).question
        first, second = question.fields({"inputs": {"a": text[:22], "b": text[23:]}})
        assert [*first, *second] == tokenizer.encode(text) and list(first) == tokenizer.encode(text[:22])
        assert [len(each) for each in question.fields({"inputs": {"a": "", "b": text}})][1] > 0


# --- the pieces ---


def test_the_mean_loss_of_an_evaluation_weighs_every_example_the_same():
    head, learner, rows = put(tagging, "encoder")
    one, many = (head.answer(learner, rows, tokens).loss for tokens in (1, 10_000))
    assert one == pytest.approx(many, rel=1e-5)


def test_a_pretrained_pooler_is_read_where_it_was_trained():
    task, _ = pair()
    heads = nn.ModuleDict({"pooler": model("encoder").pooler(), "vocabulary": nn.Linear(2, 2)})
    for pooling in ("token", "first"):
        learner = Head(pooling=pooling).learner(model("encoder"), task, TOKENIZER, heads)
        assert torch.equal(learner.heads["pooler"][0].weight, heads["pooler"][0].weight)
    for pooling in ("last", "mean", "last_four"):
        learner = Head(pooling=pooling).learner(model("encoder", num_layers=4), task, TOKENIZER, heads)
        assert list(learner.heads) == ["output"]
    assert "pooler" not in Head().learner(model("encoder"), tagging()[0], TOKENIZER, heads).heads
    assert not list(Head().learner(model("decoder"), task, TOKENIZER).heads["pooler"].parameters())


def test_the_heads_dropout_is_the_models_unless_given():
    task, _ = pair()
    assert Head().learner(model("encoder", dropout=0.3), task, TOKENIZER).dropout.p == 0.3
    assert Head(dropout=0.0).learner(model("encoder", dropout=0.3), task, TOKENIZER).dropout.p == 0.0


def test_first_pieces_carry_the_label():
    row = {"id": "0", "inputs": {"w": ["alphaeta", "gamma"]}, "target": [0, 1]}
    learner = Head().learner(model("encoder"), tagging()[0], TOKENIZER)
    (example,) = learner.question.examples([row])
    pieces = [TOKENIZER.token(i) for i in example.ids]
    assert len(pieces) > 4  # the first word has several
    assert [pieces[i] for i in example.asked] == [pieces[1], "gamma"]
    assert example.labels == [0, 1]


def test_regression_compares_each_value_with_its_own():
    head, learner, rows = put(regression, "encoder")
    learner.eval()
    batch = learner.collate(list(learner.question.examples(rows)))
    values = torch.tensor(head.answer(learner, rows, 10_000).predictions)
    wanted = torch.tensor([row["target"] for row in rows])
    loss = learner(batch)["regression"].item()
    assert loss == pytest.approx(((values - wanted) ** 2).sum().item(), rel=1e-4)


def test_a_length_beyond_the_models_positions_is_refused():
    task, _ = pair()
    with pytest.raises(UserError, match="at most 16"):
        Head(max_length=17).learner(model("encoder", max_positions=16), task, TOKENIZER)
    assert Head().learner(model("encoder", max_positions=16), task, TOKENIZER).question.frame.max_length == 16


@pytest.mark.parametrize("settings", [{"pooling": "max"}, {"decoder_input": "some"}, {"pairs": "both"}])
def test_unknown_words_are_refused(settings):
    with pytest.raises(UserError, match="must be"):
        Head(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_answer_length": 0},
        {"max_answer_length": -2},
        {"max_question_tokens": -3},
        {"dropout": 1.5},
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_read(settings):
    with pytest.raises(UserError, match=f"formulation.{next(iter(settings))}=.* must be at least"):
        Head(**settings)


@pytest.mark.parametrize("formulation", [Head, TextGeneration])
def test_a_causal_decoder_does_not_see_a_text_whole(formulation):
    causal = Gpt(TOKENIZER.vocab_size, 32, 2, 2, 64, 128, bidirectional_prefix=False)
    kind = {"kind": "classification", "fields": ["s"], "labels": ["a", "b"], "num_outputs": 2}
    with pytest.raises(UserError, match=r"sees_text_whole=true: .*\(model.bidirectional_prefix=false\)"):
        formulation(sees_text_whole=True, max_length=16).learner(causal, SimpleNamespace(**kind), TOKENIZER)
    formulation(sees_text_whole=False, max_length=16).learner(causal, SimpleNamespace(**kind), TOKENIZER)


@pytest.mark.parametrize("pooling", ["token", "first", "last_four"])
def test_a_decoder_that_reads_its_start_token_alone_sees_the_text_through_the_encoder(pooling):
    head, learner, rows = put(pair, "encoder-decoder", pooling, decoder_input="start")
    batch = learner.collate(list(learner.question.examples(rows)))
    assert batch.inputs["decoder_input_ids"].shape == (8, 1)
    learn(learner, head.batches(learner, rows, 2000, 0, batch_size=8), 150)
    assert head.answer(learner, rows, 1000).loss < 0.1


def test_the_last_token_of_a_decoder_is_that_of_the_text():
    _, learner, rows = put(pair, "encoder-decoder", "last", decoder_input="start")
    batch = learner.collate(list(learner.question.examples(rows)))
    assert batch.inputs["decoder_input_ids"].shape == batch.inputs["input_ids"].shape


def test_without_a_decoder_the_states_of_the_encoder_are_read():
    head, learner, rows = put(pair, "encoder-decoder", "mean", decoder_input="none")
    rows = rows[:1] * 2
    batch = learner.collate(list(learner.question.examples(rows)))
    assert "decoder_input_ids" not in batch.inputs
    mean = learner.model.encode(batch.inputs["input_ids"]).mean(1)
    torch.testing.assert_close(learner.eval().predict(batch), learner.heads["output"](mean))
    learn(learner, head.batches(learner, rows, 2000, 0, batch_size=8), 100)
    assert head.answer(learner, rows, 1000).loss < 0.1
