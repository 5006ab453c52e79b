"""What several runs say together, and whether two groups of runs differ: numbers in, numbers out.

A score depends on the seed of the training and on the examples that happened to be scored. Both are noise, and a
difference between two models has to stand out from both of them.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

LEVEL = 0.95  # of every interval; a difference is said to be shown at p < 1 - LEVEL
RESAMPLES = 500  # of the examples: a standard error is then good to 3 % (1 / sqrt(2 * 500))
FEWEST_EXAMPLES = 10  # a standard error from fewer is worth nothing
LOWER_IS_BETTER = ("loss", "perplexity", "bits_per_byte", "error", "seconds")  # also behind a _ or a dot


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of this metric is the better one."""
    endings = tuple(f"{mark}{name}" for mark in "_." for name in LOWER_IS_BETTER)
    return metric in LOWER_IS_BETTER or metric.endswith(endings)


# ---------------------------------------------------------------- one group of runs


def over_seeds(values: Mapping[Any, float], lower_is_better: bool = False) -> dict[str, Any]:
    """What a metric is over seeds. The best seed is a lucky one, not the model's number: it is named, not reported.

    Args:
        values: seed -> value.

    Returns:
        mean, median, std (n - 1), interval ([low, high], 95 %, of the mean), best, best_seed, values. With one seed
        std and interval are None; where a value is no number (NaN of a diverged run) all are but `best`.
    """
    numbers = {seed: value for seed, value in values.items() if value is not None and math.isfinite(value)}
    whole = list(numbers.values()) if len(numbers) == len(values) else []
    half = half_interval(whole)
    mean = statistics.fmean(whole) if whole else None
    best_seed = (min if lower_is_better else max)(numbers, key=numbers.__getitem__, default=None)
    return {
        "mean": mean,
        "median": statistics.median(whole) if whole else None,
        "std": statistics.stdev(whole) if len(whole) > 1 else None,
        "interval": None if half is None else [mean - half, mean + half],
        "best": numbers.get(best_seed),
        "best_seed": best_seed,
        "values": dict(values),
    }


def half_interval(values: Sequence[float]) -> float | None:
    """Half the width of Student's 95 % interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    return _t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


# ---------------------------------------------------------------- two groups of runs


class Answers(Protocol):
    """What one run answered, as far as a metric of it goes.

    Attributes:
        score: the metric where example i is drawn counts[i] times; `counts` are whole numbers, (examples,).
        singles: the metric of every single example, (examples,), if the metric is their mean; None if it is not.
    """

    score: Callable[[Any], float]
    singles: Any


@dataclass(frozen=True)
class Difference:
    """How the first of two groups of runs differs from the second.

    Attributes:
        effect: mean score of the first minus that of the second.
        interval: the 95 % interval of the effect.
        p: probability of an effect at least so large where there is none. McNemar's where that test fits.
        seeds: of the first and of the second; the same ones where `paired`.
        paired: whether runs of the same seed were held against each other.
        examples: number of examples that all runs were scored on; None if their noise is not counted.
        resamples: how often the examples were drawn anew.
        exact: a test without any assumption on how scores are distributed, {"test", "p", ...}, where there is one.
    """

    effect: float
    interval: tuple[float, float]
    p: float
    seeds: tuple[list, list]
    paired: bool
    examples: int | None
    resamples: int
    exact: dict[str, Any] | None

    @property
    def over_seeds(self) -> bool:
        """Whether the noise of seeds is counted: several runs on a side."""
        return max(map(len, self.seeds)) > 1

    @property
    def one_against_several(self) -> bool:
        """Whether a single run is taken to be as noisy as the runs on the other side."""
        return self.over_seeds and min(map(len, self.seeds)) == 1


def difference(
    first: Mapping[Any, Answers],
    second: Mapping[Any, Answers],
    examples: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Whether two groups of runs differ, with seeds and examples both taken as drawn at random.

    The metric is computed anew on every resample of the examples (Efron 1979; Koehn 2004 for corpus-level metrics),
    which are the same for all runs. The standard error joins the variance over seeds with the covariance that scores
    on the same examples have between seeds, and Student's t is taken with Satterthwaite's degrees of freedom: the
    analysis of several readers of the same cases (Obuchowski & Rockette 1995; Hillis 2007, doi:10.1002/sim.2532; 2014,
    doi:10.1002/sim.5926 for unpaired readers), with runs as the readers. With three seeds that differ, a bootstrap of
    seeds and examples finds a difference in one of five comparisons of a model with itself; this does in one of twenty.

    Runs are paired by seed if both groups have the same seeds. A single run is taken to be as noisy as the runs of the
    other group. With one run in each only the examples are noise, and nothing is said of other seeds.

    Args:
        first: seed -> a run's answers, to the same examples in all runs.

    Raises:
        ValueError: there are fewer than two examples.
    """
    import numpy as np

    if examples < 2:
        raise ValueError(f"a difference takes several examples, not {examples}")
    runs = _side_by_side(first, second)
    scores = [run.score(np.ones(examples, dtype=int)) for run in runs]
    singles = None if any(run.singles is None for run in runs) else np.stack([run.singles for run in runs])
    covariance = np.cov(_resampled(runs, examples, resamples, seed), rowvar=False)
    return _difference(first, second, np.array(scores), covariance, singles, examples, resamples)


