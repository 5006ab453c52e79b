"""No corruption: the model sees what was written."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption


class NoCorruption(Corruption):
    """Leave every token as it is."""

    hides = False

    def __call__(self, tokens: np.ndarray, candidates: np.ndarray, generator: np.random.Generator) -> Corrupted:
        return Corrupted(tokens, np.zeros(len(tokens), dtype=bool))
