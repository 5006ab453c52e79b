"""Corruptions that hide, remove or move tokens: exact counts, closed forms, and what must never be touched."""

import itertools
from collections import Counter

import numpy as np
import pytest
from example_passages import MASK, assert_lengths_as_expected, passage, random_passages, runs
from scipy import stats

from lmlab.corruptions.base import Corruption
from lmlab.corruptions.chain import Chain
from lmlab.corruptions.deletion import Deletion
from lmlab.corruptions.drop import Drop
from lmlab.corruptions.none import NoCorruption
from lmlab.corruptions.rotation import Rotation
from lmlab.corruptions.sentence_permutation import SentencePermutation
from lmlab.corruptions.shuffle import Shuffle
from lmlab.corruptions.spans import Spans
from lmlab.text.passage import Passage

HIDING = {"spans": Spans(MASK, rate=0.5), "drop": Drop(rate=0.4), "deletion": Deletion(rate=0.3)}
MOVING = {
    "rotation": Rotation(),
    "shuffle": Shuffle(),
    "window": Shuffle(window=3),
    "sentence_permutation": SentencePermutation(),
}
CHAINS = {"chain": Chain({"order": SentencePermutation(), "noise": Deletion()})}
EVERY = {"none": NoCorruption(), **HIDING, **MOVING, **CHAINS}


def texts(number: int = 60) -> list[Passage]:
    """Passages with sentences, from empty ones and ones without ordinary tokens to long ones."""
    rng = np.random.default_rng(5)
    tiny = [passage(0), passage(1), passage(1, (0,)), passage(2), passage(2, (0, 1)), passage(3, (0, 2))]
    found = []
    for text in tiny + list(random_passages(number)):
        starts = rng.random(len(text)) < 0.2
        starts[:1] = True
        found.append(Passage(text.tokens, text.ordinary, text.word_starts, starts))
    return found


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("corruption", EVERY.values(), ids=EVERY)
def test_corruptions_are_pure_and_keep_special_tokens(corruption: Corruption):
    for seed, text in enumerate(texts()):
        before = text.tokens.copy()
        first, second = (corruption(text, rng(seed)) for _ in range(2))
        assert np.array_equal(first.tokens, second.tokens) and np.array_equal(first.noise, second.noise)
        assert np.array_equal(text.tokens, before)
        assert len(first.noise) == len(text) and not first.noise[~text.ordinary].any()
        origin = np.arange(len(text)) if first.origin is None else first.origin
        assert len(origin) == len(first.tokens)
        assert set(np.flatnonzero(~text.ordinary)) <= set(origin)
        if corruption.keeps_length:
            assert len(first.tokens) == len(text)
            assert np.array_equal(first.tokens[~first.noise], text.tokens[~first.noise])
        if corruption.expected_noise(text) is not None and corruption.selects:
            assert first.noise.sum() == corruption.expected_noise(text)


@pytest.mark.parametrize(("length", "rate", "mean", "num_noise", "num_spans"), [
    (568, 0.15, 3.0, 85, 28), (114, 0.15, 3.0, 17, 6), (512, 0.5, 3.0, 256, 85), (511, 0.15, 1.0, 77, 77),
])  # fmt: skip
def test_spans_have_the_counts_of_t5(length, rate, mean, num_noise, num_spans):
    spans = Spans(rate=rate, mean_length=mean)
    assert spans.fixed_counts(length) == (num_noise, num_spans)
    noise = spans(passage(length), rng()).noise
    assert noise.sum() == num_noise and len(runs(noise)) == num_spans
    assert not noise[0] and noise[-1]


@pytest.mark.parametrize("corruption", [Spans(rate=0.3, mean_length=4), Drop(rate=0.5, mean_length=2)])
def test_span_lengths_are_those_of_a_random_composition(corruption):
    assert_lengths_as_expected(corruption, passage(80, (0, 79)), lambda corrupted: runs(corrupted.noise))
    expected = corruption.expected_spans(passage(80))
    num_noise, num_spans = corruption.fixed_counts(80)
    assert expected.sum() == pytest.approx(num_spans)
    assert expected @ np.arange(len(expected)) == pytest.approx(num_noise)
    assert corruption.expected_spans(passage(80, (40,))) is None  # a special token may cut a span in two


