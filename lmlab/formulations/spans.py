"""Extractive question answering with windows that slide over a long context (Devlin et al. 2018).

A sequence is question + one window of the context. The start and the end of the answer are each a soft-max
over the tokens of the window and the null position, which means "not in this window". The null position is
where the state of the whole sequence stands: [CLS] for an encoder, the last token for a decoder, whose first
token has seen nothing of the text.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmlab.batch import IGNORE
from lmlab.errors import UserError
from lmlab.formulations.questions import Question
from lmlab.formulations.sequences import Example, Frame
from lmlab.formulations.windows import check_stride, cut_windows, most_context

NOT_SHOWN = (IGNORE, IGNORE)  # labels of an answer that is not in its context at all: no loss counts them


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

    def text(self, first: int, last: int) -> str:
        """The text from one place of `Example.ids` to another."""
        return self.context[self.offsets[first - self.begin, 0] : self.offsets[last - self.begin, 1]]


class Span(Question):
    """Where does the answer begin and end?

    Args:
        task, tokenizer, frame, pooling: see `Question`.
        doc_stride, max_question_tokens, max_answer_length: see `Head`.
    """

    term = "span"
    options = ("doc_stride", "max_question_tokens", "max_answer_length")

    def __init__(
        self,
        task: Any,
        tokenizer: Any,
        frame: Frame,
        doc_stride: int | None,
        max_question_tokens: int,
        max_answer_length: int,
        pooling: str = "token",
    ) -> None:
        super().__init__(task, tokenizer, frame, pooling)
        self.doc_stride, self.max_question_tokens = doc_stride, max_question_tokens
        self.max_answer_length = max_answer_length

    def check(self) -> None:
        smallest = self.frame.room(2) - self.max_question_tokens
        if smallest < 1:
            raise UserError(
                f"formulation.max_question_tokens={self.max_question_tokens} leaves no room for the text in "
                f"sequences of {self.frame.max_length} tokens; raise seq_len or lower it"
            )
        check_stride(self.doc_stride, smallest)

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        question, context = self.task.fields
        questions = self.encoded(rows, lambda row: [row["inputs"][question]])
        encoded: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # several questions share a context
        for index, (row, asked) in enumerate(zip(rows, questions, strict=True)):
            text = row["inputs"][context]
            if text not in encoded:
                ids, offsets = self.tokenizer.encode_with_offsets(text)
                encoded = {text: (np.asarray(ids, np.int32), np.asarray(offsets, np.int32).reshape(-1, 2))}
            yield from self._windows(index, row, asked[: self.max_question_tokens], text, *encoded[text])

    def _windows(
        self, index: int, row: dict, question: np.ndarray, context: str, ids: np.ndarray, offsets: np.ndarray
    ) -> Iterator[Example]:
        windows = cut_windows(len(ids), self.frame.room(2) - len(question), self.doc_stride)
        best = most_context(len(ids), windows)
        answer = self._answer_tokens(row, offsets)
        for begin, end in windows:
            example = self.frame.join([question, ids[begin:end]])
            example.row = index
            first = example.begins[1]
            example.window = Window(first, offsets[begin:end], best[begin:end] == begin, context)
            example.labels = answer
            if answer != NOT_SHOWN:
                inside = answer is not None and begin <= answer[0] and answer[1] < end
                example.labels = (first + answer[0] - begin, first + answer[1] - begin) if inside else None
            yield example

    def _answer_tokens(self, row: dict, offsets: np.ndarray) -> tuple[int, int] | None:
        """First and last token of the first answer; None: no answer; NOT_SHOWN: not in the context."""
        if not row["target"]["text"]:
            return None
        start, text = row["target"]["answer_start"][0], row["target"]["text"][0]
        covering = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < start + len(text)))
        if start < 0 or not len(covering):
            return NOT_SHOWN
        return int(covering[0]), int(covering[-1])

    def null_position(self, example: Example) -> int:
        """Where "not in this window" is scored."""
        return self.frame.pooled_position(example)

    def trainable(self, examples: Iterable[Example]) -> Iterable[Example]:
        return (example for example in examples if example.labels != NOT_SHOWN)

    def count(self, examples: Sequence[Example]) -> int:
        return sum(1 for _ in self.trainable(examples))

    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """`start`, `end` (B,) and `visible` (B, T): the window and the null position."""
        width = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
        nulls = [self.null_position(example) for example in examples]
        visible = self._marked(examples, width)
        visible[range(len(examples)), nulls] = True
        ends = [example.labels or (null, null) for example, null in zip(examples, nulls, strict=True)]
        start, end = torch.tensor(ends).unbind(1)
        return {"start": start, "end": end, "visible": torch.from_numpy(visible)}

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
        outputs, width = outputs.float(), outputs.shape[1]
        masks = self._marked(examples, width, best=True), self._marked(examples, width)
        start, end = (
            scores.masked_fill(torch.from_numpy(~mask).to(scores.device), -torch.inf)
            for scores, mask in zip(outputs.unbind(-1), masks, strict=True)
        )
        nulls = torch.tensor([self.null_position(example) for example in examples], device=outputs.device)
        null_scores = outputs.sum(-1).gather(1, nulls[:, None]).squeeze(1)
        columns = (*best_spans(start, end, self.max_answer_length), null_scores)
        for example, score, first, last, null in zip(examples, *(column.tolist() for column in columns), strict=True):
            known = found.get(example.row, {"score": -np.inf, "null": np.inf, "text": ""})
            if score > known["score"]:
                known = known | {"score": score, "text": example.window.text(first, last)}
            found[example.row] = known | {"null": min(known["null"], null)}

    def _marked(self, examples: Sequence[Example], width: int, best: bool = False) -> np.ndarray:
        """(B, T), true at the tokens of each window; with `best` only where no other has more context."""
        marked = np.zeros((len(examples), width), dtype=bool)
        for row, example in zip(marked, examples, strict=True):
            window = example.window
            row[window.begin : window.begin + len(window.best)] = window.best if best else True
        return marked

    def answer(self, row: dict, found: dict[str, Any]) -> dict[str, Any]:
        """The best answer and by how much the null answer beats it."""
        odds = found["null"] - found["score"] if found["score"] > -np.inf else 1e6
        return {"text": found["text"], "null_odds": float(odds)}


def best_spans(start: Tensor, end: Tensor, max_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best start[i] + end[j] with i <= j < i + max_length for each row of (B, T), and i and j: (B,) each."""
    max_length = min(max_length, start.shape[1])
    ends = F.pad(end, (0, max_length - 1), value=-torch.inf).unfold(1, max_length, 1)  # (B, T, max_length)
    score, place = (start[..., None] + ends).flatten(1).max(1)
    first = place // max_length
    return score, first, first + place % max_length
