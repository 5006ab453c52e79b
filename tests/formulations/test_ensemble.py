"""PET and iPET: what several models say together, and which rows they label for each other, by hand and by property."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from lmlab.errors import UserError
from lmlab.formulations.ensemble import Ensemble, accuracy, answers, draw, even, mean_scores, shares

MODELS = np.array([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 4.0], [0.0, 1.0]]])  # two models, two rows, two labels


def test_soft_labels_are_the_softmax_of_the_weighted_mean_over_the_temperature():
    # Row 0 under weights 3 : 1 is (6 + 0) / 4 = 1.5 against (0 + 4) / 4 = 1; its difference 0.5 is halved by T = 2.
    found = shares(MODELS, [3, 1], temperature=2.0)
    assert found[0] == pytest.approx([1 / (1 + math.exp(-0.25)), 1 / (1 + math.exp(0.25))])
    assert found[1] == pytest.approx([1 / (1 + math.exp(0.5)), 1 / (1 + math.exp(-0.5))])
    assert shares(MODELS, [3, 1])[0] == pytest.approx([1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))])


def test_weights_count_in_proportion_and_a_constant_of_a_row_says_nothing():
    assert mean_scores(MODELS, [1, 1])[0] == pytest.approx([1, 2])
    assert mean_scores(MODELS, [0.5, 0.5]) == pytest.approx(mean_scores(MODELS, [1, 1]))
    assert mean_scores(MODELS, [0, 0]) == pytest.approx(MODELS.mean(axis=0))  # no pattern was ever right
    assert mean_scores(MODELS, [0, 1]) == pytest.approx(MODELS[1])
    moved = MODELS + np.array([[[7.0], [-3.0]], [[0.0], [100.0]]])  # logits, or logarithms of probabilities
    assert shares(moved, [3, 1], 2.0) == pytest.approx(shares(MODELS, [3, 1], 2.0))


def test_a_pattern_weighs_what_it_has_right_and_any_right_choice_counts():
    rows = [{"target": 0}, {"target": 1}, {"target": 2, "right": [2, 0]}, {"target": 1}]
    assert accuracy(np.eye(3)[[0, 1, 0, 2]], rows) == 0.75


def test_choices_that_a_row_does_not_have_are_never_taken():
    scores = np.stack([even([[-9.0, -8.0], [-1.0, -2.0, -0.5]]), even([[-9.0, -9.5], [-1.0, -2.0, -1.5]])])
    rows = [{"target": 1}, {"target": 2, "right": [2, 0]}]
    found = answers(SimpleNamespace(kind="choice"), rows, scores, [0.0, 1.0])
    assert found.predictions == [0, 0]
    row = np.exp([-1, -2, -1.5])
    losses = [math.log(1 + math.exp(0.5)), -math.log((row[0] + row[2]) / row.sum())]
    assert found.loss == pytest.approx(np.mean(losses))


def test_models_differ_in_pattern_and_repetition_and_unknown_patterns_are_refused():
    assert Ensemble(repetitions=2).members(2) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert Ensemble(repetitions=1, patterns=[2, 0]).members(3) == [(2, 0), (0, 0)]
    with pytest.raises(UserError, match="0 to 2, not 3"):
        Ensemble(patterns=[3]).members(3)
    with pytest.raises(UserError, match="one model"):
        Ensemble(repetitions=1, generations=1).members(1)
    for wrong in ({"patterns": []}, {"patterns": [1, 1]}, {"share": 0.0}, {"weights": "best"}, {"temperature": 0.0}):
        with pytest.raises(UserError, match=f"ensemble.{next(iter(wrong))}"):
            Ensemble(**wrong)


@pytest.mark.parametrize(
    ("num_rows", "generations"), [(8, 3), (10, 3), (32, 3), (50, 2), (100, 2), (1000, 0), (5000, 0)]
)
def test_generations_go_on_until_each_model_learns_from_1000_examples(num_rows, generations):
    assert Ensemble(generations=None).num_generations(num_rows) == generations
    assert num_rows * 5**generations >= 1000


def test_the_rows_of_a_generation_keep_the_balance_of_the_labels_and_grow_fivefold():
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(size=(9, 3000, 3)), [0] * 4 + [1] * 2 + [2] * 6
    ipet = Ensemble(generations=2)
    for generation, factor in ((1, 5), (2, 25)):
        drawn = ipet.labelled_for(4, scores, [1] * 9, labels, generation, seed=0)
        assert len({row for row, _ in drawn}) == len(drawn)  # no row twice
        total = np.bincount(labels) + np.bincount([label for _, label in drawn])
        assert total.tolist() == [4 * factor, 2 * factor, 6 * factor]


def test_rows_are_labelled_by_a_share_of_the_other_models_alone():
    ipet, generator = Ensemble(generations=1), np.random.default_rng(0)
    drawn = [ipet.others(3, 13, generator).tolist() for _ in range(200)]
    assert all(len(set(each)) == 3 for each in drawn)  # a quarter of 12
    assert {model for each in drawn for model in each} == set(range(13)) - {3}
    assert ipet.others(0, 2, generator).tolist() == [1]
    # A model that finds label 1 everywhere does not label for itself, and labels for the others.
    scores = np.zeros((2, 50, 2))
    scores[0, :, 1], scores[1, :, 0] = 50, 50
    for model, said in ((0, 0), (1, 1)):
        assert {label for _, label in ipet.labelled_for(model, scores, [1, 1], [0, 1], 1, seed=0)} == {said}


def test_sure_rows_are_drawn_in_proportion():
    sure = np.array([[0.9, 0.1]] * 50 + [[0.6, 0.4]] * 50 + [[0.2, 0.8]])
    drawn = [draw(sure, [1, 2], np.random.default_rng(seed)) for seed in range(1000)]
    assert all((100, 1) in each and len(each) == 2 for each in drawn)  # one row alone has label 1
    high = np.mean([each[0][0] < 50 for each in drawn])
    assert high == pytest.approx(0.9 / 1.5, abs=0.05)  # 3.2 standard deviations