def difference_of_scores(first: Mapping[Any, float], second: Mapping[Any, float]) -> Difference:
    """Whether two groups of runs differ, by nothing but their scores: Student's t over seeds (paired, or Welch's).

    Args:
        first: seed -> score.

    Raises:
        ValueError: there is one run in each group.
    """
    import numpy as np

    if max(len(first), len(second)) < 2:
        raise ValueError("one run on each side, and its noise shows only between runs")
    scores = np.array(_side_by_side(first, second))
    return _difference(first, second, scores, np.zeros((len(scores), len(scores))), None, None, 0)


def _side_by_side(first: Mapping, second: Mapping) -> list:
    """The runs of both groups; those of the second in the order of the first where they are paired."""
    return [*first.values(), *(second[seed] for seed in (first if _paired(first, second) else second))]


def _paired(first: Mapping, second: Mapping) -> bool:
    return first.keys() == second.keys()


def _difference(
    first: Mapping, second: Mapping, scores, covariance, singles, examples: int | None, resamples: int
) -> Difference:
    """The difference of two groups, whose scores (runs,), covariances and single scores stand side by side."""
    count, paired = len(first), _paired(first, second)
    effect = float((scores[:count].mean() - scores[count:].mean()).round(12))  # sums in another order are no effect
    variance, freedom = _variance(scores, covariance, count, paired, (examples or 2) - 1)
    exact = _exact(scores, singles, count, paired)
    p = exact["p"] if exact and exact["test"] == "McNemar" else _t_test(effect, variance, freedom)
    half = _t_quantile(freedom) * math.sqrt(variance)
    seeds = (list(first), list(second))
    return Difference(effect, (effect - half, effect + half), p, seeds, paired, examples, resamples, exact)


def _variance(scores, covariance, count: int, paired: bool, freedom: int) -> tuple[float, float]:
    """Variance of the difference of the two means, and its degrees of freedom.

    Args:
        scores: (runs,), those of the first group ahead.
        covariance: (runs, runs), over the resamples of the examples.
        count: runs of the first group.
        freedom: degrees of freedom of what the examples add, if they add anything.
    """
    import numpy as np

    if len(scores) == 2:  # no noise of seeds to be measured
        return float(covariance.trace() - 2 * covariance[0, 1]), freedom
    if paired:
        minus = np.hstack([np.eye(count), -np.eye(count)])
        groups, between = [(minus @ scores, minus @ covariance @ minus.T)], 0.0
    else:
        parts = slice(None, count), slice(count, None)
        groups, between = [(scores[part], covariance[part, part]) for part in parts], covariance[parts].mean()
    sizes = [len(values) for values, _ in groups]
    measured = [_noise(*group) for group in groups if len(group[0]) > 1]
    if len(measured) < len(groups):  # a single run is as noisy as the runs of the other group
        ((spread, shared),) = measured
        common, own = 2 * shared, [(spread * sum(1 / size for size in sizes), max(sizes) - 1)]
    else:
        common = sum(shared for _, shared in measured)
        own = [(spread / size, size - 1) for (spread, _), size in zip(measured, sizes, strict=True)]
    terms = [(max(common - 2 * between, 0.0), freedom), *own]
    variance = sum(term for term, _ in terms)
    spent = sum(term**2 / each for term, each in terms)
    return float(variance), float(variance**2 / spent) if spent else freedom


