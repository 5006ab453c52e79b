"""Passages for tests of corruptions: random ones with special tokens anywhere, and the awkward ones."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy import stats

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.text.passage import Passage

MASK, VOCAB, SPECIAL = 4, 1000, frozenset(range(5))


def passage(length: int, specials: tuple[int, ...] = (), word_starts: np.ndarray | None = None) -> Passage:
    """`length` tokens, the ones at the places `specials` special; without `word_starts` all are words."""
    ordinary = np.ones(length, dtype=bool)
    ordinary[list(specials)] = False
    tokens = np.where(ordinary, np.arange(length) % (VOCAB - 5) + 5, 2)
    return Passage(tokens, ordinary, np.ones(length, dtype=bool) if word_starts is None else word_starts)


def random_passages(number: int, seed: int = 0, longest: int = 60) -> Iterator[Passage]:
    """Passages of 1 to `longest` tokens, of long or short words, from without special tokens to nothing else."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        length = int(rng.integers(1, longest + 1))
        special = np.flatnonzero(rng.random(length) < rng.choice([0, 0.1, 0.5, 1]))
        starts = rng.random(length) < rng.choice([0, 0.2, 0.7, 1])
        yield passage(length, tuple(special), starts)
        yield passage(length, (0, length - 1), starts)


def words_of(text: Passage) -> list[np.ndarray]:
    """The places of each word's tokens, found one token at a time."""
    words: list[list[int]] = []
    for place in np.flatnonzero(text.ordinary):
        follows = place > 0 and text.ordinary[place - 1] and not text.word_starts[place]
        if follows:
            words[-1].append(place)
        else:
            words.append([place])
    return [np.array(word) for word in words]


def runs(noise: np.ndarray) -> np.ndarray:
    """Lengths of the runs of noise."""
    return np.diff(_edges(noise))[::2]


def word_runs(text: Passage) -> Callable[[np.ndarray], np.ndarray]:
    """A function that measures the lengths in words of the runs of noise in `text`."""
    words_before = np.zeros(len(text) + 1, dtype=int)
    for word in words_of(text):
        words_before[word[0] + 1 :] += 1
    return lambda noise: np.diff(words_before[_edges(noise)])[::2]


def _edges(noise: np.ndarray) -> np.ndarray:
    """Where runs of noise begin and end, in turn."""
    return np.flatnonzero(np.diff(np.concatenate([[0], noise, [0]])))


def assert_lengths_as_expected(
    corruption: Corruption, text: Passage, measure: Callable[[Corrupted], np.ndarray], number: int = 3000
) -> None:
    """Hold the lengths of spans that `measure` finds in `number` corruptions against `expected_spans`."""
    generator = np.random.default_rng(0)
    found = [measure(corruption(text, generator)) for _ in range(number)]
    numbers, expected = np.array([len(each) for each in found]), corruption.expected_spans(text)
    assert numbers.mean() == pytest.approx(expected.sum(), abs=5 * numbers.std() / np.sqrt(number) + 1e-9)
    counts = np.bincount(np.concatenate(found), minlength=len(expected))
    assert len(counts) == len(expected) and counts[expected < 1e-9].sum() == 0
    often = expected * number >= 10
    assert often.sum() >= 2
    scale = counts[often].sum() / expected[often].sum()
    assert stats.chisquare(counts[often], expected[often] * scale).pvalue > 1e-4
