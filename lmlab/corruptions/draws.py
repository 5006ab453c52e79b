"""What corruptions in spans share: the items of a passage, lengths and places of spans, and what is to be expected.

The items (tokens or whole words) of a passage are laid on a circle and spans are thrown onto it, so that every item is
equally likely to be hidden; the end of the circle and special tokens cut a span that would cross them in two. Both the
number of items in spans and the mean number of spans of each length are then known exactly.
"""

from dataclasses import dataclass

import numpy as np

from lmlab.text.passage import Passage


@dataclass(frozen=True)
class Items:
    """The N parts of a passage that are hidden whole: its ordinary tokens, or its words.

    Attributes:
        first: (N,), place in the passage of each item's first token.
        lengths: (N,), in tokens.
        segments: numbers of items between special tokens; their sum is N.
    """

    first: np.ndarray
    lengths: np.ndarray
    segments: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def places(self, chosen: np.ndarray) -> np.ndarray:
        """Places in the passage of all tokens of the `chosen` items, in their order."""
        lengths = self.lengths[chosen]
        return (self.first[chosen] - lengths.cumsum() + lengths).repeat(lengths) + np.arange(lengths.sum())

    def ends(self) -> np.ndarray:
        """Places after the last token of each segment."""
        last = self.segments.cumsum() - 1
        return self.first[last] + self.lengths[last]


def items_of(text: Passage, whole_words: bool) -> Items:
    """The ordinary tokens of a passage or its words; a special token ends a word."""
    ordinary = text.ordinary
    opens = ordinary.copy()
    opens[1:] &= ~ordinary[:-1]
    first = ((opens | (ordinary & text.word_starts)) if whole_words else ordinary).nonzero()[0]
    tokens_before = (ordinary.cumsum() - ordinary)[first]
    lengths = np.diff(tokens_before, append=np.count_nonzero(ordinary))
    return Items(first, lengths, np.diff(opens[first].nonzero()[0], append=len(first)))


class LengthDistribution:
    """A distribution of span lengths.

    Args:
        weights: of the lengths 1, 2, 3, ..., on any scale.

    Attributes:
        shares: probability of the lengths 0, 1, 2, ...; that of 0 is 0.
    """

    def __init__(self, weights: np.ndarray):
        self.shares = np.concatenate([[0.0], weights / np.sum(weights)])
        self._up_to = self.shares.cumsum()[1:]
        self._up_to[-1] = 1.0

    def draw(self, budget: int, generator: np.random.Generator) -> np.ndarray:
        """Draw lengths until `budget` items are reached; the last one is cut so that they are met exactly."""
        lengths = 1 + self._up_to.searchsorted(generator.random(budget), side="right")  # more are never needed
        total = lengths.cumsum()
        last = total.searchsorted(budget)
        lengths[last] -= total[last] - budget
        return lengths[: last + 1]

    def within(self, budget: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of a length of exactly n and of more than n, for n from 0 to `budget`."""
        shares = np.zeros(budget + 1)
        known = self.shares[: budget + 1]
        shares[: len(known)] = known
        return shares, 1 - shares.cumsum()

    def expected(self, budget: int) -> np.ndarray:
        """How many spans of 0, 1, ..., `budget` items `draw` gives on average.

        A draw begins after s items with a probability that obeys the renewal equation, reach(s) = sum over n of
        shares(n) reach(s - n). It keeps its length where that fits, and is cut where s + n is more than the budget.
        """
        shares, longer = self.within(budget)
        reach = np.zeros(budget)
        reach[:1] = 1
        for s in range(1, budget):
            reach[s] = shares[1 : s + 1] @ reach[s - 1 :: -1]
        expected = np.zeros(budget + 1)
        expected[1:] = shares[1:] * reach.cumsum()[::-1] + longer[1:] * reach[::-1]
        return expected

    def counts(self, budget: int) -> np.ndarray:
        """Probabilities that `draw` gives 0, 1, ..., `budget` spans."""
        shares, longer = self.within(budget)
        reach = np.zeros(budget)  # probability that the spans so far make up 0, 1, ... items
        reach[:1] = 1
        counts = np.zeros(budget + 1)
        for number in range(1, budget + 1):
            counts[number] = reach @ (shares + longer)[:0:-1]
            reach = np.convolve(reach, shares)[:budget]
        return counts


def random_parts(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """Cut `total` into `parts` positive lengths, every way being equally likely."""
    cuts = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(cuts, prepend=0, append=total)


def scatter(lengths: np.ndarray, num_items: int, generator: np.random.Generator) -> np.ndarray:
    """Places of the items of spans that are thrown onto a circle of `num_items`, span after span.

    Spans do not overlap, and keep a distance of at least one item where there is room for it; every way to place
    them, in their order around the circle, is equally likely. So is, then, every item to be in a span.
    """
    num_spans, num_hidden = len(lengths), lengths.sum()
    room = num_items - num_hidden
    least = 1 if room >= num_spans else 0
    gaps = random_parts(room + num_spans * (1 - least), num_spans, generator) - (1 - least)
    first = generator.integers(num_items) + gaps.cumsum() - gaps  # where each would start, had no span a length
    return (first.repeat(lengths) + np.arange(num_hidden)) % num_items


def spans_in_segments(expected: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Mean numbers of spans by length after `scatter`, cut at the borders of segments; no span fills the circle.

    A span of m items has as many places on the circle as there are items. Of these, |g - m| + 1 show min(g, m) of
    it in a segment of g items; two, one at either end, show n of it, for each n below.

    Args:
        expected: mean numbers of spans of 0, 1, 2, ... items before they are cut.
        segments: see `Items`.
    """
    overlap = np.minimum.outer(np.arange(len(expected)), segments)
    ways = np.abs(np.subtract.outer(np.arange(len(expected)), segments)) + 1
    per_place = np.broadcast_to(expected[:, None] / max(1, segments.sum()), overlap.shape).ravel()
    size = len(expected)
    most = np.bincount(overlap.ravel(), per_place * ways.ravel(), minlength=size)
    less = np.bincount(overlap.ravel(), 2 * per_place, minlength=size)
    cut = most + less.sum() - less.cumsum()
    cut[0] = expected[0]
    return cut