def test_every_way_to_lay_spans_is_equally_likely():
    ways = Counter(tuple(Spans(rate=0.5, mean_length=2)(passage(8), rng(seed)).noise) for seed in range(5000))
    assert len(ways) == 9  # 3 ways to cut 4 tokens of noise in 2, times 3 to cut 4 of text
    assert stats.chisquare(list(ways.values())).pvalue > 1e-4


@pytest.mark.parametrize("corruption", [Drop(rate=0.3), Deletion(rate=0.3)], ids=["drop", "deletion"])
def test_what_is_removed_leaves_no_trace(corruption):
    for seed, text in enumerate(texts()):
        corrupted = corruption(text, rng(seed))
        assert np.array_equal(corrupted.tokens, text.tokens[~corrupted.noise])
        assert len(corrupted.tokens) >= min(len(text), 1)
    assert len(Deletion(rate=1.0)(passage(9), rng()).tokens) == 1


def test_deletion_favours_no_place():
    counts = sum(Deletion(rate=0.2)(passage(30), rng(seed)).noise.astype(int) for seed in range(6000))
    assert counts.sum() == 6 * 6000 and stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("corruption", MOVING.values(), ids=MOVING)
def test_moving_loses_no_token_and_leaves_special_ones_in_place(corruption):
    for seed, text in enumerate(texts()):
        moved = corruption(text, rng(seed))
        assert sorted(moved.origin) == list(range(len(text)))
        assert np.array_equal(moved.tokens, text.tokens[moved.origin])
        special = np.flatnonzero(~text.ordinary)
        assert np.array_equal(moved.origin[special], special)
        assert np.array_equal(moved.noise, moved.origin != np.arange(len(text)))


@pytest.mark.parametrize("corruption", [Rotation(), Shuffle()], ids=["rotation", "shuffle"])
def test_every_rotation_and_every_order_is_equally_likely(corruption):
    orders = Counter(tuple(corruption(passage(5, (0,)), rng(seed)).origin[1:]) for seed in range(6000))
    if isinstance(corruption, Rotation):
        assert set(orders) == {(1, 2, 3, 4), (2, 3, 4, 1), (3, 4, 1, 2), (4, 1, 2, 3)}
    assert len(orders) == (4 if isinstance(corruption, Rotation) else 24)
    assert stats.chisquare(list(orders.values())).pvalue > 1e-4
    noise = [corruption(passage(5, (0,)), rng(seed)).noise.sum() for seed in range(6000)]
    assert np.mean(noise) == pytest.approx(corruption.expected_noise(passage(5, (0,))), abs=0.1)


@pytest.mark.parametrize("window", [1, 2, 5])
def test_no_token_leaves_its_window_and_all_of_it_is_used(window):
    ways = np.array([Shuffle(window)(passage(40), rng(seed)).origin - np.arange(40) for seed in range(300)])
    assert np.abs(ways).max() == window
    assert set(np.unique(ways)) == set(range(-window, window + 1))


def test_sentences_stay_whole_and_every_order_of_them_is_equally_likely():
    text = passage(11, (0, 10))
    starts = np.isin(np.arange(11), [0, 1, 4, 5, 10])
    text = Passage(text.tokens, text.ordinary, None, starts)
    sentences = [(1, 2, 3), (4,), (5, 6, 7, 8, 9)]
    orders = Counter(tuple(SentencePermutation()(text, rng(seed)).origin[1:-1]) for seed in range(3000))
    assert set(orders) == {sum(order, ()) for order in itertools.permutations(sentences)}
    assert stats.chisquare(list(orders.values())).pvalue > 1e-4


@pytest.mark.parametrize(("kind", "settings"), [
    (Spans, {"rate": 1.0}), (Spans, {"rate": 0}), (Spans, {"mean_length": 0.5}), (Spans, {"mean_length": float("nan")}),
    (Drop, {"rate": -0.1}), (Deletion, {"rate": 0}), (Deletion, {"rate": 1.5}), (Shuffle, {"window": 0}),
    (Chain, {"parts": {}}),
])  # fmt: skip
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        kind(**settings)
