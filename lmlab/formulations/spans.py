"""Extractive question answering with windows that slide over a long context (Devlin et al. 2018).

A sequence is question + one window of the context. The start and the end of the answer are each a soft-max
over the tokens of the window and the null position, which means "not in this window". The null position is
where the state of the whole sequence stands: [CLS] for an encoder, the last token for a decoder, whose first
token has seen nothing of the text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmlab.errors import UserError
from lmlab.formulations.questions import Question
from lmlab.formulations.sequences import Example, Frame

NOT_SHOWN = -1  # label of an answer that is not in its context at all


@dataclass
class Window:
    """Which part of a context an example shows.

    Attributes:
        begin: place of the window's first token in `Example.ids`.
        offsets: (length, 2), where each of its tokens stands in the context, in characters.
        best: (length,), whether no other window shows the token with more context around it.
        context: the whole text.
    """

    begin: int
    offsets: np.ndarray
    best: np.ndarray
    context: str


class Span(Question):
    """Where does the answer begin and end?

    Args:
        task, tokenizer, frame: see `Question`.
        doc_stride: tokens from the start of one window to the start of the next (google's meaning: the step,
            not the overlap); None takes half of what a window can show.
        max_question_tokens: a longer question is cut.
        max_answer_length: tokens of the longest answer that is considered.
    """

    term = "span"

    def __init__(
        self,
        task: Any,
        tokenizer: Any,
        frame: Frame,
        doc_stride: int | None,
        max_question_tokens: int,
        max_answer_length: int,
    ) -> None:
        super().__init__(task, tokenizer, frame)
        self.doc_stride, self.max_question_tokens = doc_stride, max_question_tokens
        self.max_answer_length = max_answer_length

    def check(self) -> None:
        smallest = self.frame.room(2) - self.max_question_tokens
        if smallest < 1:
            raise UserError(
                f"formulation.max_question_tokens={self.max_question_tokens} leaves no room for the text in "
                f"sequences of {self.frame.max_length} tokens; raise seq_len or lower it"
            )
        if self.doc_stride is not None and self.doc_stride > smallest:
            raise UserError(
                f"formulation.doc_stride={self.doc_stride} is the step between windows, and one may show "
                f"as few as {smallest} tokens of the text: those between would not be read; take at most that"
            )

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        question, context = self.task.fields
        asked = self.tokenizer.encode_batch([row["inputs"][question] for row in rows])
        encoded: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # several questions share a context
        for index, row in enumerate(rows):
            text = row["inputs"][context]
            if text not in encoded:
                ids, offsets = self.tokenizer.encode_with_offsets(text)
                encoded = {text: (np.asarray(ids, np.int64), np.asarray(offsets, np.int64).reshape(-1, 2))}
            yield from self._windows(index, row, asked[index][: self.max_question_tokens], text, *encoded[text])

    def _windows(
        self, index: int, row: dict, question: np.ndarray, context: str, ids: np.ndarray, offsets: np.ndarray
    ) -> Iterator[Example]:
        room = self.frame.room(2) - len(question)
        windows = cut_windows(len(ids), room, self.doc_stride or max(1, room // 2))
        best = most_context(len(ids), windows)
        answer = self._answer_tokens(row, offsets)
        for begin, end in windows:
            example = self.frame.join([question, ids[begin:end]])
            example.row = index
            first = example.begins[1]
            example.window = Window(first, offsets[begin:end], best[begin:end] == begin, context)
            example.labels = answer
            if answer != (NOT_SHOWN, NOT_SHOWN):
                inside = answer is not None and begin <= answer[0] and answer[1] < end
                example.labels = (first + answer[0] - begin, first + answer[1] - begin) if inside else None
            yield example

    def _answer_tokens(self, row: dict, offsets: np.ndarray) -> tuple[int, int] | None:
        """First and last token of the first answer; None: no answer; NOT_SHOWN twice: not in the context."""
        if not row["target"]["text"]:
            return None
        start, text = row["target"]["answer_start"][0], row["target"]["text"][0]
        covering = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < start + len(text)))
        if start < 0 or not len(covering):
            return NOT_SHOWN, NOT_SHOWN
        return int(covering[0]), int(covering[-1])

    def null_position(self, example: Example) -> int:
        """Where "not in this window" is scored."""
        return self.frame.pooled_position(example)

    def trainable(self, examples: Sequence[Example]) -> list[Example]:
        return [example for example in examples if example.labels != (NOT_SHOWN, NOT_SHOWN)]

    def count(self, examples: Sequence[Example]) -> int:
        return len(examples)

    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """`start`, `end` (B,) and `visible` (B, T): the window and the null position."""
        width = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
        visible = torch.zeros(len(examples), width, dtype=torch.bool)
        ends = []
        for example, seen in zip(examples, visible, strict=True):
            begin, null = example.window.begin, self.null_position(example)
            seen[begin : begin + len(example.window.offsets)] = True
            seen[null] = True
            shown = example.labels is not None and example.labels[0] >= 0
            ends.append(example.labels if shown else (null, null))
        start, end = torch.tensor(ends).unbind(1)
        return {"start": start, "end": end, "visible": visible}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Mean of the losses of start and end."""
        scores = outputs.float().masked_fill(~targets["visible"][..., None], -torch.inf)
        losses = [
            F.cross_entropy(scores[..., i], targets[name], reduction="sum") for i, name in enumerate(("start", "end"))
        ]
        return (losses[0] + losses[1]) / 2

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        """Keep the best answer over the windows of a row, and the least null score.

        One window that shows the answer is enough to say that there is one.
        """
        for scores, example in zip(outputs.float().cpu().numpy(), examples, strict=True):
            window, begin = example.window, example.window.begin
            start, end = scores[begin : begin + len(window.offsets)].T
            null = float(scores[self.null_position(example)].sum())
            score, first, last = best_span(np.where(window.best, start, -np.inf), end, self.max_answer_length)
            text = window.context[window.offsets[first, 0] : window.offsets[last, 1]] if score > -np.inf else ""
            known = found.get(example.row, {"score": -np.inf, "null": np.inf, "text": ""})
            if score > known["score"]:
                known = known | {"score": score, "text": text}
            found[example.row] = known | {"null": min(known["null"], null)}

    def answer(self, row: dict, found: dict[str, Any]) -> dict[str, Any]:
        """The best answer and by how much the null answer beats it."""
        odds = found["null"] - found["score"] if found["score"] > -np.inf else 1e6
        return {"text": found["text"], "null_odds": float(odds)}


