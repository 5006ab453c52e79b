"""Denoising: the whole original from a corrupted text."""

import numpy as np

from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import Example
from lmlab.objectives.text_pairs import TextPairObjective, require_end
from lmlab.text.passage import Passage


class Denoising(TextPairObjective):
    """Show the corrupted text; ask for all of the original, the tokens that were left as they are included.

    inputs = corrupted text, then the end token; targets = original text, then the end token. The corruption makes it
    the objective of BART (Lewis et al. 2019, arXiv:1910.13461: infilling of shuffled sentences), or one of T5 (Raffel
    et al. 2019, arXiv:1910.10683, table 3): BERT-style (`token_mask` with mask_share 0.9 and random_share 0.1),
    MASS-style (`mask_only`) or deshuffling (`shuffle`). The ends of documents stay in their places.

    Args:
        corruption: what the model sees.
        eos_id: the end token.
    """

    corruption_needs = ("hides",)
    name = "denoising"

    def __init__(self, corruption: Corruption, eos_id: int):
        self.corruption, self.eos_id = corruption, require_end(eos_id)

    def sizes(self, num_tokens: int) -> tuple[int, int]:
        return num_tokens + 1, num_tokens + 1

    def example(self, unit: Passage, generator: np.random.Generator) -> Example:
        corrupted = self.corruption(unit, generator)
        return {"inputs": np.append(corrupted.tokens, self.eos_id), "targets": np.append(unit.tokens, self.eos_id)}
