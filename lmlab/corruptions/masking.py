"""What all masks have in common (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""

from abc import abstractmethod

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.corruptions.draws import Items, LengthDistribution, items_of, scatter, spans_in_segments
from lmlab.text.passage import Passage


class Masking(Corruption):
    """Choose tokens; show most of them as [MASK], some as a random token and some as they are.

    The number of chosen tokens is min(max_predictions, max(1, round(rate * T))), as in google-research/bert, where T
    counts the whole sequence with its special tokens. A kind of masking says which ones, by `choose`.

    Args:
        mask_id: the token that hides; None only where `mask_share` is 0.
        vocab_size: random tokens are drawn from the ids below it that are not special.
        special_ids: never drawn as random tokens.
        rate: share of the tokens to choose.
        mask_share: share of the chosen shown as [MASK].
        random_share: share of the chosen shown as a random token; the rest stays as it is.
        max_predictions: the most to choose, or None.
    """

    def __init__(
        self,
        mask_id: int | None,
        vocab_size: int,
        special_ids: frozenset[int] = frozenset(),
        rate: float = 0.15,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        max_predictions: int | None = None,
    ):
        if not 0 < rate <= 1:
            raise ValueError(f"rate={rate} must lie in (0, 1]")
        if not (mask_share >= 0 and random_share >= 0 and mask_share + random_share <= 1 + 1e-9):
            raise ValueError(f"mask_share={mask_share} and random_share={random_share} must be shares of one whole")
        if max_predictions is not None and max_predictions < 1:
            raise ValueError(f"max_predictions={max_predictions} must be at least 1 token, or null for no limit")
        if mask_id is None and mask_share > 0:
            raise ValueError(
                f"mask_share={mask_share}: the tokenizer has no mask token; choose one that has ([MASK] or <mask>),"
                " or set mask_share to 0"
            )
        self.mask_id = mask_id
        self.ordinary_ids = np.setdiff1d(np.arange(vocab_size), list(special_ids))
        self.rate, self.mask_share, self.random_share = rate, mask_share, random_share
        self.max_predictions = max_predictions

    @abstractmethod
    def choose(self, text: Passage, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """The places of the chosen tokens, and how many of them at a time are shown the same way (None: one)."""

    def wanted(self, text: Passage) -> int:
        """How many tokens to choose."""
        wanted = max(1, round(self.rate * len(text)))
        return min(wanted, np.count_nonzero(text.ordinary), self.max_predictions or wanted)

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        chosen, sizes = self.choose(text, generator)
        draw = generator.random(len(chosen)) if sizes is None else generator.random(len(sizes)).repeat(sizes)
        masked = draw < self.mask_share
        random = chosen[(draw < self.mask_share + self.random_share) & ~masked]
        seen = text.tokens.copy()
        if self.mask_share:
            seen[chosen[masked]] = self.mask_id
        seen[random] = self.ordinary_ids[generator.integers(len(self.ordinary_ids), size=len(random))]
        noise = np.zeros(len(text), dtype=bool)
        noise[chosen] = True
        return Corrupted(seen, noise)

    def expected_noise(self, text: Passage) -> float | None:
        return float(self.wanted(text))


class WordSpanMasking(Masking):
    """Choose spans of whole words, whose lengths in words are drawn from a distribution; each span is shown one way.

    Lengths are drawn until they make up `rate` of the words, so that the number of tokens is right on average only:
    words are not equally long. Where spans come to lie is said in `lmlab.corruptions.draws`.

    Attributes:
        span_lengths: the distribution of the lengths.
    """

    whole_words = True
    reads = ("word_starts",)
    span_lengths: LengthDistribution

    def choose(self, text: Passage, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        words = items_of(text, whole_words=True)
        if not len(words):
            return words.first, words.lengths
        lengths = self.span_lengths.draw(self.wanted_words(text, words), generator)
        chosen = scatter(lengths, len(words), generator)
        return words.places(chosen), np.add.reduceat(words.lengths[chosen], lengths.cumsum() - lengths)

    def wanted_words(self, text: Passage, words: Items) -> int:
        """How many words make up the tokens to choose; at least one where there is any."""
        share = self.wanted(text) / max(1, words.lengths.sum())
        return min(len(words), max(1, round(share * len(words))))

    def expected_noise(self, text: Passage) -> float:
        words = items_of(text, whole_words=True)
        return self.wanted_words(text, words) * words.lengths.sum() / max(1, len(words))

    def expected_spans(self, text: Passage) -> np.ndarray | None:
        """As in the base class; None where the spans may be too many to lie apart."""
        words = items_of(text, whole_words=True)
        budget = self.wanted_words(text, words)
        if 2 * budget > len(words):
            return None
        return spans_in_segments(self.span_lengths.expected(budget), words.segments)
