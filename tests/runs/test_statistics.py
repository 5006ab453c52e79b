"""Closed forms against scipy; and, by simulation, that a model is not found to differ from itself."""

import math

import numpy as np
import pytest
from scipy import stats

from lmlab.runs.statistics import difference, difference_of_scores, holm, mcnemar, over_seeds, sign_flip
from lmlab.tasks.tallies import of_classes, of_values


def means(*groups):
    """Groups of runs, {seed: values}, whose metric is the mean of the values."""
    return tuple({seed: of_values(values) for seed, values in group.items()} for group in groups)


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
    found = difference(*means(*({s: [v] * 50 for s, v in group.items()} for group in (first, second))), 50, 20)
    expected = stats.ttest_rel(list(first.values()), list(second.values()))
    assert found.paired and found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert difference_of_scores(first, second).p == pytest.approx(expected.pvalue)
    shuffled = dict(reversed(second.items()))
    assert difference_of_scores(first, shuffled).p == pytest.approx(expected.pvalue)
    unpaired = {seed + 10: [value] * 50 for seed, value in second.items()}
    found = difference(*means({s: [v] * 50 for s, v in first.items()}, unpaired), 50, 20)
    expected = stats.ttest_ind(list(first.values()), list(second.values()), equal_var=False)
    assert not found.paired and found.p == pytest.approx(expected.pvalue)


def test_one_run_each_is_mcnemar_with_the_standard_error_of_the_examples():
    generator = np.random.default_rng(0)
    first, second = generator.random(400) < 0.8, generator.random(400) < 0.7
    found = difference(*means({0: first}, {0: second}), 400, resamples=2000)
    expected = (first.astype(float) - second).std() / 20
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(stats.t.ppf(0.975, 399) * expected, rel=0.05)
    assert not found.over_seeds and found.exact["test"] == "McNemar" and found.p == found.exact["p"]


def test_corpus_level_metrics_are_computed_anew_on_each_resample():
    generator = np.random.default_rng(0)
    references = (generator.random(200) < 0.3).astype(int)
    groups = []
    for flipped in (0.05, 0.25):
        answers = [abs(references - (generator.random(200) < flipped)) for _ in range(3)]
        groups.append({s: of_classes("f1", a[:, None], references[:, None], 2) for s, a in enumerate(answers)})
    found = difference(*groups, 200, resamples=100)
    assert found == difference(*groups, 200, resamples=100)  # seeded
    assert found.p < 0.01 and found.effect > 0.1 and found.interval[0] > 0
    same = difference(groups[0], groups[0], 200, resamples=20)
    assert (same.effect, same.interval, same.p) == (0, (0, 0), 1.0)


EXAMPLES = 150


def arms(generator, seeds, noise, planted=0.0, first_seeds=(0, 0)):
    """Two groups of runs of a model that is the better by `planted`, {seed: right or wrong}.

    seeds: how many, one number for each group; they begin with `first_seeds`.
    noise: standard deviations, before a threshold, of what a seed does to all examples and of what each model has of
    its own about an example, whatever the seed.
    """
    of_seeds, of_examples = noise
    easy, groups = generator.normal(1, 1, EXAMPLES), []
    for count, start, shift in zip(seeds, first_seeds, (planted, 0.0), strict=True):
        own = easy + generator.normal(0, of_examples, EXAMPLES) + shift
        runs = (own + generator.normal(0, of_seeds) + generator.normal(0, 0.7, EXAMPLES) > 0 for _ in range(count))
        groups.append({start + number: run for number, run in enumerate(runs)})
    return means(*groups)


def seldom_found(p_values):
    """At p < .05 in at most one of twenty comparisons, up to the chance of the simulation."""
    return sum(p < 0.05 for p in p_values) <= stats.binom.ppf(0.995, len(p_values), 0.05)


NOISE = pytest.mark.parametrize(
    "noise", [(0.0, 0.0), (0.3, 0.0), (0.2, 1.0)], ids=["same model", "seeds", "seeds and examples"]
)


@NOISE
@pytest.mark.parametrize("first_seeds", [(0, 0), (0, 10)], ids=["paired", "not paired"])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_model_is_not_found_to_differ_from_itself(seeds, noise, first_seeds):
    generator = np.random.default_rng(seeds)
    drawn = (arms(generator, (seeds, seeds), noise, first_seeds=first_seeds) for _ in range(150))
    assert seldom_found([difference(*groups, EXAMPLES, 60).p for groups in drawn])


@NOISE
@pytest.mark.parametrize("seeds", [(5, 1), (1, 3), (5, 2)])
def test_nor_with_fewer_seeds_on_one_side(seeds, noise):
    """One run more or less lucky is no other model: the noise of the side with seeds is that of the single run."""
    generator = np.random.default_rng(sum(seeds))
    drawn = [difference(*arms(generator, seeds, noise), EXAMPLES, 60) for _ in range(150)]
    assert seldom_found([each.p for each in drawn])
    assert all(each.over_seeds and not each.paired for each in drawn)


def test_nor_by_the_scores_of_its_seeds_alone():
    generator = np.random.default_rng(0)
    for counts in ((3, 3), (5, 1)):
        groups = ([dict(enumerate(generator.normal(0.8, 0.02, count))) for count in counts] for _ in range(400))
        assert seldom_found([difference_of_scores(*each).p for each in groups])
    with pytest.raises(ValueError, match="one run on each side"):
        difference_of_scores({0: 0.5}, {0: 0.6})


def test_a_planted_difference_is_found():
    generator = np.random.default_rng(0)
    for seeds, planted in (((5, 5), 0.5), ((5, 1), 0.9)):
        found = [difference(*arms(generator, seeds, (0.1, 0.3), planted), EXAMPLES, 60) for _ in range(50)]
        assert sum(each.p < 0.05 and each.effect > 0 for each in found) > 45


def test_every_run_counts_also_where_seeds_differ():
    first, second = arms(np.random.default_rng(0), (5, 2), (0.1, 0.1))
    found = difference(first, second, EXAMPLES, 20)
    means = [np.mean([run.singles.mean() for run in group.values()]) for group in (first, second)]
    assert found.effect == pytest.approx(means[0] - means[1])
    assert found.seeds == ([0, 1, 2, 3, 4], [0, 1]) and not found.one_against_several
    one = difference(first, {1: second[1]}, EXAMPLES, 20)
    assert one.seeds == ([0, 1, 2, 3, 4], [1]) and one.one_against_several and not one.paired
