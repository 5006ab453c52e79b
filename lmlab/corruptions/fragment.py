"""MASS's masking of one fragment (Song et al. 2019, arXiv:1905.02450, section 3.2)."""

import numpy as np

from lmlab.corruptions.draws import items_of
from lmlab.corruptions.masking import Masking
from lmlab.text.passage import Passage


class Fragment(Masking):
    """Choose consecutive tokens at a random place, all places being equally likely; a special token is jumped over.

    Args:
        facts: mask_id, vocab_size, special_ids; see `Masking`.
        rate: length of the fragment as a share of the text.
        others: see `Masking`.
    """

    def __init__(self, *facts, rate: float = 0.5, **others):
        super().__init__(*facts, rate=rate, **others)

    def choose(self, text: Passage, generator: np.random.Generator) -> tuple[np.ndarray, None]:
        places, wanted = text.ordinary.nonzero()[0], self.wanted(text)
        first = generator.integers(len(places) - wanted + 1)
        return places[first : first + wanted], None

    def expected_spans(self, text: Passage) -> np.ndarray:
        segments, wanted = items_of(text, whole_words=False).segments, self.wanted(text)
        ends = segments.cumsum()
        first = np.arange(segments.sum() - wanted + 1)
        inside = np.minimum.outer(first + wanted, ends) - np.maximum.outer(first, ends - segments)
        return np.bincount(inside[inside > 0], minlength=wanted + 1) / len(first)
