"""What several runs say together, and whether two groups of runs differ: numbers in, numbers out.

A score depends on the seed of the training and on the examples that happened to be scored. Both are noise, and a
difference between two models has to stand out from both of them.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

LEVEL = 0.95  # of every interval; a difference is said to be shown at p < 1 - LEVEL
RESAMPLES = 500  # of the examples: a standard error is then good to 3 % (1 / sqrt(2 * 500))
FEWEST_EXAMPLES = 10  # a standard error from fewer is worth nothing
LOWER_IS_BETTER = ("loss", "perplexity", "bits_per_byte", "error", "seconds")  # also behind a _ or a dot

Score = Callable[[list], float]  # a metric of some examples, whatever they are


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


@dataclass(frozen=True)
class Difference:
    """How the first of two groups of runs differs from the second.

    Attributes:
        effect: mean score of the first minus that of the second.
        interval: the 95 % interval of the effect.
        p: probability of an effect at least so large where there is none. McNemar's where that test fits.
        seeds: of the first and of the second; the same ones where `paired`.
        paired: whether runs of the same seed were held against each other.
        examples: number of examples that all runs were scored on.
        resamples: how often the examples were drawn anew.
        exact: a test without any assumption on how scores are distributed, {"test", "p", ...}, where there is one.
    """

    effect: float
    interval: tuple[float, float]
    p: float
    seeds: tuple[list, list]
    paired: bool
    examples: int
    resamples: int
    exact: dict[str, Any] | None

    @property
    def over_seeds(self) -> bool:
        """Whether the noise of seeds could be measured: two runs at least on either side."""
        return min(map(len, self.seeds)) > 1


def difference(
    first: Mapping[Any, list], second: Mapping[Any, list], score: Score, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Whether two groups of runs differ, with seeds and examples both taken as drawn at random.

    The metric is computed anew on every resample of the examples (Efron 1979; Koehn 2004 for corpus-level metrics),
    which are the same for all runs. The standard error joins the variance over seeds with the covariance that scores
    on the same examples have between seeds, and Student's t is taken with Satterthwaite's degrees of freedom: the
    analysis of several readers of the same cases (Obuchowski & Rockette 1995; Hillis 2007, doi:10.1002/sim.2532; 2014,
    doi:10.1002/sim.5926 for unpaired readers), with runs as the readers. With three seeds that differ, a bootstrap of
    seeds and examples finds a difference in one of five comparisons of a model with itself; this does in one of twenty.
    With one run on a side only the examples are noise, and nothing is said of other seeds.

    Args:
        first: seed -> the examples with a run's answers, in the same order in all runs. Same seeds are paired.
        score: the metric of a list of such examples.

    Raises:
        ValueError: there are fewer than two examples.
    """
    import numpy as np

    examples = len(next(iter(first.values())))
    if examples < 2:
        raise ValueError(f"a difference takes several examples, not {examples}")
    first, second, paired = _matched(first, second)
    runs, count = [*first.values(), *second.values()], len(first)
    scores = np.array([score(run) for run in runs])
    singles = example_scores(score, runs)
    covariance = np.atleast_2d(np.cov(_resampled(score, runs, singles, resamples, seed), rowvar=False))
    effect = float(np.round(scores[:count].mean() - scores[count:].mean(), 12))  # sums in another order are no effect
    variance, freedom = _variance(scores, covariance, count, paired, examples)
    exact = _exact(scores, singles, count, paired)
    p = exact["p"] if exact and exact["test"] == "McNemar" else _t_test(effect, variance, freedom)
    half = _t_quantile(freedom) * math.sqrt(variance)
    seeds = (list(first), list(second))
    return Difference(effect, (effect - half, effect + half), p, seeds, paired, examples, resamples, exact)


def _matched(first: Mapping, second: Mapping) -> tuple[Mapping, Mapping, bool]:
    """The runs to hold against each other, and whether by seed: if two seeds are shared, or one run's only seed is."""
    shared = [seed for seed in first if seed in second]
    if len(shared) > 1 or (shared and min(len(first), len(second)) == 1):
        return {seed: first[seed] for seed in shared}, {seed: second[seed] for seed in shared}, True
    return first, second, False


def _variance(scores, covariance, count: int, paired: bool, examples: int) -> tuple[float, float]:
    """Variance of the difference of the two means, and its degrees of freedom.

    Args:
        scores: (runs,), those of the first group ahead.
        covariance: (runs, runs), over the resamples of the examples.
        count: runs of the first group.
    """
    import numpy as np

    others = len(scores) - count
    if min(count, others) == 1:  # no noise of seeds to be measured
        weights = np.r_[np.full(count, 1 / count), np.full(others, -1 / others)]
        return float(weights @ covariance @ weights), examples - 1
    if paired:
        minus = np.hstack([np.eye(count), -np.eye(count)])
        groups, between = [(minus @ scores, minus @ covariance @ minus.T)], 0.0
    else:
        parts = slice(None, count), slice(count, None)
        groups, between = [(scores[part], covariance[part, part]) for part in parts], covariance[parts].mean()
    common = [_mean_off_diagonal(block) for _, block in groups]
    terms = [(max(sum(common) - 2 * between, 0.0), examples - 1)]
    for (values, block), shared in zip(groups, common, strict=True):
        # Not below what examples alone do to a single run: few seeds may agree by chance.
        spread = max(values.var(ddof=1), block.diagonal().mean() - shared)
        terms.append((spread / len(values), len(values) - 1))
    variance = sum(term for term, _ in terms)
    spent = sum(term**2 / freedom for term, freedom in terms)
    return float(variance), float(variance**2 / spent) if spent else examples - 1


def _mean_off_diagonal(block) -> float:
    return float((block.sum() - block.trace()) / (block.size - len(block)))


def _resampled(score: Score, runs: list[list], singles, resamples: int, seed: int):
    """The scores of all runs on each resample of the examples: (resamples, runs)."""
    import numpy as np

    generator, examples, found = np.random.default_rng(seed), len(runs[0]), []
    for _ in range(resamples):
        drawn = generator.integers(0, examples, examples)
        if singles is not None:
            found.append(singles[:, drawn].mean(axis=1))
        else:
            found.append([score([run[i] for i in drawn]) for run in runs])
    return np.array(found)


def example_scores(score: Score, runs: Sequence[list]):
    """The metric of every single example, (runs, examples), if the metric is their mean; None if it is not.

    A few examples tell most other metrics (F1, correlations, BLEU), before all are scored one by one.
    """
    import numpy as np

    for size in (16, None):
        singles = np.array([[score([example]) for example in run[:size]] for run in runs])
        if not np.allclose(singles.mean(axis=1), [score(run[:size]) for run in runs], rtol=1e-9, atol=1e-12):
            return None
    return singles


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
