"""Closed forms against scipy; and, by simulation, that a model is not found to differ from itself."""

import math

import numpy as np
import pytest
from scipy import stats

from lmlab.runs.statistics import difference, example_scores, holm, mcnemar, over_seeds, sign_flip


def accuracy(examples):
    return sum(examples) / len(examples)


def f1(examples):
    """Of pairs (prediction, reference): a metric that is no mean over examples."""
    hits = sum(p and r for p, r in examples)
    return 2 * hits / max(sum(p for p, _ in examples) + sum(r for _, r in examples), 1)


def test_over_seeds_is_scipys_interval():
    values = {3: 0.81, 4: 0.79, 5: 0.86, 6: 0.80, 7: 0.77}
    found = over_seeds(values)
    numbers = list(values.values())
    low, high = stats.t.interval(0.95, 4, np.mean(numbers), stats.sem(numbers))
    assert found["interval"] == pytest.approx([low, high])
    assert (found["mean"], found["median"], found["std"]) == pytest.approx((0.806, 0.80, np.std(numbers, ddof=1)))
    assert (found["best"], found["best_seed"], found["values"]) == (0.86, 5, values)
    assert over_seeds(values, lower_is_better=True)["best_seed"] == 7


def test_over_seeds_of_one_none_and_of_no_number():
    assert over_seeds({0: 0.5}) | {"values": 0} == {
        "mean": 0.5, "median": 0.5, "std": None, "interval": None, "best": 0.5, "best_seed": 0, "values": 0
    }  # fmt: skip
    diverged = over_seeds({0: 0.5, 1: math.nan, 2: None})
    assert diverged["mean"] is diverged["interval"] is None and diverged["best_seed"] == 0
    assert over_seeds({})["best"] is None


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 0), (9, 3), (30, 41)])
def test_mcnemar_is_the_binomial_test(only_first, only_second):
    first = [True] * only_first + [False] * only_second + [True, False] * 10
    second = [False] * only_first + [True] * only_second + [True, False] * 10
    found = mcnemar(first, second)
    both = only_first + only_second
    assert found["p"] == pytest.approx(stats.binomtest(only_first, both).pvalue if both else 1.0)
    assert (found["only_first"], found["only_second"]) == (only_first, only_second)


def test_sign_flips_are_scipys_permutations():
    differences = [0.3, -0.1, 0.25, 0.4, 0.1, -0.05]
    expected = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(differences) == pytest.approx(expected.pvalue)
    assert sign_flip([1.0, 2.0, 0.5]) == 0.25  # three seeds show nothing by themselves
    assert sign_flip(np.r_[np.ones(20), -np.ones(20)]) == 1.0
    assert sign_flip(np.ones(40)) < 0.001


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, 0.04], family=3) == pytest.approx([0.03, 0.08])
    assert holm([0.5]) == [0.5] and holm([]) == []


def test_without_noise_of_examples_it_is_the_paired_t_test():
    """Every resample of equal examples is the same: only the seeds are left."""
    first, second = {0: 0.81, 1: 0.84, 2: 0.79, 3: 0.85}, {0: 0.80, 1: 0.80, 2: 0.78, 3: 0.80}
    found = difference(*({s: [v] * 50 for s, v in group.items()} for group in (first, second)), accuracy, resamples=20)
    expected = stats.ttest_rel(list(first.values()), list(second.values()))
    assert found.paired and found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))
    unpaired = {seed + 10: values for seed, values in enumerate([v] * 50 for v in second.values())}
    found = difference({s: [v] * 50 for s, v in first.items()}, unpaired, accuracy, resamples=20)
    expected = stats.ttest_ind(list(first.values()), list(second.values()), equal_var=False)
    assert not found.paired and found.p == pytest.approx(expected.pvalue)


def test_one_run_each_is_mcnemar_with_the_standard_error_of_the_examples():
    generator = np.random.default_rng(0)
    first, second = generator.random(400) < 0.8, generator.random(400) < 0.7
    found = difference({0: first.tolist()}, {0: second.tolist()}, accuracy, resamples=2000)
    expected = (first.astype(float) - second).std() / 20
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(stats.t.ppf(0.975, 399) * expected, rel=0.05)
    assert not found.over_seeds and found.exact["test"] == "McNemar" and found.p == found.exact["p"]


def test_corpus_level_metrics_are_computed_anew_on_each_resample():
    generator = np.random.default_rng(0)
    references = generator.random(200) < 0.3
    groups = []
    for flipped in (0.05, 0.25):
        answers = {seed: references ^ (generator.random(200) < flipped) for seed in range(3)}
        groups.append({s: list(zip(a.tolist(), references.tolist(), strict=True)) for s, a in answers.items()})
    assert example_scores(f1, [*groups[0].values()]) is None
    found = difference(*groups, f1, resamples=100)
    assert found == difference(*groups, f1, resamples=100)  # seeded
    assert found.p < 0.01 and found.effect > 0.1 and found.interval[0] > 0
    same = difference(groups[0], groups[0], f1, resamples=20)
    assert (same.effect, same.interval, same.p) == (0, (0, 0), 1.0)


def arms(generator, seeds, noise, planted=0.0, paired=True):
    """Two groups of runs, {seed: right or wrong}, of a model that is the better by `planted`.

    noise: standard deviations, before a threshold, of what a seed does to all examples and of what each model has of
    its own about an example, whatever the seed.
    """
    of_seeds, of_examples = noise
    easy, groups = generator.normal(1, 1, 150), []
    for number, shift in enumerate((planted, 0.0)):
        own = easy + generator.normal(0, of_examples, 150) + shift
        runs = (own + generator.normal(0, of_seeds) + generator.normal(0, 0.7, 150) > 0 for _ in range(seeds))
        groups.append({seed + (0 if paired else 10 * number): run.tolist() for seed, run in enumerate(runs)})
    return groups


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("noise", [(0.0, 0.0), (0.3, 0.0), (0.2, 1.0)], ids=["same model", "seeds", "both"])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_model_is_not_found_to_differ_from_itself(seeds, noise, paired):
    """At p < .05 in at most one of twenty comparisons, up to the chance of this simulation (150 of them)."""
    generator = np.random.default_rng(seeds)
    found = [difference(*arms(generator, seeds, noise, paired=paired), accuracy, 60).p for _ in range(150)]
    assert sum(p < 0.05 for p in found) <= stats.binom.ppf(0.995, 150, 0.05)


def test_a_planted_difference_is_found():
    generator = np.random.default_rng(0)
    found = [difference(*arms(generator, 5, (0.1, 0.3), planted=0.5), accuracy, 60) for _ in range(50)]
    assert sum(each.p < 0.05 and each.effect > 0 for each in found) > 45


def test_runs_that_cannot_be_paired_by_seed():
    generator = np.random.default_rng(0)
    first, second = arms(generator, 3, (0.1, 0.1))
    shared = difference(first, {1: second[1], 2: second[2], 7: second[0]}, accuracy, 20)
    assert shared.paired and shared.seeds == ([1, 2], [1, 2])
    one = difference(first, {1: second[1]}, accuracy, 20)
    assert one.paired and one.seeds == ([1], [1]) and not one.over_seeds
    apart = difference(first, {8: second[1]}, accuracy, 20)
    assert not apart.paired and not apart.over_seeds and len(apart.seeds[0]) == 3
