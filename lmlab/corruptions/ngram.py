"""ALBERT's n-gram masking (Lan et al. 2019, arXiv:1909.11942, section 4.1)."""

import numpy as np

from lmlab.corruptions.draws import LengthDistribution
from lmlab.corruptions.masking import WordSpanMasking


class NGram(WordSpanMasking):
    """Choose n-grams of whole words, an n-gram of n words with a probability in proportion to 1 / n.

    Args:
        facts: mask_id, vocab_size, special_ids; see `Masking`.
        max_n: words of the longest n-gram; n is 1, 2 or 3 with probabilities 6/11, 3/11 and 2/11 for 3.
        others: see `Masking`.
    """

    def __init__(self, *facts, max_n: int = 3, **others):
        super().__init__(*facts, **others)
        if max_n < 1:
            raise ValueError(f"max_n={max_n} must be at least 1 word")
        self.span_lengths = LengthDistribution(1 / np.arange(1, max_n + 1))
