"""Lays neutral examples out for an architecture: one converter a layout.

A converter turns examples (see `lmlab.objectives.base.Example`) into one padded `Batch`. Padding goes to the right, and
an attention mask is given only where there is padding to hide.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lmlab.batch import IGNORE, Batch


class EncoderConverter:
    """Aligned examples: the encoder reads `inputs`, and `labels` says where it is asked.

    Args:
        pad_id: fills short rows.
        pools: the objective also wants the hidden state of every first token.
        start_id: of the model's decoder, which an encoder does not have.
    """

    def __init__(self, pad_id: int, pools: bool = False, start_id: int | None = None):
        self.pad_id, self.pools = pad_id, pools

    def __call__(self, examples: Sequence[dict[str, np.ndarray]]) -> Batch:
        tokens = [example["inputs"] for example in examples]
        inputs, targets = padded_inputs(tokens, self.pad_id), {}
        width = inputs["input_ids"].shape[1]
        if "segment_ids" in examples[0]:
            inputs["segment_ids"] = padded([example["segment_ids"] for example in examples], 0)
        positions = []
        if "labels" in examples[0]:
            labels = padded([example["labels"] for example in examples], IGNORE).view(-1)
            positions.append((labels != IGNORE).nonzero().squeeze(1))
            targets["labels"] = labels[positions[0]]
        if self.pools:
            positions.append(torch.arange(len(examples)) * width)
            targets["sentence_labels"] = torch.tensor([int(example["sentence_label"]) for example in examples])
        inputs["positions"] = torch.cat(positions)
        return Batch(inputs, targets, {}, sum(map(len, tokens)))


class DecoderConverter:
    """Pairs as one sequence, inputs then targets; each target is predicted from all tokens before it.

    The inputs, where there are any, see each other in both directions (a prefix LM: Raffel et al. 2019, section 3.2).
    """

    def __init__(self, pad_id: int, pools: bool = False, start_id: int | None = None):
        self.pad_id = pad_id

    def __call__(self, examples: Sequence[dict[str, np.ndarray]]) -> Batch:
        prefixes = np.array([len(example["inputs"]) for example in examples])
        sequences = [np.concatenate([example["inputs"], example["targets"]]) for example in examples]
        inputs = {"input_ids": padded([sequence[:-1] for sequence in sequences], self.pad_id)}
        labels = padded([sequence[1:] for sequence in sequences], IGNORE)
        if prefixes.any():
            place = torch.arange(labels.shape[1])[None]
            prefix = torch.from_numpy(prefixes)[:, None]
            inputs["prefix_mask"] = place < prefix
            labels.masked_fill_(place < prefix - 1, IGNORE)
        labels = labels.view(-1)
        asked = labels != IGNORE
        if not asked.all():
            inputs["positions"] = asked.nonzero().squeeze(1)
            labels = labels[asked]
        return Batch(inputs, {"labels": labels}, {}, sum(map(len, sequences)) - len(sequences))


class EncoderDecoderConverter:
    """Pairs: the encoder reads the inputs; the decoder, begun by `start_id` or the padding, predicts the targets."""

    def __init__(self, pad_id: int, pools: bool = False, start_id: int | None = None):
        self.pad_id, self.start_id = pad_id, pad_id if start_id is None else start_id

    def __call__(self, examples: Sequence[dict[str, np.ndarray]]) -> Batch:
        sources = [example["inputs"] for example in examples]
        targets = [example["targets"] for example in examples]
        inputs = padded_inputs(sources, self.pad_id)
        inputs["decoder_input_ids"] = padded([np.append(self.start_id, target[:-1]) for target in targets], self.pad_id)
        labels = padded(targets, IGNORE).view(-1)
        asked = labels != IGNORE
        if not asked.all():
            inputs["positions"] = asked.nonzero().squeeze(1)
            labels = labels[asked]
        return Batch(inputs, {"labels": labels}, {}, sum(map(len, sources)) + sum(map(len, targets)))


CONVERTERS = {
    "encoder": EncoderConverter,
    "decoder": DecoderConverter,
    "encoder-decoder": EncoderDecoderConverter,
}


def padded(rows: Sequence[np.ndarray], fill: int) -> Tensor:
    """Stack rows of numbers into (B, longest), short ones filled on the right."""
    width = max(map(len, rows))
    if all(len(row) == width for row in rows):
        return torch.from_numpy(np.stack(rows).astype(np.int64, copy=False))
    array = np.full((len(rows), width), fill, dtype=np.int64)
    for target, row in zip(array, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(array)


def padded_inputs(rows: Sequence[np.ndarray], pad_id: int) -> dict[str, Tensor]:
    """`input_ids` (B, T), and `attention_mask` (B, T) if some row is shorter than others."""
    inputs = {"input_ids": padded(rows, pad_id)}
    lengths = torch.tensor([len(row) for row in rows])
    width = inputs["input_ids"].shape[1]
    if (lengths < width).any():
        inputs["attention_mask"] = torch.arange(width)[None] < lengths[:, None]
    return inputs
