"""What a head is asked, one class for each kind of task: examples, the loss, and answers from scores.

A question holds no weights. `outputs` are what the head's last layer gave: (N, num_outputs) at the positions
asked, or (B, T, 2) for spans.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmlab.formulations.sequences import Example, Frame


class Question(ABC):
    """The kind of a task, as a head puts it.

    Attributes:
        term: name of the loss term.
        pooled: whether one state stands for the whole sequence (and an encoder's goes through its pooler).
    """

    term: str
    pooled: bool = False

    def __init__(self, task: Any, tokenizer: Any, frame: Frame) -> None:
        self.task, self.tokenizer, self.frame = task, tokenizer, frame

    @abstractmethod
    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        """Sequences for rows; several for a row whose text is read in windows."""

    @abstractmethod
    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the loss reads, for a batch of examples."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Loss summed over what is asked."""

    @abstractmethod
    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        """Note in `found` (by row) what a batch of outputs says."""

    def answer(self, row: dict, found: Any) -> Any:
        """The prediction for a row, from what was noted."""
        return found

    def count(self, examples: Sequence[Example]) -> int:
        """How many losses a batch sums up."""
        return sum(len(example.labels) for example in examples)

    def check(self) -> None:  # noqa: B027  most kinds have nothing to check
        """Raise a UserError when nothing sensible fits into the sequence length."""

    def trainable(self, examples: Sequence[Example]) -> list[Example]:
        """The examples that can be learnt from."""
        return list(examples)


class PooledQuestion(Question):
    """One answer for a text or a pair of texts.

    Attributes:
        mean: read the mean of all tokens, instead of the one that stands for the sequence.
    """

    pooled = True
    mean = False

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        columns = [self.tokenizer.encode_batch([row["inputs"][name] for row in rows]) for name in self.task.fields]
        for index, row in enumerate(rows):
            example = self.frame.join([column[index] for column in columns])
            example.row, example.labels = index, [row["target"]]
            one = [self.frame.pooled_position(example)]
            example.asked = np.arange(len(example.ids)) if self.mean else np.asarray(one)
            yield example

    def groups(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """As `groups` (N,), the example of each state that is read, where an example has several."""
        if not self.mean:
            return {}
        return {"groups": torch.repeat_interleave(torch.tensor([len(example.asked) for example in examples]))}


class Classification(PooledQuestion):
    """Soft-max over the classes."""

    term = "classification"

    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        labels = [label for example in examples for label in example.labels]
        return {"labels": torch.tensor(labels, dtype=torch.long)} | self.groups(examples)

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.float(), targets["labels"], reduction="sum")

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        for example, label in zip(examples, outputs.argmax(-1).tolist(), strict=True):
            found[example.row] = self.task.labels[label]


class Regression(PooledQuestion):
    """One number; squared error."""

    term = "regression"

    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        values = [label for example in examples for label in example.labels]
        return {"values": torch.tensor(values, dtype=torch.float)} | self.groups(examples)

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        # (N, 1) against (N,) would broadcast to (N, N) and train towards the mean.
        return F.mse_loss(outputs.float().squeeze(-1), targets["values"], reduction="sum")

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        for example, value in zip(examples, outputs.float().squeeze(-1).tolist(), strict=True):
            found[example.row] = value


class Tagging(Classification):
    """A label for each word, read at its first piece; the other pieces are not asked (as -100 would say)."""

    term = "tagging"
    pooled = False

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        room = self.frame.room(1)
        for index, row in enumerate(rows):
            ids, word_ids = self.tokenizer.encode_pretokenized(row["inputs"][self.task.fields[0]])
            example = self.frame.join([np.asarray(ids, dtype=np.int64)])
            words, first = first_pieces(word_ids[: max(0, room)])
            example.row, example.asked = index, first + example.begins[0]
            example.labels, example.window = [row["target"][word] for word in words], words
            yield example

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        labels = iter(outputs.argmax(-1).tolist())
        for example in examples:
            found[example.row] = {word: self.task.labels[next(labels)] for word in example.window}

    def answer(self, row: dict, found: dict[int, str]) -> list[str | None]:
        """A label for each word, None for those that the window cut off."""
        return [found.get(word) for word in range(len(row["target"]))]

    def trainable(self, examples: Sequence[Example]) -> list[Example]:
        return [example for example in examples if len(example.asked)]


def first_pieces(word_ids: Sequence[int | None]) -> tuple[list[int], np.ndarray]:
    """The words that have a piece, and the position of the first piece of each."""
    first: dict[int, int] = {}
    for position, word in enumerate(word_ids):
        if word is not None:
            first.setdefault(int(word), position)
    return list(first), np.asarray(list(first.values()), dtype=np.int64)
