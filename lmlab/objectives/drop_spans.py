"""Dropped tokens from the text around them (Raffel et al. 2019, arXiv:1910.10683, section 3.3.2)."""

import numpy as np

from lmlab.objectives.base import Example
from lmlab.objectives.text_pairs import NoiseObjective
from lmlab.text.passage import Passage


class DropSpans(NoiseObjective):
    """Leave out the noise; ask for it, in order. Nothing says where it was: T5's "drop corrupted tokens".

    inputs = text without the noise, then the end token; targets = the noise, then the end token.
    """

    name = "drop_spans"

    def sizes(self, num_tokens: int) -> tuple[int, int]:
        if (fixed := self.corruption.fixed_counts(num_tokens)) is None:
            return num_tokens + 1, num_tokens + 1
        num_noise, _ = fixed
        return num_tokens - num_noise + 1, num_noise + 1

    def joint_length(self, num_tokens: int) -> int:
        return num_tokens + 2

    def example(self, unit: Passage, generator: np.random.Generator) -> Example:
        text = unit.text_alone()
        noise = self.corruption(text, generator).noise
        parts = {"inputs": text.tokens[~noise], "targets": text.tokens[noise]}
        return {name: np.append(tokens, self.eos_id) for name, tokens in parts.items()}
