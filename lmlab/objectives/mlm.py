"""Masked language modelling (Devlin et al. 2018, arXiv:1810.04805)."""

import numpy as np

from lmlab.batch import IGNORE
from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import Example, VocabularyObjective
from lmlab.objectives.sequences import NUM_BLOCK_SPECIALS, Wrapper


class Mlm(VocabularyObjective):
    """Show the model a corrupted sequence of the same length; ask for the original at the noise, nowhere else.

    Masks are dynamic: drawn anew in every epoch (Liu et al. 2019, arXiv:1907.11692). The loss is the mean over the
    asked positions of the whole step.
    """

    layouts = ("encoder",)
    corruption_needs = ("keeps_length", "hides")
    answers = (("encoder", "fill"),)
    name = "mlm"

    def __init__(
        self, corruption: Corruption, cls_id: int, sep_id: int, mask_id: int, special_ids: frozenset[int] = frozenset()
    ):
        if None in (cls_id, sep_id, mask_id):
            raise ValueError("mlm needs a tokenizer with [CLS], [SEP] and [MASK] (or <s>, </s> and <mask>)")
        self.corruption = corruption
        self.wrap = Wrapper(cls_id, sep_id, special_ids)

    def block_length(self, seq_len: int) -> int:
        return seq_len - NUM_BLOCK_SPECIALS

    def example(self, unit: np.ndarray | dict, generator: np.random.Generator) -> Example:
        tokens, segment_ids, ordinary = self.wrap(unit)
        corrupted = self.corruption(tokens, ordinary, generator)
        example = {"inputs": corrupted.tokens, "labels": np.where(corrupted.noise, tokens, IGNORE)}
        return example if segment_ids is None else example | {"segment_ids": segment_ids}
