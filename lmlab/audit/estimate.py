"""Estimates with intervals, and tests against what is expected, from counts of sequences.

Tokens of one sequence are not independent, sequences are: all variances are those between sequences.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95  # of the intervals
RARE = 12  # spans that are expected in all sequences together; that none came up has a chance of exp(-12)
FEWEST = 20  # spans of a length, and sequences for each length, that a test of lengths needs


@dataclass(frozen=True)
class Estimate:
    """A measured value.

    Attributes:
        value: None where nothing was measured.
        low, high: its 95 % interval; None where the value is no estimate, or has none.
        expected: what it should be; None where nothing says so.
        p: how likely a value as far from the expected one is by chance; None as above.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    expected: float | None = None
    p: float | None = None


def ratio(part: np.ndarray, whole: np.ndarray, expected_part: np.ndarray | float | None = None) -> Estimate:
    """The sum of one column over that of another: tokens asked for over tokens, say.

    The interval is the ratio estimator's (Cochran 1977, "Sampling techniques", chapter 6); where all sequences agree
    on a share of 0 or 1, it is Wilson's, with sequences as trials.

    Args:
        part, whole: (sequences,); those with a nan are left out.
        expected_part: what `part` is expected to be in each sequence, (sequences,) or a factor of `whole`. Sequences of
            which nothing is expected are left out too, unless that is all.
    """
    if isinstance(expected_part, float):
        expected_part = expected_part * whole
    known = np.isfinite(part) & np.isfinite(whole)
    if expected_part is not None and np.isfinite(expected_part[known]).any():
        known &= np.isfinite(expected_part)
    else:
        expected_part = None
    if not whole[known].sum():
        return Estimate(None)
    part, whole = part[known], whole[known]
    value = part.sum() / whole.sum()
    low, high = _interval(value, part, whole)
    if expected_part is None:
        return Estimate(value, low, high)
    expected = expected_part[known]
    return Estimate(value, low, high, expected.sum() / whole.sum(), _chance(part - expected, whole))


def mean(column: np.ndarray, expected: np.ndarray | float | None = None) -> Estimate:
    """The mean of a column, as `ratio` takes it."""
    return ratio(column, np.where(np.isfinite(column), 1.0, np.nan), expected)


def _interval(value: float, part: np.ndarray, whole: np.ndarray) -> tuple[float | None, float | None]:
    size = np.count_nonzero(whole)
    if size < 2:
        return None, None
    half = stats.t.ppf((1 + LEVEL) / 2, size - 1) * _error(part - value * whole, whole)
    if half == 0 and value in (0, 1):
        interval = stats.binomtest(round(value * size), size).proportion_ci(LEVEL, "wilson")
        return float(interval.low), float(interval.high)
    return float(value - half), float(value + half)


def _error(rest: np.ndarray, whole: np.ndarray) -> float:
    """Standard error of the sum of `rest`, one number a sequence, over the sum of `whole`."""
    size = np.count_nonzero(whole)
    return float(np.sqrt(size / (size - 1) * np.square(rest - rest.sum() / size * (whole > 0)).sum()) / whole.sum())


def _chance(rest: np.ndarray, whole: np.ndarray) -> float:
    """How likely the sum of `rest`, expected to be 0, is as far from it: a t test over sequences."""
    size = np.count_nonzero(whole)
    off = abs(rest.sum()) / whole.sum()
    if off < 1e-9:
        return 1.0
    error = _error(rest, whole) if size > 1 else 0.0
    return float(2 * stats.t.sf(off / error, size - 1)) if error > 1e-12 else 0.0


def histogram(found: np.ndarray, expected: np.ndarray) -> float | None:
    """How likely it is by chance that numbers of spans by length, found and expected, differ as much.

    A Wald test: the mean difference of a sequence against its covariance between sequences, chi-square with as many
    degrees of freedom as that has rank. Where sequences hardly vary, a difference is not by chance, unless it is made
    of spans so rare that none may have come up.

    Args:
        found, expected: (sequences, lengths).

    Returns:
        None where there are too few spans to tell.
    """
    borders = _bins(expected.sum(0))
    if len(found) < FEWEST * len(borders) or not len(borders):
        return None
    rest = np.add.reduceat(found - expected, borders, axis=1)
    size, middle = len(rest), rest.mean(0)
    variances, axes = np.linalg.eigh(np.cov(rest, rowvar=False).reshape(len(borders), -1))
    varies = size * variances > RARE
    along = axes.T @ middle
    if size * np.abs(along[~varies]).max(initial=0.0) > RARE:
        return 0.0
    if not varies.any():
        return 1.0
    return float(stats.chi2.sf(size * (np.square(along[varies]) / variances[varies]).sum(), varies.sum()))


def _bins(expected: np.ndarray) -> np.ndarray:
    """Where lengths that are tested together begin: each group has enough spans."""
    borders, total = [], 0.0
    for length, number in enumerate(expected):
        if not borders or total >= FEWEST:
            borders.append(length)
            total = 0.0
        total += number
    if len(borders) > 1 and total < FEWEST:
        borders.pop()
    return np.array(borders, dtype=np.int64)