def _noise(scores, covariance) -> tuple[float, float]:
    """Of one group of runs: the variance that each has for itself, and the covariance of two on the same examples."""
    shared = float((covariance.sum() - covariance.trace()) / (covariance.size - len(covariance)))
    # Not below what examples alone do to a single run: few seeds may agree by chance.
    return max(scores.var(ddof=1), covariance.diagonal().mean() - shared), shared


def _resampled(runs: Sequence[Answers], examples: int, resamples: int, seed: int):
    """The scores of all runs on each resample of the examples: (resamples, runs)."""
    import numpy as np

    generator = np.random.default_rng(seed)
    draws = (generator.integers(0, examples, examples) for _ in range(resamples))
    counts = (np.bincount(drawn, minlength=examples) for drawn in draws)
    return np.array([[run.score(each) for run in runs] for each in counts])


def _exact(scores, singles, count: int, paired: bool) -> dict[str, Any] | None:
    """The test that fits without assumptions: McNemar's or sign flips for two runs, sign flips over paired seeds."""
    if len(scores) == 2 and singles is not None:
        first, second = singles
        if _two_valued(singles):
            return mcnemar(first > 0, second > 0)
        return {"test": "sign flips of examples", "p": sign_flip(first - second)}
    if paired and count > 1:
        differences = scores[:count] - scores[count:]
        return {"test": "sign flips of seeds", "p": sign_flip(differences), "smallest_p": 2.0 ** (1 - count)}
    return None


def _two_valued(singles) -> bool:
    """Whether every answer is right or wrong: 0 and one other score."""
    return len({*singles.ravel().tolist()} - {0.0}) <= 1


# ---------------------------------------------------------------- exact tests


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> dict[str, Any]:
    """McNemar's exact test of answers that are right or wrong (McNemar 1947; Dietterich 1998): the binomial test of
    the examples that only one of the two gets right. Two-sided p, with the two counts.
    """
    from scipy.special import bdtr

    only_first = sum(bool(a) and not b for a, b in zip(first, second, strict=True))
    only_second = sum(bool(b) and not a for a, b in zip(first, second, strict=True))
    fewer, both = min(only_first, only_second), only_first + only_second
    p = min(1.0, 2 * float(bdtr(fewer, both, 0.5))) if both else 1.0
    return {"test": "McNemar", "p": p, "only_first": only_first, "only_second": only_second}


def sign_flip(differences: Sequence[float], flips: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of paired differences whose signs are as good as random (Fisher 1935; Noreen 1989).

    All sign patterns for up to 12 differences, else `flips` random ones. With n of them p is never below 2 / 2^n.
    """
    import numpy as np

    differences = np.asarray(differences, dtype=float)
    least = abs(differences.sum()) * (1 - 1e-9)
    if len(differences) <= 12:
        sums = np.array(list(product((1, -1), repeat=len(differences)))) @ differences
        return float((abs(sums) >= least).mean())
    generator = np.random.default_rng(seed)
    signs = (1 - 2 * generator.integers(0, 2, len(differences)) for _ in range(flips))
    reached = sum(abs(each @ differences) >= least for each in signs)
    return float((reached + 1) / (flips + 1))


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given.

    Args:
        family: number of comparisons that could have been looked at, if it is more than those given.
    """
    left, highest, corrected = family or len(p_values), 0.0, [1.0] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (left - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


# ---------------------------------------------------------------- Student's t


def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit  # a third of the time that scipy.stats takes to import

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _t_test(effect: float, variance: float, freedom: float) -> float:
    """Two-sided p. Without any variance a difference is certain, and none is none."""
    from scipy.special import stdtr

    if variance <= 0 or effect == 0:
        return 1.0 if effect == 0 else 0.0
    return 2 * float(stdtr(freedom, -abs(effect) / math.sqrt(variance)))
