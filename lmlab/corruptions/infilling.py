"""BART's text infilling (Lewis et al. 2019, arXiv:1910.13461, section 2.2)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.corruptions.draws import Items, LengthDistribution, items_of, scatter, spans_in_segments
from lmlab.text.passage import Passage

LONGEST_MEAN = 1000.0  # items; a mean length above it is a slip of the pen


class Infilling(Corruption):
    """Replace spans of Poisson lengths by one mask token each; a span of no length inserts a mask.

    Lengths are drawn until round(rate * N) of the N ordinary tokens (or words) are hidden; where spans come to lie is
    said in `lmlab.corruptions.draws`. A mask may be inserted beside any token (word) that is not a special one, but
    not inside a hidden span, and fewer are inserted where the text could become longer than it was.

    Two ways in which fairseq differs: it shows some of the masks as random tokens (`mask-random`, a tenth in BART's
    recipe), and its spans may touch, where here they keep a distance of one item as long as there is room.

    Args:
        mask_id: the token that hides.
        rate: share of the tokens (words) to hide.
        mean_length: mean of the Poisson distribution, spans of no length included.
        whole_words: lengths count words and spans cover whole words, as in fairseq; else tokens.
    """

    keeps_length = False

    def __init__(self, mask_id: int | None, rate: float = 0.3, mean_length: float = 3.0, whole_words: bool = False):
        if mask_id is None:
            raise ValueError("the tokenizer has no mask token; choose one that has ([MASK] or <mask>)")
        if not 0 < rate <= 1:
            raise ValueError(f"rate={rate} must lie in (0, 1]")
        if not 0 < mean_length <= LONGEST_MEAN:
            raise ValueError(f"mean_length={mean_length} must lie in (0, {LONGEST_MEAN:g}]")
        self.mask_id, self.rate, self.mean_length, self.whole_words = mask_id, rate, mean_length, whole_words
        self.reads = ("word_starts",) if whole_words else ()
        self.span_lengths = LengthDistribution(poisson(mean_length))
        self.some_share = -np.expm1(-mean_length)  # of all draws, those of at least one token (word)

    def wanted(self, items: Items) -> int:
        """How many tokens (words) to hide; at least one where there is any."""
        return min(len(items), max(1, round(self.rate * len(items))))

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        items = items_of(text, self.whole_words)
        if not len(items):
            return Corrupted(text.tokens, np.zeros(len(text), dtype=bool))
        lengths = self.span_lengths.draw(self.wanted(items), generator)
        hidden = scatter(lengths, len(items), generator)
        noise, opens = np.zeros((2, len(text)), dtype=bool)
        noise[items.places(hidden)] = True
        opens[items.first[hidden[lengths.cumsum() - lengths]]] = True
        opens[0] |= noise[0]  # what was cut in two opens again
        opens[1:] |= noise[1:] & ~noise[:-1]
        kept = (opens | ~noise).nonzero()[0]
        origin = np.where(noise[kept], -1, kept)
        if num_inserts := self._inserts(len(lengths), items, generator):
            beside = np.concatenate([items.first[(opens | ~noise)[items.first]], items.ends()])
            places = beside[generator.integers(len(beside), size=num_inserts)]
            order = np.concatenate([2 * kept, 2 * places - 1]).argsort(kind="stable")
            origin = np.concatenate([origin, np.full(num_inserts, -1)])[order]
        return Corrupted(np.where(origin < 0, self.mask_id, text.tokens[origin]), noise, origin)

    def _inserts(self, num_spans: int, items: Items, generator: np.random.Generator) -> int:
        """Draws of no length before `num_spans` others have come, no more than there is room for."""
        return min(generator.negative_binomial(num_spans, self.some_share), self._room(num_spans, items))

    def _room(self, num_spans: int, items: Items) -> int:
        """How many masks can be inserted when `num_spans` take the place of what they hide, each border cutting one."""
        return max(0, self.wanted(items) - num_spans - len(items.segments))

    def expected_noise(self, text: Passage) -> float:
        items = items_of(text, self.whole_words)
        return self.wanted(items) * items.lengths.sum() / max(1, len(items))

    def expected_spans(self, text: Passage) -> np.ndarray | None:
        """As in the base class, inserted masks as spans of 0; None where the spans may be too many to lie apart."""
        items = items_of(text, self.whole_words)
        wanted = self.wanted(items)
        if 2 * wanted > len(items):
            return None
        expected = spans_in_segments(self.span_lengths.expected(wanted), items.segments)
        counts = self.span_lengths.counts(wanted)
        expected[0] = sum(share * self._mean_inserts(num, items) for num, share in enumerate(counts) if share > 0)
        return expected

    def _mean_inserts(self, num_spans: int, items: Items) -> float:
        """Mean of `_inserts`: the chances that there are more than 0, more than 1, ... of them, summed up."""
        room = self._room(num_spans, items)
        before = np.arange(1, room)
        steps = (1 - self.some_share) * (num_spans + before - 1) / before
        exactly = self.some_share**num_spans * np.concatenate([[1.0], steps]).cumprod()[:room]
        return float((1 - exactly.cumsum()).sum())


def poisson(mean: float) -> np.ndarray:
    """Weights of the lengths 1, 2, ... in a Poisson distribution, up to where nothing is left of it."""
    lengths = np.arange(1, int(mean + 12 * np.sqrt(mean)) + 20)
    logarithms = np.log(mean / lengths).cumsum()
    return np.exp(logarithms - logarithms.max())
