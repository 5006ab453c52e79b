"""Lengths and places of spans: exact distributions, found by going through all cases where these are few."""

from collections import Counter
from math import comb

import numpy as np
import pytest
from example_passages import passage, random_passages, words_of
from scipy import stats

from lmlab.corruptions.draws import LengthDistribution, items_of, random_parts, scatter, spans_in_segments
from lmlab.corruptions.geometric_spans import GeometricSpans
from lmlab.corruptions.infilling import Infilling, poisson
from lmlab.corruptions.ngram import NGram

ALBERT, SPANBERT, BART = NGram(4, 9).span_lengths, GeometricSpans(4, 9).span_lengths, Infilling(4).span_lengths


def test_the_distributions_are_those_of_the_papers():
    assert ALBERT.shares == pytest.approx([0, 6 / 11, 3 / 11, 2 / 11])
    assert SPANBERT.shares @ np.arange(11) == pytest.approx(3.797, abs=0.001)
    assert SPANBERT.shares[1:] == pytest.approx(stats.geom.pmf(range(1, 11), 0.2) / stats.geom.cdf(10, 0.2))
    for mean in (0.01, 3, 100):
        lengths = np.arange(1, len(poisson(mean)) + 1)
        truth = stats.poisson.pmf(lengths, mean) / stats.poisson.sf(0, mean)
        assert LengthDistribution(poisson(mean)).shares[1:] == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("lengths", [ALBERT, SPANBERT, LengthDistribution(np.array([0, 0, 1.0]))])
@pytest.mark.parametrize("budget", [0, 1, 2, 5])
def test_expected_lengths_are_those_of_all_possible_draws(lengths, budget):
    expected, counts = np.zeros(budget + 1), np.zeros(budget + 1)
    support = np.flatnonzero(lengths.shares)

    def draw(chance: float, drawn: tuple[int, ...]) -> None:
        left = budget - sum(drawn)
        if left == 0:
            np.add.at(expected, list(drawn), chance)
            counts[len(drawn)] += chance
            return
        for length in support:
            draw(chance * lengths.shares[length], (*drawn, min(length, left)))

    draw(1.0, ())
    assert lengths.expected(budget) == pytest.approx(expected)
    assert budget == 0 or lengths.counts(budget) == pytest.approx(counts)


@pytest.mark.parametrize("lengths", [ALBERT, SPANBERT, BART], ids=["ngram", "geometric", "poisson"])
@pytest.mark.parametrize("budget", [3, 19, 77])
def test_draws_meet_the_budget_and_the_distribution(lengths, budget):
    rng, number = np.random.default_rng(0), 3000
    draws = [lengths.draw(budget, rng) for _ in range(number)]
    assert all(draw.sum() == budget and draw.min() > 0 for draw in draws)
    expected = lengths.expected(budget) * number
    assert expected @ np.arange(budget + 1) == pytest.approx(budget * number)
    assert lengths.counts(budget) @ np.arange(budget + 1) == pytest.approx(expected.sum() / number)
    counts, often = np.bincount(np.concatenate(draws), minlength=budget + 1), expected >= 10
    scale = counts[often].sum() / expected[often].sum()
    assert stats.chisquare(counts[often], expected[often] * scale).pvalue > 1e-4


def test_every_way_to_cut_is_equally_likely():
    rng = np.random.default_rng(0)
    ways = Counter(tuple(random_parts(6, 3, rng)) for _ in range(5000))
    assert len(ways) == comb(5, 2)
    assert all(sum(way) == 6 and min(way) > 0 for way in ways)
    assert stats.chisquare(list(ways.values())).pvalue > 1e-4


def test_every_way_to_place_spans_is_equally_likely():
    rng, lengths = np.random.default_rng(0), np.array([2, 1, 1])
    ways = Counter(tuple(scatter(lengths, 9, rng)) for _ in range(20_000))
    apart = 9 * comb(5 - 1, 3 - 1)  # where the first one starts; how the 5 other items are shared by 3 gaps
    assert len(ways) == apart
    assert stats.chisquare(list(ways.values())).pvalue > 1e-4
    for way in ways:
        hidden = np.isin(np.arange(9), way)
        assert hidden.sum() == 4 and (hidden & ~np.roll(hidden, 1)).sum() == 3


@pytest.mark.parametrize(("lengths", "num_items"), [([3, 2, 2], 8), ([3, 2, 2], 7), ([1], 1), ([1, 1], 2), ([1], 2)])
def test_crowded_spans_never_overlap(lengths, num_items):
    rng = np.random.default_rng(0)
    for _ in range(50):
        places = scatter(np.array(lengths), num_items, rng)
        assert len(set(places.tolist())) == sum(lengths) and set(places.tolist()) <= set(range(num_items))


@pytest.mark.parametrize("segments", [[6], [3, 5, 1], [1, 1, 1, 1], [2, 7]])
def test_spans_are_cut_at_the_borders_of_segments(segments):
    """Against all rotations of one span of each length."""
    num_items = sum(segments)
    borders = np.cumsum(segments)
    for span in range(1, num_items):
        counts = np.zeros(num_items + 1)
        for first in range(num_items):
            hidden = np.isin(np.arange(num_items), (first + np.arange(span)) % num_items)
            for part in np.split(hidden, borders[:-1]):
                edges = np.flatnonzero(np.diff(np.concatenate([[0], part, [0]])))
                np.add.at(counts, edges[1::2] - edges[::2], 1 / num_items)
        expected = np.zeros(num_items + 1)
        expected[span] = 1
        assert spans_in_segments(expected, np.array(segments)) == pytest.approx(counts)


def test_items_are_the_ordinary_tokens_or_the_words():
    text = passage(8, (0, 4, 7), np.array([1, 0, 0, 1, 0, 0, 1, 1], dtype=bool))
    tokens, words = items_of(text, whole_words=False), items_of(text, whole_words=True)
    assert tokens.first.tolist() == [1, 2, 3, 5, 6] and tokens.segments.tolist() == [3, 2]
    assert words.first.tolist() == [1, 3, 5, 6] and words.lengths.tolist() == [2, 1, 1, 1]
    assert words.ends().tolist() == [4, 7]


def test_words_never_hold_a_special_token():
    for text in random_passages(200):
        words, items = words_of(text), items_of(text, whole_words=True)
        assert [word[0] for word in words] == items.first.tolist()
        assert [len(word) for word in words] == items.lengths.tolist()
        assert items.places(np.arange(len(items))).tolist() == np.flatnonzero(text.ordinary).tolist()
        assert items.segments.sum() == len(items)
