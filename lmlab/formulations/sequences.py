"""How one text or several become the token sequence of a layout, and sequences a batch.

    encoder           [CLS] a [SEP] b [SEP]      segments 0 0 0 1 1; RoBERTa's tokenizer: <s> a </s></s> b </s>
    decoder           <eos> a <eos> b <eos>      <eos> begins a text, as it does between documents in
                                                 pre-training; a tokenizer's own start token goes before it
    encoder-decoder   encoder: as above          decoder: its start token and the same text again up to its last
                                                 token, so that the state at a token's place is the one that predicts
                                                 it (as BART's code); the start token alone; or nothing: the encoder
                                                 is read

A tokenizer without [CLS] and [SEP] uses its start and end of text, and one that lacks those too leaves them
out.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmlab.text.features import padded, padded_inputs


@dataclass
class Example:
    """One sequence, and what is asked about it.

    Attributes:
        ids: token ids.
        segments: false at the tokens of the first text and true at those after it, or None for a single text.
        row: index of the row that it comes from.
        asked: positions whose hidden states are read; None reads all.
        labels: what is wanted there.
        begins: where each text begins in `ids`.
        window: for a span task, the part of the context that it shows; for tagging, the words that are asked.
    """

    ids: np.ndarray
    segments: np.ndarray | None
    begins: list[int]
    row: int = -1
    asked: np.ndarray | None = None
    labels: Any = None
    window: Any = field(default=None, repr=False)


class Examples(Sequence[Example]):
    """Examples in a few flat arrays: an object for each would take several times the memory of its tokens."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self.rows, self._ids, self._begins, self._asked = array("i"), Ragged(), Ragged(), Ragged()
        self._labels, self._windows = [], []
        for example in examples:
            self.rows.append(example.row)
            self._ids.append(example.ids)
            self._begins.append(example.begins)
            self._asked.append([] if example.asked is None else example.asked)  # all are read where none is asked
            self._labels.append(example.labels)
            self._windows.append(example.window)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        ids, begins, asked = self._ids[index], self._begins[index].tolist(), self._asked[index]
        asked = asked if len(asked) else None
        return Example(
            ids, segments(ids, begins), begins, self.rows[index], asked, self._labels[index], self._windows[index]
        )


class Ragged:
    """Lists of whole numbers, of different lengths, in one array."""

    def __init__(self) -> None:
        self._values, self._ends = array("i"), array("q", [0])

    def append(self, numbers: Sequence[int] | np.ndarray) -> None:
        """Add a list."""
        self._values.frombytes(np.asarray(numbers, dtype=np.int32).tobytes())
        self._ends.append(len(self._values))

    def __getitem__(self, index: int) -> np.ndarray:
        return np.frombuffer(self._values, dtype=np.int32)[self._ends[index] : self._ends[index + 1]]


