"""BART's token deletion (Lewis et al. 2019, arXiv:1910.13461, section 2.2)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.corruptions.drop import without
from lmlab.text.passage import Passage


class Deletion(Corruption):
    """Remove single tokens at random: the model must find out where something is missing.

    Of N ordinary tokens max(1, round(N * rate)) are removed, all equally likely; one stays at least.

    Args:
        rate: share of the tokens that are removed.
    """

    keeps_length = False

    def __init__(self, rate: float = 0.15):
        if not 0 < rate <= 1:
            raise ValueError(f"rate={rate} must lie in (0, 1]")
        self.rate = rate

    def fixed_counts(self, num_tokens: int) -> tuple[int, None]:
        return min(max(1, round(num_tokens * self.rate)), max(num_tokens - 1, 0)), None

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        places = text.ordinary.nonzero()[0]
        noise = np.zeros(len(text), dtype=bool)
        num_noise, _ = self.fixed_counts(len(places))
        noise[generator.permutation(places)[:num_noise]] = True
        return without(text, noise)

    def expected_noise(self, text: Passage) -> float:
        return float(self.fixed_counts(np.count_nonzero(text.ordinary))[0])