def cut_windows(length: int, room: int, step: int) -> list[tuple[int, int]]:
    """[begin, end) of windows of `room` tokens, `step` apart, the last one reaching the end of the text."""
    windows = [(0, min(room, length))]
    while windows[-1][1] < length:
        begin = windows[-1][0] + step
        windows.append((begin, min(begin + room, length)))
    return windows


def most_context(length: int, windows: Sequence[tuple[int, int]]) -> np.ndarray:
    """(length,): begin of the window where each token has most context on its poorer side (google's rule)."""
    best, begins = np.full(length, -np.inf), np.zeros(length, dtype=np.int64)
    for begin, end in windows:
        places = np.arange(begin, end)
        context = np.minimum(places - begin, end - 1 - places) + 0.01 * (end - begin)
        better = context > best[begin:end]
        best[begin:end][better] = context[better]
        begins[begin:end][better] = begin
    return begins


def best_span(start: np.ndarray, end: np.ndarray, max_length: int) -> tuple[float, int, int]:
    """The best start[i] + end[j] with i <= j < i + max_length, and i and j; every pair is tried."""
    best = (-np.inf, 0, 0)
    for extra in range(min(max_length, len(start))):
        sums = start[: len(start) - extra] + end[extra:]
        i = int(sums.argmax())
        if sums[i] > best[0]:
            best = (float(sums[i]), i, i + extra)
    return best