class Frame:
    """The special tokens around texts, for one model and tokenizer.

    Args:
        layout: of the model.
        tokenizer: gives the special ids.
        max_length: tokens of a sequence, special ones included.
        decoder_input: what the decoder of an encoder-decoder reads: "text" (the same again, one place later), "start"
            (its start token alone) or "none" (there is no decoder, the encoder's states are read).
        decoder_start_id: first token of the decoder of an encoder-decoder.
        sees_text_whole: a decoder reads the text in both directions, as a prefix LM reads its inputs.

    Attributes:
        token: "first" or "last": whose state stands for the whole sequence.
    """

    def __init__(
        self,
        layout: str,
        tokenizer: Any,
        max_length: int,
        decoder_input: str = "text",
        decoder_start_id: int = 0,
        sees_text_whole: bool = False,
    ) -> None:
        self.layout, self.max_length = layout, max_length
        self.pad_id = tokenizer.pad_id if tokenizer.pad_id is not None else 0
        self.decoder_start_id, self.sees_text_whole = decoder_start_id, sees_text_whole
        self.decoder_input = decoder_input if layout == "encoder-decoder" else None
        self.token = "first" if layout == "encoder" or self.decoder_input in ("start", "none") else "last"
        if layout == "decoder":
            has_own_start = tokenizer.bos_id is not None and tokenizer.bos_id != tokenizer.cls_id
            self.separator, self.between = _first(tokenizer.eos_id, tokenizer.sep_id), 1
            self.start = tokenizer.bos_id if has_own_start else self.separator
        else:
            self.separator, self.between = _first(tokenizer.sep_id, tokenizer.eos_id), tokenizer.separators_between
            self.start = _first(tokenizer.cls_id, tokenizer.bos_id)

    def room(self, num_texts: int) -> int:
        """Tokens left for the texts themselves."""
        num_separators = num_texts + (num_texts - 1) * (self.between - 1)
        return self.max_length - (self.start is not None) - num_separators * (self.separator is not None)

    def join(self, texts: Sequence[np.ndarray]) -> Example:
        """Texts, cut longest first to what fits, in one sequence."""
        texts = truncate(texts, self.room(len(texts)))
        separator = [] if self.separator is None else [self.separator]
        pieces, begins = [[] if self.start is None else [self.start]], []
        for number, text in enumerate(texts, start=1):
            begins.append(sum(map(len, pieces)))
            pieces += [text, separator * (self.between if number < len(texts) else 1)]
        ids = np.concatenate(pieces, dtype=np.int32, casting="unsafe")
        return Example(ids, segments(ids, begins), begins)

    def pooled_position(self, example: Example) -> int:
        """Where the state of the whole sequence stands: first token of an encoder, last of a decoder."""
        return 0 if self.token == "first" else len(example.ids) - 1

    def length(self, example: Example) -> int:
        """Tokens that the model reads, of encoder and decoder."""
        length = len(example.ids)
        return length + {"text": length, "start": 1}.get(self.decoder_input, 0)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Keyword arguments of the model: (B, T), T the longest example; `positions` (N,) are read."""
        inputs = padded_inputs([example.ids for example in examples], self.pad_id)
        if self.layout == "decoder":
            real = inputs.pop("attention_mask", None)  # nothing before it sees the padding on the right
            if self.sees_text_whole:
                inputs["prefix_mask"] = torch.ones_like(inputs["input_ids"], dtype=torch.bool) if real is None else real
        if self.layout == "encoder" and examples[0].segments is not None:
            inputs["segment_ids"] = padded([example.segments for example in examples], 0)
        if self.decoder_input in ("text", "start"):
            start = torch.full((len(examples), 1), self.decoder_start_id)
            text = [inputs["input_ids"][:, :-1]] if self.decoder_input == "text" else []
            inputs["decoder_input_ids"] = torch.cat([start, *text], dim=1)
        if examples[0].asked is not None:
            width = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
            flat = [i * width + example.asked for i, example in enumerate(examples)]
            inputs["positions"] = torch.from_numpy(np.concatenate(flat))
        return inputs


def segments(ids: np.ndarray, begins: Sequence[int]) -> np.ndarray | None:
    """See `Example`."""
    return np.arange(len(ids)) >= begins[1] if len(begins) > 1 else None


def truncate(texts: Sequence[np.ndarray], room: int) -> list[np.ndarray]:
    """Take tokens off the end of the longest text (of equals, the last) until all fit into `room`."""
    lengths = [len(text) for text in texts]
    while sum(lengths) > max(0, room):
        longest = max(range(len(lengths)), key=lambda i: (lengths[i], i))
        others = max((length for i, length in enumerate(lengths) if i != longest), default=0)
        # Down to the next longest at once; then one by one, in turns.
        lengths[longest] = max(min(lengths[longest] - 1, others), lengths[longest] - (sum(lengths) - max(0, room)))
    return [text[:length] for text, length in zip(texts, lengths, strict=True)]


def decoder_start(model: nn.Module, tokenizer: Any) -> int:
    """The first token of an encoder-decoder's decoder: the model's own, else the padding token (T5)."""
    return next((i for i in (getattr(model, "start_id", None), tokenizer.pad_id) if i is not None), 0)


def _first(*ids: int | None) -> int | None:
    return next((each for each in ids if each is not None), None)
