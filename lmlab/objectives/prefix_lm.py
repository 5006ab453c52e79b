"""Prefix language modelling (Raffel et al. 2019, arXiv:1910.10683, sections 3.2 and 3.3.1)."""

import numpy as np

from lmlab.objectives.base import Example
from lmlab.objectives.text_pairs import TextPairObjective
from lmlab.text.passage import Passage


class PrefixLm(TextPairObjective):
    """Cut a block of T tokens at a random place, every one from 1 to T - 1 being equally likely; ask for what follows.

    inputs = the first part; targets = the rest. Unlike in the T5 code, no end token closes the two: documents end
    inside the text, so that a model which goes on from a prompt learns where to stop.
    """

    answers = (("encoder-decoder", "generate"), ("decoder", "generate"))
    name = "prefix_lm"

    def sizes(self, num_tokens: int) -> tuple[int, int]:
        return num_tokens - 1, num_tokens - 1

    def joint_length(self, num_tokens: int) -> int:
        return num_tokens

    def example(self, unit: Passage, generator: np.random.Generator) -> Example:
        cut = generator.integers(1, max(2, len(unit)))
        return {"inputs": unit.tokens[:cut], "targets": unit.tokens[cut:]}
