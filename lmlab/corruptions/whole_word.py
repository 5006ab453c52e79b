"""Whole-word masking (google-research/bert, May 2019; Cui et al. 2019, arXiv:1906.08101, for Chinese)."""

import numpy as np

from lmlab.corruptions.draws import items_of
from lmlab.corruptions.masking import Masking
from lmlab.text.passage import Passage


class WholeWord(Masking):
    """Choose whole words, all pieces of each; what a word is, is known from the tokenizer.

    As in google-research/bert, the rate is still one of tokens, words are taken in random order unless they would
    exceed the number of tokens to choose, and each token is shown in its own way. Where every word is longer than
    that number, one of the shortest is chosen, so that there is always something to ask for.
    """

    whole_words = True
    reads = ("word_starts",)

    def choose(self, text: Passage, generator: np.random.Generator) -> tuple[np.ndarray, None]:
        words = items_of(text, whole_words=True)
        order = generator.permutation(len(words))
        return words.places(order[first_that_fit(words.lengths[order], self.wanted(text))]), None

    def expected_noise(self, text: Passage) -> float | None:
        """As in the base class, where that number is met for certain: by enough words of one token."""
        wanted, lengths = self.wanted(text), items_of(text, whole_words=True).lengths
        return float(wanted) if np.count_nonzero(lengths == 1) >= wanted or wanted == lengths.sum() else None


def first_that_fit(lengths: np.ndarray, budget: int) -> np.ndarray:
    """Go through `lengths` and take each that fits into what is left of the budget; the shortest if none fits."""
    rest = (lengths <= budget).nonzero()[0]
    if not len(rest):
        return lengths.argsort(kind="stable")[:1]
    taken = []
    while len(rest):
        total = lengths[rest].cumsum()
        num_taken = total.searchsorted(budget, side="right")
        taken.append(rest[:num_taken])
        budget -= total[num_taken - 1]
        rest = rest[num_taken:]
        rest = rest[lengths[rest] <= budget]
    return np.concatenate(taken)
