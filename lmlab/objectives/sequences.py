"""A unit of text with its special tokens, as BERT-like encoders read it."""

from typing import NamedTuple

import numpy as np

from lmlab.text.passage import Pair, Passage, join


class Sequence(NamedTuple):
    """The whole text, and the segment of each token (T,), or None where there is only one."""

    text: Passage
    segment_ids: np.ndarray | None


class Wrapper:
    """Puts [CLS] ... [SEP] around a block and [CLS] a [SEP] b [SEP] around a pair.

    Args:
        cls_id, sep_id: the tokens that open a sequence and close a segment.
    """

    def __init__(self, cls_id: int, sep_id: int):
        if None in (cls_id, sep_id):
            raise ValueError("this objective needs a tokenizer with [CLS] and [SEP] (or <s> and </s>)")
        self.cls_id, self.sep_id = cls_id, sep_id

    def __call__(self, unit: Passage | Pair) -> Sequence:
        """Wrap a block or a pair."""
        if isinstance(unit, Passage):
            return Sequence(join(self.cls_id, unit, self.sep_id), None)
        a, b = unit.a, unit.b
        segment_ids = np.repeat([0, 1], [len(a) + 2, len(b) + 1])
        return Sequence(join(self.cls_id, a, self.sep_id, b, self.sep_id), segment_ids)


NUM_BLOCK_SPECIALS = 2  # [CLS] and the closing [SEP]
