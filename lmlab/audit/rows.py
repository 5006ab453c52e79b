"""A batch read back into sequences: what the model sees of each, and what it is asked."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lmlab.batch import Batch


@dataclass(frozen=True)
class Row:
    """One sequence of a batch, without its padding.

    Attributes:
        inputs: (S,) tokens that are seen; of a decoder the part that is seen whole, or all where there is none.
        asked: (U,) tokens asked for, in their order.
        places: (U,) where in `inputs` an encoder is asked; None for other layouts.
        label: the answer about the sequence as a whole, or None.
        num_slots: columns that the row takes in the batch, padding included.
        num_used: those of them that are not padding.
        length: tokens of the longest sequence that the model reads or writes.
    """

    inputs: np.ndarray
    asked: np.ndarray
    places: np.ndarray | None
    label: int | None
    num_slots: int
    num_used: int
    length: int


def rows(batch: Batch, layout: str) -> list[Row]:
    """The sequences of a batch that `lmlab.text.features` has laid out for a model of this layout."""
    return READERS[layout](batch)


def _encoder_rows(batch: Batch) -> list[Row]:
    ids = batch.inputs["input_ids"].numpy()
    nothing = [np.empty(0, np.int64)] * len(ids)
    asked, places = _asked(batch, ids.shape) if "labels" in batch.targets else (nothing, nothing)
    answers = batch.targets.get("sentence_labels")
    labels = [None] * len(ids) if answers is None else answers.tolist()
    found = zip(ids, asked, places, labels, _lengths(batch, ids.shape), strict=True)
    return [Row(each[:n], asked, places, label, len(each), n, n) for each, asked, places, label, n in found]


def _decoder_rows(batch: Batch) -> list[Row]:
    ids = batch.inputs["input_ids"].numpy()
    asked, places = _asked(batch, ids.shape)
    lengths = [int(each[-1]) + 1 if len(each) else 0 for each in places]  # the last token is always asked for
    prefixes = batch.inputs["prefix_mask"].sum(1).tolist() if "prefix_mask" in batch.inputs else lengths
    found = zip(ids, asked, prefixes, lengths, strict=True)
    return [Row(each[:prefix], asked, None, None, len(each), n, n) for each, asked, prefix, n in found]


def _encoder_decoder_rows(batch: Batch) -> list[Row]:
    ids, written = batch.inputs["input_ids"].numpy(), batch.inputs["decoder_input_ids"]
    asked, _ = _asked(batch, tuple(written.shape))
    num_slots = ids.shape[1] + written.shape[1]
    found = zip(ids, asked, _lengths(batch, ids.shape), strict=True)
    return [Row(each[:n], asked, None, None, num_slots, n + len(asked), max(n, len(asked))) for each, asked, n in found]


READERS = {"encoder": _encoder_rows, "decoder": _decoder_rows, "encoder-decoder": _encoder_decoder_rows}


def _asked(batch: Batch, shape: tuple[int, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tokens asked for in each row, and the columns at which."""
    labels, positions = batch.targets["labels"].numpy(), batch.inputs.get("positions")
    flat = np.arange(len(labels)) if positions is None else positions[: len(labels)].numpy()
    borders = np.searchsorted(flat, np.arange(1, shape[0]) * shape[1])
    return np.split(labels, borders), np.split(flat % shape[1], borders)


def _lengths(batch: Batch, shape: tuple[int, int]) -> list[int]:
    mask: Tensor | None = batch.inputs.get("attention_mask")
    return [shape[1]] * shape[0] if mask is None else mask.sum(1).tolist()
