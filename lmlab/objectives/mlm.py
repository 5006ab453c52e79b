"""Masked language modelling (Devlin et al. 2018, arXiv:1810.04805)."""

import numpy as np

from lmlab.batch import IGNORE
from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import Example, VocabularyObjective
from lmlab.objectives.sequences import NUM_BLOCK_SPECIALS, Wrapper
from lmlab.text.passage import Pair, Passage


class Mlm(VocabularyObjective):
    """Show the model a corrupted sequence of the same length; ask for the original at the noise, nowhere else.

    Masks are dynamic: drawn anew in every epoch (Liu et al. 2019, arXiv:1907.11692). The loss is the mean over the
    asked positions of the whole step.
    """

    layouts = ("encoder",)
    corruption_needs = ("keeps_length", "hides")
    answers = (("encoder", "fill"),)
    name = "mlm"

    def __init__(self, corruption: Corruption, cls_id: int, sep_id: int):
        self.corruption = corruption
        self.wrap = Wrapper(cls_id, sep_id)

    def block_length(self, seq_len: int) -> int:
        return seq_len - NUM_BLOCK_SPECIALS

    def example(self, unit: Passage | Pair, generator: np.random.Generator) -> Example:
        text, segment_ids = self.wrap(unit)
        corrupted = self.corruption(text, generator)
        example = {"inputs": corrupted.tokens, "labels": np.where(corrupted.noise, text.tokens, IGNORE)}
        return example if segment_ids is None else example | {"segment_ids": segment_ids}
