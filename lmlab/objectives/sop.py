"""Sentence-order prediction (Lan et al. 2019, arXiv:1909.11942, section 3.1)."""

from dataclasses import replace
from typing import Literal

import numpy as np

from lmlab.objectives.pair import PairObjective
from lmlab.text.passage import Pair


class Sop(PairObjective):
    """Ask whether two consecutive segments stand in their order; half of the time they are swapped.

    Args:
        cls_id, sep_id: of the tokenizer.
        positive: what label 1 means: "swapped" as in google-research/albert and transformers, or "in_order".
    """

    unit = "consecutive_pair"
    terms = ("sop",)

    def __init__(self, cls_id: int, sep_id: int, positive: Literal["swapped", "in_order"] = "swapped"):
        super().__init__(cls_id, sep_id)
        if positive not in ("swapped", "in_order"):
            raise ValueError(f"positive={positive!r} must be swapped or in_order")
        self.positive = positive

    def pose(self, pair: Pair, generator: np.random.Generator) -> tuple[Pair, bool]:
        swapped = bool(generator.integers(2))
        if swapped:
            pair = replace(pair, a=pair.b, b=pair.a, documents=pair.documents[::-1])
        return pair, swapped == (self.positive == "swapped")
