"""From answers to the figures of a task, and whether what was trained for one task can answer another."""

from types import SimpleNamespace

import pytest
import torch

from lmlab.errors import UserError
from lmlab.formulations.base import Answers
from lmlab.formulations.scoring import same_kind, score

LEARNER = torch.nn.Linear(1, 1)


class Task:
    """Two splits of texts."""

    evaluation_splits = ("a", "b")

    def score(self, predictions, references):
        return {"accuracy": sum(map(str.__eq__, predictions, references)) / len(references)}

    def reference(self, row):
        return row["target"]

    def metric_key(self, metric, split):
        return f"{metric}_{split}"

    def record(self, row, prediction):
        return {"id": row["id"], "prediction": prediction}


class SaysYes:
    """A formulation that measures something of its own."""

    def answer(self, learner, rows, micro_batch_tokens):
        return Answers(["yes"] * len(rows), loss=float(len(rows)), metrics={"perplexity": 2.0})


def test_scores_of_the_task_come_first_and_losses_last():
    rows = {"a": [{"id": "0", "target": "yes"}, {"id": "1", "target": "no"}], "b": [{"id": "2", "target": "yes"}]}
    metrics, records = score(SaysYes(), LEARNER, Task(), rows, 64)
    expected = {"accuracy_a": 0.5, "perplexity_a": 2.0, "accuracy_b": 1.0, "perplexity_b": 2.0}
    assert list(metrics.items()) == list((expected | {"loss_a": 2.0, "loss_b": 1.0}).items())
    assert [(record["id"], record["split"]) for record in records] == [("0", "a"), ("1", "a"), ("2", "b")]
    assert score(SaysYes(), LEARNER, Task(), {"a": rows["a"]}, 64)[1][0] == {"id": "0", "prediction": "yes"}


def test_only_a_task_of_the_same_kind_and_labels_can_be_answered():
    squad, xquad = (SimpleNamespace(name=name, kind="span") for name in ("squad", "xquad.zh"))
    assert same_kind(squad, xquad) is xquad
    reviews = SimpleNamespace(name="sst2", kind="classification", labels=["negative", "positive"])
    turned = SimpleNamespace(name="imdb", kind="classification", labels=["positive", "negative"])
    with pytest.raises(UserError, match=r"sst2 is a classification task, but the run was trained on squad \(span\)"):
        same_kind(squad, reviews)
    with pytest.raises(
        UserError, match=r"imdb has the labels positive, negative, .* sst2, which has negative, positive"
    ):
        same_kind(reviews, turned)
