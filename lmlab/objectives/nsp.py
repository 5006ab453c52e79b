"""Next-sentence prediction (Devlin et al. 2018, arXiv:1810.04805)."""

from typing import Literal

import numpy as np

from lmlab.objectives.pair import PairObjective
from lmlab.text.passage import Pair


class Nsp(PairObjective):
    """Ask whether segment B follows segment A or comes from another document.

    Args:
        cls_id, sep_id: of the tokenizer.
        positive: what label 1 means: "random" as in google-research/bert and transformers (0 = IsNext,
            1 = NotNext), or "next".
    """

    unit = "sentence_pair"
    terms = ("nsp",)

    def __init__(self, cls_id: int, sep_id: int, positive: Literal["random", "next"] = "random"):
        super().__init__(cls_id, sep_id)
        if positive not in ("random", "next"):
            raise ValueError(f"positive={positive!r} must be random or next")
        self.positive = positive

    def pose(self, pair: Pair, generator: np.random.Generator) -> tuple[Pair, bool]:
        return pair, pair.is_random == (self.positive == "random")
