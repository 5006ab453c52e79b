"""A unit of text with its special tokens, as BERT-like encoders read it."""

from typing import NamedTuple

import numpy as np


class Sequence(NamedTuple):
    """Token ids (T,), their segments (T,) or None, and which of them (bool, (T,)) are ordinary text."""

    tokens: np.ndarray
    segment_ids: np.ndarray | None
    ordinary: np.ndarray


class Wrapper:
    """Puts [CLS] ... [SEP] around a block and [CLS] a [SEP] b [SEP] around a sentence pair.

    Args:
        cls_id, sep_id: the tokens that open a sequence and close a segment.
        special_ids: ids that are never ordinary text, such as a [SEP] between two documents of a block.
    """

    def __init__(self, cls_id: int, sep_id: int, special_ids: frozenset[int]):
        self.cls_id, self.sep_id = cls_id, sep_id
        self.special_ids = np.array(sorted(special_ids))

    def __call__(self, unit: np.ndarray | dict) -> Sequence:
        """Wrap a block (array of ids) or a pair (`a`, `b`)."""
        if not isinstance(unit, dict):
            tokens = np.concatenate([[self.cls_id], unit, [self.sep_id]])
            return Sequence(tokens, None, ~np.isin(tokens, self.special_ids))
        a, b = unit["a"], unit["b"]
        tokens = np.concatenate([[self.cls_id], a, [self.sep_id], b, [self.sep_id]])
        segment_ids = np.repeat([0, 1], [len(a) + 2, len(b) + 1])
        return Sequence(tokens, segment_ids, ~np.isin(tokens, self.special_ids))


NUM_BLOCK_SPECIALS = 2  # [CLS] and the closing [SEP]
