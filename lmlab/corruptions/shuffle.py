"""Tokens in random order: T5's deshuffling (Raffel et al. 2019, arXiv:1910.10683, section 3.3.1)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption, reordered
from lmlab.text.passage import Passage


class Shuffle(Corruption):
    """Put the tokens in random order, all of them or each within a window. Special tokens keep their place,
    and text flows over the border of two documents that a block may hold.

    Within a window, each token is sorted by its place plus a random number below `window` + 1, so that none moves
    further than the window (Lample et al. 2018, arXiv:1711.00043, section 2.3).

    Args:
        window: how many places a token moves at most; None: any number, and every order is equally likely.
    """

    selects = False

    def __init__(self, window: int | None = None):
        if window is not None and window < 1:
            raise ValueError(f"window={window} must be at least 1 place, or null for the whole text")
        self.window = window

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        num_tokens = np.count_nonzero(text.ordinary)
        if self.window is None:
            return reordered(text, generator.permutation(num_tokens))
        keys = np.arange(num_tokens) + generator.random(num_tokens) * (self.window + 1)
        return reordered(text, keys.argsort(kind="stable"))

    def expected_noise(self, text: Passage) -> float | None:
        """As in the base class: of all orders, one token on average stays where it is; None within a window."""
        return float(max(np.count_nonzero(text.ordinary) - 1, 0)) if self.window is None else None
