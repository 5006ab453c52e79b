"""SpanBERT's masking of spans (Joshi et al. 2019, arXiv:1907.10529, section 3.1)."""

import numpy as np

from lmlab.corruptions.draws import LengthDistribution
from lmlab.corruptions.masking import WordSpanMasking


class GeometricSpans(WordSpanMasking):
    """Choose spans of whole words, of geometric lengths up to a longest one.

    Args:
        facts: mask_id, vocab_size, special_ids; see `Masking`.
        p: after each word the span ends with this probability. A length has the probability of a geometric
            distribution that is cut at `max_length` and scaled to one; its mean is 3.80 words for 0.2 and 10.
        max_length: words of the longest span.
        others: see `Masking`.
    """

    def __init__(self, *facts, p: float = 0.2, max_length: int = 10, **others):
        super().__init__(*facts, **others)
        if not 0 < p <= 1:
            raise ValueError(f"p={p} must lie in (0, 1]")
        if max_length < 1:
            raise ValueError(f"max_length={max_length} must be at least 1 word")
        self.span_lengths = LengthDistribution((1 - p) ** np.arange(max_length))
