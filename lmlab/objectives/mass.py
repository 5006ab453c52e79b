"""MASS: a masked fragment from the text around it (Song et al. 2019, arXiv:1905.02450)."""

import numpy as np

from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import Example
from lmlab.objectives.text_pairs import TextPairObjective
from lmlab.text.passage import Passage


class Mass(TextPairObjective):
    """Show the text with a fragment masked token by token; ask for the fragment alone.

    inputs = text of the same length, the noise masked; targets = the noise. Each target is predicted from the inputs
    and from the targets before it, so that the decoder cannot lean on the words outside the fragment. The inputs say
    how long the fragment is, so there are neither sentinels nor an end token. Positions of the targets count from the
    start of the fragment (in the paper: from the start of the text).

    Args:
        corruption: hides the fragment.
    """

    corruption_needs = ("hides", "keeps_length", "selects")
    name = "mass"

    def __init__(self, corruption: Corruption):
        self.corruption = corruption

    def sizes(self, num_tokens: int) -> tuple[int, int]:
        return num_tokens, num_tokens

    def example(self, unit: Passage, generator: np.random.Generator) -> Example:
        text = unit.text_alone()
        corrupted = self.corruption(text, generator)
        return {"inputs": corrupted.tokens, "targets": text.tokens[corrupted.noise]}
