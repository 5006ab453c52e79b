"""No corruption: the model sees what was written."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.text.passage import Passage


class NoCorruption(Corruption):
    """Leave every token as it is."""

    hides = False

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        return Corrupted(text.tokens, np.zeros(len(text), dtype=bool))

    def expected_noise(self, text: Passage) -> float:
        return 0.0
