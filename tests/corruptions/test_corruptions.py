"""Corruptions: exact counts, closed forms of their distributions, and what must never be touched."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lmlab.corruptions.none import NoCorruption
from lmlab.corruptions.spans import Spans, random_segments
from lmlab.corruptions.token_mask import TokenMask

MASK, VOCAB, SPECIAL = 4, 1000, frozenset(range(5))


def token_mask(**settings) -> TokenMask:
    return TokenMask(mask_id=MASK, vocab_size=VOCAB, special_ids=SPECIAL, **settings)


def text(length: int) -> np.ndarray:
    return np.arange(length) % (VOCAB - 5) + 5


@pytest.mark.parametrize(
    ("length", "limit", "expected"), [(128, None, 19), (512, None, 77), (512, 20, 20), (3, None, 1)]
)
def test_token_mask_chooses_the_fixed_number_of_bert(length, limit, expected):
    corrupted = token_mask(max_predictions=limit)(text(length), np.ones(length, bool), np.random.default_rng(0))
    assert corrupted.noise.sum() == expected


def test_token_mask_shows_80_10_10_percent():
    rng, tokens = np.random.default_rng(0), text(512)
    seen = Counter()
    for _ in range(400):
        corrupted = token_mask()(tokens, np.ones(512, bool), rng)
        shown, original = corrupted.tokens[corrupted.noise], tokens[corrupted.noise]
        seen["mask"] += (shown == MASK).sum()
        seen["kept"] += (shown == original).sum()
        seen["random"] += ((shown != MASK) & (shown != original)).sum()
        assert np.array_equal(corrupted.tokens[~corrupted.noise], tokens[~corrupted.noise])
    total = sum(seen.values())
    same = 0.1 / (VOCAB - 5)  # a random token may be the true one
    expected = [0.8 * total, (0.1 + same) * total, (0.1 - same) * total]
    assert stats.chisquare([seen["mask"], seen["kept"], seen["random"]], expected).pvalue > 1e-4


def test_token_mask_favours_no_position_and_no_random_token():
    rng, tokens = np.random.default_rng(1), text(40)
    positions, drawn = np.zeros(40), np.zeros(VOCAB)
    mask = token_mask(mask_share=0, random_share=1)
    for _ in range(8000):
        corrupted = mask(tokens, np.ones(40, bool), rng)
        positions += corrupted.noise
        np.add.at(drawn, corrupted.tokens[corrupted.noise], 1)
    assert stats.chisquare(positions).pvalue > 1e-4
    assert drawn[:5].sum() == 0
    assert stats.chisquare(drawn[5:]).pvalue > 1e-4


@pytest.mark.parametrize("corruption", [token_mask(rate=0.9), Spans(MASK, rate=0.5)], ids=["token_mask", "spans"])
def test_only_candidates_are_touched_and_the_same_seed_gives_the_same(corruption):
    tokens, candidates = text(60), np.arange(60) % 3 > 0
    first, second = (corruption(tokens, candidates, np.random.default_rng(7)) for _ in range(2))
    assert not first.noise[~candidates].any() and first.noise.any()
    assert np.array_equal(first.tokens[~first.noise], tokens[~first.noise])
    assert np.array_equal(first.tokens, second.tokens)
    assert np.array_equal(tokens, text(60))  # the input is left alone


def runs(noise: np.ndarray) -> np.ndarray:
    """Lengths of the runs of noise."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], noise, [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize(("length", "rate", "mean", "num_noise", "num_spans"), [
    (568, 0.15, 3.0, 85, 28), (114, 0.15, 3.0, 17, 6), (512, 0.5, 3.0, 256, 85), (511, 0.15, 1.0, 77, 77),
])  # fmt: skip
def test_spans_have_the_counts_of_t5(length, rate, mean, num_noise, num_spans):
    spans = Spans(rate=rate, mean_length=mean)
    assert spans.lengths(length) == (num_noise, num_spans)
    noise = spans(text(length), np.ones(length, bool), np.random.default_rng(0)).noise
    assert noise.sum() == num_noise and len(runs(noise)) == num_spans
    assert not noise[0] and noise[-1]


def test_every_way_to_cut_is_equally_likely():
    rng = np.random.default_rng(0)
    ways = Counter(tuple(random_segments(6, 3, rng)) for _ in range(5000))
    assert len(ways) == 10  # (6 - 1) choose (3 - 1)
    assert all(sum(way) == 6 and min(way) > 0 for way in ways)
    assert stats.chisquare(list(ways.values())).pvalue > 1e-4


def test_none_leaves_everything():
    corrupted = NoCorruption()(text(9), np.ones(9, bool), np.random.default_rng(0))
    assert np.array_equal(corrupted.tokens, text(9)) and not corrupted.noise.any()


@pytest.mark.parametrize("settings", [{"rate": 0}, {"rate": 1.5}, {"mask_share": 0.95, "random_share": 0.1}])
def test_impossible_rates_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        token_mask(**settings)


@pytest.mark.parametrize("settings", [{"rate": 1.0}, {"rate": 0}, {"mean_length": 0.5}])
def test_impossible_spans_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Spans(**settings)
