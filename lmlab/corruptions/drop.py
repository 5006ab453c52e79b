"""Spans that are left out (Raffel et al. 2019, arXiv:1910.10683, section 3.3.2: "drop corrupted tokens")."""

import numpy as np

from lmlab.corruptions.base import Corrupted
from lmlab.corruptions.spans import Spans
from lmlab.text.passage import Passage


class Drop(Spans):
    """Remove T5's spans of noise without a trace: the model is not told where something is missing.

    Args:
        rate: share of the tokens that are removed.
        mean_length: mean length of a span in tokens.
    """

    keeps_length = False

    def __init__(self, rate: float = 0.15, mean_length: float = 3.0):
        super().__init__(rate=rate, mean_length=mean_length)

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        return without(text, self.noise(text, generator))


def without(text: Passage, noise: np.ndarray) -> Corrupted:
    """A passage that has lost its noise."""
    origin = np.flatnonzero(~noise)
    return Corrupted(text.tokens[origin], noise, origin)
