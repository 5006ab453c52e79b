"""Metrics against scikit-learn, scipy and plain formulas, also on degenerate inputs; SQuAD's official rules."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from lmlab.errors import UserError
from lmlab.tasks import metrics
from lmlab.tasks.span import SpanExtraction

RANDOM = [np.random.default_rng(seed).integers(0, 3, (2, 50)).tolist() for seed in range(5)]


@pytest.mark.parametrize(("predictions", "references"), RANDOM)
def test_class_metrics_equal_scikit_learn(predictions, references):
    assert metrics.accuracy(predictions, references) == reference.accuracy_score(references, predictions)
    assert metrics.macro_f1(predictions, references) == pytest.approx(
        reference.f1_score(references, predictions, average="macro")
    )
    assert metrics.matthews(predictions, references) == pytest.approx(
        reference.matthews_corrcoef(references, predictions)
    )
    binary = [[min(value, 1) for value in row] for row in (predictions, references)]
    assert metrics.f1(*binary) == pytest.approx(reference.f1_score(binary[1], binary[0]))


def test_binary_f1_is_that_of_class_1_and_takes_answers_that_are_no_label():
    # 2 true positives, 1 false positive, 1 missed.
    assert metrics.f1([1, 1, 1, 0, 0], [1, 1, 0, 1, 0]) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert metrics.f1([1, -1], [1, 1]) == pytest.approx(2 / 3)


def test_correlations_equal_scipy():
    x, y = np.random.default_rng(0).normal(size=(2, 40)).tolist()
    assert metrics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0])
    assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "predictions", "references", "wanted"),
    [
        ("pearson", [2.0] * 4, [1.0, 2.0, 3.0, 4.0], 0),
        ("spearman", [2.0] * 4, [1.0, 2.0, 3.0, 4.0], 0),
        ("matthews", [1] * 4, [0, 1, 0, 1], 0),
        ("f1", [0] * 4, [0, 1, 0, 1], 0),
        ("macro_f1", [-1] * 4, [0, 1, 0, 1], 0),
    ],
)
def test_constant_predictions_score_0_and_are_flagged(name, predictions, references, wanted):
    available = metrics.CLASS_METRICS | metrics.VALUE_METRICS
    assert metrics.compute([name], predictions, references, available) == {name: wanted, "degenerate": 1.0}


@pytest.mark.filterwarnings("error")
def test_correlation_with_constant_references_is_0_not_nan():
    assert metrics.pearson([1.0, 2.0], [3.0, 3.0]) == 0
    tiny = [1.0, 1.0 + 1e-16, math.nextafter(1.0, 2)]
    assert not math.isnan(metrics.pearson([1.0, 2.0, 3.0], tiny[:1] * 3))


def test_unknown_metric_is_a_users_mistake():
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        metrics.compute(["acuracy"], [0], [0], metrics.CLASS_METRICS)


# ---- SQuAD


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The  Normans!", "normans"),
        ("a b-c the d", "bc d"),  # punctuation is dropped, not replaced by a space
        ("An, apple", "apple"),
        ("theory of a tan", "theory of tan"),  # articles are whole words
        ("U.S.A.", "usa"),
        ("the.", ""),  # punctuation goes first, so that the article is seen
        ("«été»", "«été»"),  # only ASCII punctuation
    ],
)
def test_answers_are_normalised_as_officially(text, wanted):
    assert metrics.normalize_answer(text) == wanted


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("the Normans", ["Normans"], 1, 1),
        ("in the 10th century", ["10th century", "the 10th"], 0, 2 * 2 / (3 + 2)),
        ("to be or to be", ["to be"], 0, 2 * 2 / (5 + 2)),  # words count as often as both sides have them
        ("to to to", ["to be to"], 0, 2 / 3),
        ("Paris", ["London", "paris."], 1, 1),
        ("Paris", ["London"], 0, 0),
        ("", [], 1, 1),
        ("something", [], 0, 0),
        ("", ["something"], 0, 0),
        ("the", ["a"], 1, 1),  # both are empty once normalised
        ("the", ["a", "b"], 0, 0),  # gold answers that are empty once normalised do not count beside others
    ],
)
def test_answer_scores_follow_the_official_rules(prediction, golds, exact, f1):
    assert metrics.answer_scores(prediction, golds) == (exact, pytest.approx(f1))


def squad(**settings):
    common = {"name": "squad", "source": "squad", "fields": ["question", "context"], "metrics": ["f1", "exact_match"]}
    return SpanExtraction(**common, **settings)


def test_squad_scores_are_means_in_per_cent():
    scores = squad().score(["Normans", "the 10th"], [["The Normans"], ["10th century"]])
    assert scores == {"f1": pytest.approx(100 * (1 + 2 / 3) / 2), "exact_match": 50.0}


def test_squad_2_reports_the_best_threshold_beside_the_score():
    predictions = [
        {"text": "right", "null_odds": -5.0},  # answered, right
        {"text": "right", "null_odds": 1.0},  # right, but held back at threshold 0
        {"text": "wrong", "null_odds": 2.0},  # has no answer, held back
        {"text": "wrong", "null_odds": -1.0},  # has no answer, answered
    ]
    scores = squad(unanswerable=True).score(predictions, [["right"], ["right"], [], []])
    assert scores["exact_match"] == 50.0
    assert (scores["has_answer_exact_match"], scores["no_answer_exact_match"]) == (50.0, 50.0)
    # Thresholds: none answered 2, -5: 3, -1: 2, 1: 3, 2: 2; the first best one is kept.
    assert (scores["best_exact_match"], scores["best_exact_match_threshold"]) == (75.0, -5.0)


def test_best_threshold_equals_trying_every_threshold():
    generator = np.random.default_rng(1)
    for _ in range(20):
        odds, score = generator.normal(size=12), generator.random(12)
        answerable = generator.random(12) < 0.5
        score = score * answerable
        answered = generator.random(12) < 0.9
        tried = [
            np.where(odds <= threshold, np.where(answerable, score, ~answered), ~answerable).mean()
            for threshold in [-np.inf, *odds]
        ]
        best, threshold = metrics.best_threshold(score, answered, answerable, odds)
        assert best == pytest.approx(max(tried))
        reached = np.where(odds <= threshold, np.where(answerable, score, ~answered), ~answerable).mean()
        assert best in (pytest.approx(reached), pytest.approx(tried[0]))
