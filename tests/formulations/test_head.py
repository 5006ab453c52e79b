"""The head: each kind of task can be learnt by each layout, scores are those of a direct computation."""

import numpy as np
import pytest
import torch
from torch import nn

from lmlab.errors import UserError
from lmlab.formulations.head import Head, mean_by_group
from lmlab.formulations.scoring import score
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.tasks.classification import Classification
from lmlab.tasks.regression import Regression
from lmlab.tasks.span import SpanExtraction
from lmlab.tasks.tagging import Tagging
from lmlab.text.tokenizers import WordPiece

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
TOKENIZER = WordPiece(vocab_size=400, num_sentinels=2).train([" ".join(WORDS)] * 3)
LAYOUTS = ("encoder", "decoder", "encoder-decoder")
NAMES = {"name": "t", "source": "none"}


def model(layout, dropout=0.0, max_positions=64):
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64, "dropout": dropout}
    facts = {"vocab_size": TOKENIZER.vocab_size, "max_positions": max_positions, "attention_dropout": dropout}
    if layout == "encoder-decoder":
        return T5(TOKENIZER.vocab_size, TOKENIZER.pad_id, head_size=16, **size)
    return (Bert if layout == "encoder" else Gpt)(**facts, **size)


def sentences(n=8):
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, 6, replace=False)) for _ in range(n)]


def examples(kind):
    """A task of the kind and eight rows."""
    texts = sentences()
    if kind == "classification":
        task = Classification(labels=["a", "b", "c"], fields=["s", "t"], metrics=["accuracy"], **NAMES)
        inputs, targets = [{"s": s, "t": WORDS[i]} for i, s in enumerate(texts)], [i % 3 for i in range(8)]
    elif kind == "regression":
        task = Regression(low=0, high=5, fields=["s"], metrics=["pearson"], **NAMES)
        inputs, targets = [{"s": f"{WORDS[i]} {s}"} for i, s in enumerate(texts)], [i % 5 / 2 for i in range(8)]
    elif kind == "tagging":
        task = Tagging(labels=["x", "y"], fields=["w"], metrics=["accuracy"], **NAMES)
        inputs = [{"w": s.split()} for s in texts]
        targets = [[WORDS.index(word) % 2 for word in s.split()] for s in texts]
    else:
        task = SpanExtraction(unanswerable=True, fields=["q", "c"], target="a", metrics=["f1"], **NAMES)
        inputs = [{"q": WORDS[i], "c": s} for i, s in enumerate(texts)]
        found = [[s.split()[2]] if i % 3 else [] for i, s in enumerate(texts)]
        targets = [{"text": t, "answer_start": [s.index(x) for x in t]} for s, t in zip(texts, found, strict=True)]
    rows = [{"id": str(i), "inputs": x, "target": y} for i, (x, y) in enumerate(zip(inputs, targets, strict=True))]
    return task, rows


def learn(learner, batches, steps, lr=3e-3):
    learner.train()
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        for batch in batches.step(step):
            for term, loss in learner(batch).items():
                (loss / batch.counts[term]).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["classification", "regression", "tagging", "span"])
def test_eight_examples_can_be_learnt(kind, layout):
    task, rows = examples(kind)
    assert Head.serves(kind, layout)
    windows = {"max_length": 12, "max_question_tokens": 4, "doc_stride": 2} if kind == "span" else {}
    head = Head(**windows)
    learner = head.learner(model(layout), task, TOKENIZER)
    learn(learner, head.batches(learner, rows, 2000, 0, batch_size=8), 150)
    metrics, records = score(head, learner, task, {"validation": rows}, 100)
    assert metrics["loss"] < 0.05
    assert metrics[task.main_metric] > (99 if kind == "span" else 0.99)
    assert [record["id"] for record in records] == [row["id"] for row in rows]
    if kind != "regression":
        assert all(record["prediction"] in record["references"] for record in records)


