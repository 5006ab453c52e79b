"""Causal language modelling: every token from those before it (Radford et al. 2018)."""

import numpy as np

from lmlab.objectives.base import Example, VocabularyObjective
from lmlab.text.passage import Passage


class CausalLm(VocabularyObjective):
    """Ask for each token of a block given its past.

    A block holds one token more than the sequence and shares it with the next block, so that every token of the text
    but the very first is predicted exactly once an epoch.
    """

    layouts = ("decoder",)
    answers = (("decoder", "generate"),)
    name = "causal_lm"

    def block_length(self, seq_len: int) -> int:
        return seq_len + 1

    def block_overlap(self) -> int:
        return 1

    def example(self, unit: Passage, generator: np.random.Generator) -> Example:
        return {"inputs": unit.tokens[:0], "targets": unit.tokens}
