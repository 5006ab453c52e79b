"""Intervals cover, tests keep their level, and both respect that tokens of a sequence are not independent."""

import numpy as np
import pytest

from lmlab.audit.estimate import Estimate, histogram, mean, ratio
from lmlab.audit.figures import Figure
from lmlab.audit.judge import judge

SHARE = 0.15


def clustered(rng: np.random.Generator, size: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Parts and wholes of sequences of different lengths, whose shares vary far more than those of single draws."""
    whole = rng.integers(20, 60, size=size)
    return rng.binomial(whole, rng.beta(1.5, 8.5, size=size)).astype(float), whole.astype(float)


def test_95_percent_of_the_intervals_cover_though_tokens_are_not_independent():
    rng = np.random.default_rng(0)
    estimates = [ratio(*clustered(rng), SHARE) for _ in range(1000)]
    assert 0.93 < np.mean([each.low < SHARE < each.high for each in estimates]) < 0.97
    assert 0.93 < np.mean([each.p > 0.05 for each in estimates]) < 0.97  # and the test keeps its level
    naive = np.sqrt(SHARE * (1 - SHARE) / (300 * 40)) * 1.96
    assert np.mean([abs(each.value - SHARE) < naive for each in estimates]) < 0.75  # independent tokens would not do


def test_a_share_that_never_varies_is_exact_and_one_that_was_never_seen_is_not_certain():
    whole = np.full(100, 128.0)
    fixed = ratio(np.full(100, 19.0), whole, np.full(100, 19.0))
    assert fixed.low == fixed.high == fixed.value == 19 / 128 and fixed.p == 1
    assert ratio(np.full(100, 18.0), whole, np.full(100, 19.0)).p == 0
    nothing = ratio(np.zeros(100), whole)
    assert nothing.low == 0 and 0.03 < nothing.high < 0.04  # Wilson, of 100 sequences
    assert ratio(np.zeros(3), np.zeros(3)) == Estimate(None)
    one = mean(np.array([2.0]))
    assert (one.value, one.low) == (2.0, None)


def test_sequences_without_a_count_are_left_out():
    part, whole, expected = np.array([1, np.nan, 2, 3.0]), np.full(4, 10.0), np.array([1, 1, np.nan, 3.0])
    assert ratio(part, whole).value == pytest.approx(0.2)
    assert ratio(part, whole, expected).value == ratio(part, whole, expected).expected == pytest.approx(0.2)
    assert ratio(part, whole, np.full(4, np.nan)).expected is None


def tables(rng: np.random.Generator, weights: list[float], size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Spans of sequences with a fixed total, as T5 and ALBERT draw them: far from independent."""
    lengths = rng.choice([1, 2, 3], p=weights, size=(size, 12))
    before = lengths.cumsum(1) - lengths
    lengths = np.clip(12 - before, 0, lengths)  # the last one is cut, those behind it are none
    found = np.stack([(lengths == length).sum(1) for length in range(4)], 1).astype(float)
    found[:, 0] = 0
    return found, found.mean(0)


def test_the_test_of_lengths_keeps_its_level_and_finds_other_lengths():
    rng = np.random.default_rng(1)
    _, exact = tables(rng, [0.5, 0.3, 0.2], 40_000)
    ps = [histogram(tables(rng, [0.5, 0.3, 0.2])[0], np.tile(exact, (400, 1))) for _ in range(200)]
    assert 0.4 < np.mean(ps) < 0.6 and np.mean(np.array(ps) < 0.05) < 0.1
    assert histogram(tables(rng, [0.4, 0.4, 0.2])[0], np.tile(exact, (400, 1))) < 1e-6
    fixed = np.tile([0.0, 0.0, 6.0, 0.0], (400, 1))
    assert histogram(fixed, fixed) == 1 and histogram(fixed, np.tile(exact, (400, 1))) == 0
    assert histogram(fixed[:5], fixed[:5]) is None


def test_a_report_without_a_fault_is_rarely_called_off():
    rng = np.random.default_rng(2)
    reports = [[Figure("", "", Estimate(0.5, p=p)) for p in rng.random(20)] for _ in range(2000)]
    assert np.mean(["off" in judge(figures) for figures in reports]) < 0.004
    assert judge([Figure("", "", Estimate(0.5, p=1e-6))]) == ["off"]
    assert judge([Figure("", "", Estimate(0.5), most=0.4)]) == ["impossible"]
    assert judge([Figure("", "", Estimate(0.5))]) == [""]
