"""BART's document rotation (Lewis et al. 2019, arXiv:1910.13461, section 2.2)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption, reordered
from lmlab.text.passage import Passage


class Rotation(Corruption):
    """Make a random token the first one; what stood before it follows at the end.

    All tokens are equally likely to be chosen, the first one, with which nothing moves, included. Special tokens keep
    their place; text flows over the border of two documents that a block may hold (BART rotates one document).
    """

    selects = False

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        num_tokens = np.count_nonzero(text.ordinary)
        first = generator.integers(max(1, num_tokens))
        return reordered(text, np.roll(np.arange(num_tokens), -first))

    def expected_noise(self, text: Passage) -> float:
        return float(max(np.count_nonzero(text.ordinary) - 1, 0))
