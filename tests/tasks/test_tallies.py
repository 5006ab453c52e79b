"""A metric of examples drawn anew is the one that `score` gives of these very examples."""

import random

import numpy as np
import pytest

from lmlab.tasks.choice import Choice
from lmlab.tasks.classification import Classification
from lmlab.tasks.generation import Generation
from lmlab.tasks.regression import Regression
from lmlab.tasks.span import SpanExtraction
from lmlab.tasks.tagging import Tagging

COUNT = 40
WORDS = ["the", "cat", "sat", "on", "a", "mat", "."]
BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
rng = random.Random(0)


def text():
    return " ".join(rng.choices(WORDS, k=rng.randrange(9)))


def make(kind, metrics, fields=("text",), **settings):
    return kind(name="t", source="t", fields=list(fields), metrics=list(metrics), **settings)


def classes():
    """Three labels, and some answers that are no label."""
    task = make(Classification, ("accuracy", "f1", "macro_f1", "matthews"), labels=["a", "b", "c"])
    return task, rng.choices(["a", "b", "c", "none"], k=COUNT), rng.choices(["a", "b", "c"], k=COUNT)


def words():
    task = make(Tagging, ("accuracy", "macro_f1", "precision", "recall", "f1"), labels=BIO)
    lengths = [rng.randrange(1, 8) for _ in range(COUNT)]
    predictions = [rng.choices([*BIO, None], k=length) for length in lengths]
    return task, predictions, [rng.choices(BIO, k=length) for length in lengths]


def numbers():
    """With ties, and with answers that are no number."""
    task = make(Regression, ("pearson", "spearman"), low=0.0)
    return task, [rng.choice([0.5, 1.5, rng.random() * 5, None]) for _ in range(COUNT)], rng.choices(range(6), k=COUNT)


def spans():
    task = make(SpanExtraction, ("exact_match", "f1"), fields=("question", "context"), unanswerable=True)
    return task, [text() for _ in range(COUNT)], [[text() for _ in range(rng.randrange(3))] for _ in range(COUNT)]


def choices():
    task = make(Choice, ("accuracy", "exact_match", "f1"), choices=["choices"])
    references = [{"choices": [text(), text(), text()], "right": [rng.randrange(3)], "group": None} for _ in range(40)]
    return task, [rng.randrange(3) for _ in references], references


def texts():
    task = make(Generation, ("bleu", "chrf", "rouge1", "rougeL", "exact_match", "accuracy"))
    references = [[text() or "a" for _ in range(rng.randrange(1, 3))] for _ in range(COUNT)]
    return task, [rng.choice([text(), golds[0]]) for golds in references], references


KINDS = pytest.mark.parametrize("kind", [classes, words, numbers, spans, choices, texts])


def check(task, predictions, references):
    generator = np.random.default_rng(0)
    draws = [np.arange(COUNT), np.repeat(0, COUNT), *(generator.integers(0, COUNT, COUNT) for _ in range(5))]
    for metric in task.metrics:
        tallies = task.tallies(metric, predictions, references)
        for drawn in draws:
            expected = task.score([predictions[i] for i in drawn], [references[i] for i in drawn])[metric]
            assert tallies.score(np.bincount(drawn, minlength=COUNT)) == pytest.approx(expected, abs=1e-9), metric
        if tallies.singles is not None:
            singles = [task.score([p], [r])[metric] for p, r in zip(predictions, references, strict=True)]
            assert tallies.singles == pytest.approx(singles)


@KINDS
def test_random_answers(kind):
    check(*kind())


@KINDS
def test_the_same_answer_to_everything(kind):
    task, predictions, references = kind()
    if kind is words:
        check(task, [["O"] * len(each) for each in references], references)
        check(task, [[None] * len(each) for each in references], [["B-PER"] * len(each) for each in references])
    else:
        check(task, [predictions[0]] * COUNT, references)
        check(task, predictions, [references[0]] * COUNT)


def test_right_answers_and_answers_that_are_none():
    task, _, references = classes()
    check(task, references, references)
    check(task, ["none"] * COUNT, references)
    task, _, references = texts()
    check(task, [golds[0] for golds in references], references)
    check(task, [""] * COUNT, references)


def test_a_metric_of_the_users_own_is_scored_anew():
    class Longest(Classification):
        known_metrics = dict.fromkeys(["longest"])

        def score(self, predictions, references):
            return {"longest": max(map(len, predictions))}

    task = make(Longest, ["longest"], labels=["a", "b"])
    check(task, rng.choices(["a", "bb", "ccc"], k=COUNT), ["a"] * COUNT)