@pytest.mark.parametrize("pooling", ["token", "mean"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_and_batching_change_no_prediction(layout, pooling):
    task, rows = examples("classification")
    rows[0]["inputs"]["s"] = "alpha"
    head = Head(pooling=pooling)
    learner = head.learner(model(layout), task, TOKENIZER).eval()
    together = list(learner.question.examples(rows))
    with torch.no_grad():
        scores = learner.predict(learner.collate(together))
        alone = torch.cat([learner.predict(learner.collate([example])) for example in together])
    assert torch.allclose(scores, alone, atol=1e-5)


def test_mean_pooling_is_the_mean_over_the_tokens_of_each_example():
    rows = torch.randn(7, 3)
    means = mean_by_group(rows, torch.tensor([0, 0, 1, 2, 2, 2, 2]))
    assert torch.allclose(means, torch.stack([rows[:2].mean(0), rows[2], rows[3:].mean(0)]))


def test_the_mean_loss_of_an_evaluation_weighs_every_example_the_same():
    task, rows = examples("tagging")
    rows[0]["inputs"]["w"], rows[0]["target"] = ["alpha"], [0]
    head = Head()
    learner = head.learner(model("encoder"), task, TOKENIZER)
    one, many = (head.answer(learner, rows, tokens).loss for tokens in (1, 10_000))
    assert one == pytest.approx(many, rel=1e-5)


def test_a_pretrained_pooler_is_taken_over():
    task, _ = examples("classification")
    heads = nn.ModuleDict({"pooler": model("encoder").pooler(), "vocabulary": nn.Linear(2, 2)})
    learner = Head().learner(model("encoder"), task, TOKENIZER, heads)
    assert torch.equal(learner.heads["pooler"][0].weight, heads["pooler"][0].weight)
    assert not list(Head().learner(model("decoder"), task, TOKENIZER).heads["pooler"].parameters())


def test_the_heads_dropout_is_the_models_unless_given():
    task, _ = examples("classification")
    assert Head().learner(model("encoder", dropout=0.3), task, TOKENIZER).dropout.p == 0.3
    assert Head(dropout=0.0).learner(model("encoder", dropout=0.3), task, TOKENIZER).dropout.p == 0.0


def test_words_beyond_the_window_are_predicted_as_none():
    task, rows = examples("tagging")
    head = Head(max_length=6)  # [CLS], four words of one piece each, [SEP]
    learner = head.learner(model("encoder"), task, TOKENIZER)
    predictions = head.answer(learner, rows, 1000).predictions
    assert all(len(labels) == 6 and None not in labels[:4] and labels[4:] == [None, None] for labels in predictions)
    assert task.score(predictions, [task.reference(row) for row in rows])["accuracy"] <= 4 / 6


def test_first_pieces_carry_the_label():
    task, _ = examples("tagging")
    row = {"id": "0", "inputs": {"w": ["alphaeta", "gamma"]}, "target": [0, 1]}
    learner = Head().learner(model("encoder"), task, TOKENIZER)
    (example,) = learner.question.examples([row])
    pieces = [TOKENIZER.token(i) for i in example.ids]
    assert len(pieces) > 4  # the first word has several
    assert [pieces[i] for i in example.asked] == [pieces[1], "gamma"]
    assert example.labels == [0, 1]


def test_regression_compares_each_value_with_its_own():
    task, rows = examples("regression")
    head = Head()
    learner = head.learner(model("encoder"), task, TOKENIZER).eval()
    batch = learner.collate(list(learner.question.examples(rows)))
    values = torch.tensor(head.answer(learner, rows, 10_000).predictions)
    wanted = torch.tensor([row["target"] for row in rows])
    loss = learner(batch)["regression"].item()
    assert loss == pytest.approx(((values - wanted) ** 2).sum().item(), rel=1e-4)


def test_a_length_beyond_the_models_positions_is_refused():
    task, _ = examples("classification")
    with pytest.raises(UserError, match="at most 16"):
        Head(max_length=17).learner(model("encoder", max_positions=16), task, TOKENIZER)
    assert Head().learner(model("encoder", max_positions=16), task, TOKENIZER).question.frame.max_length == 16


@pytest.mark.parametrize("settings", [{"pooling": "max"}, {"decoder_input": "some"}])
def test_unknown_words_are_refused(settings):
    with pytest.raises(UserError, match="must be"):
        Head(**settings)


def test_a_decoder_that_reads_its_start_token_alone_sees_the_text_through_the_encoder():
    task, rows = examples("classification")
    head = Head(decoder_input="start")
    learner = head.learner(model("encoder-decoder"), task, TOKENIZER)
    batch = learner.collate(list(learner.question.examples(rows)))
    assert batch.inputs["decoder_input_ids"].shape == (8, 1)
    learn(learner, head.batches(learner, rows, 2000, 0, batch_size=8), 100)
    assert head.answer(learner, rows, 1000).loss < 0.1


def test_without_a_decoder_the_states_of_the_encoder_are_read():
    task, rows = examples("classification")
    head = Head(decoder_input="none", pooling="mean")
    learner = head.learner(model("encoder-decoder"), task, TOKENIZER)
    batch = learner.collate(list(learner.question.examples(rows)))
    assert "decoder_input_ids" not in batch.inputs
    mean = learner.model.encode(batch.inputs["input_ids"]).mean(1)
    torch.testing.assert_close(learner.eval().predict(batch), learner.heads["output"](mean))
    learn(learner, head.batches(learner, rows, 2000, 0, batch_size=8), 100)
    assert head.answer(learner, rows, 1000).loss < 0.1
