"""What a head is asked, one class for each kind of task: examples, the loss, and answers from scores.

A question holds no weights. `outputs` are what the head's last layer gave: (N, num_outputs) at the positions
asked, or (B, T, 2) for spans.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmlab.formulations.sequences import Example, Frame, truncate
from lmlab.formulations.windows import check_stride, cut_windows, most_context

TOGETHER = 1000  # rows that are tokenised at once


class Question(ABC):
    """The kind of a task, as a head puts it.

    Args:
        task: what to ask.
        tokenizer: the model's tokenizer.
        frame: the special tokens around texts.
        pooling: see `Head`.

    Attributes:
        term: name of the loss term.
        options: the other arguments of `Head` that it takes.
        pooled: whether one state stands for the whole sequence.
        pooling: as given, "token" where it is the same for this kind and layout.
        apart: whether a row has two texts, each of them a sequence.
        share_batch: whether the sequences of a row must be in one batch.
    """

    term: str
    options: ClassVar[tuple[str, ...]] = ()
    pooled: bool = False
    share_batch: bool = False
    apart: bool = False

    def __init__(self, task: Any, tokenizer: Any, frame: Frame, pooling: str = "token") -> None:
        self.task, self.tokenizer, self.frame = task, tokenizer, frame
        same = pooling == frame.token or not (self.pooled or pooling == "last_four")
        self.pooling = "token" if same else pooling

    @property
    def num_layers(self) -> int:
        """How many of the last layers are read, side by side."""
        return 4 if self.pooling == "last_four" else 1

    @property
    def num_states(self) -> int:
        """How many states the new layer reads, side by side: of the layers, and u, v, |u - v| and u * v of each."""
        return self.num_layers * (4 if self.apart else 1)

    @property
    def has_pooler(self) -> bool:
        """Whether what is read goes through the family's pooler."""
        return self.pooled and self.pooling == "token" and not self.apart

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
        """The prediction for a row, from what was noted; None: nothing could be asked."""
        return found

    def count(self, examples: Sequence[Example]) -> int:
        """How many losses a batch sums up."""
        return sum(len(example.labels) for example in examples)

    def check(self) -> None:  # noqa: B027  most kinds have nothing to check
        """Raise a UserError when nothing sensible fits into the sequence length."""

    def encoded(self, rows: Sequence[dict], texts: Callable[[dict], list[str]]) -> Iterator[np.ndarray]:
        """Ids of the texts of each row, a text at a time; while they are made, they take far more memory than after."""
        for begin in range(0, len(rows), TOGETHER):
            some = rows[begin : begin + TOGETHER]
            yield from self.tokenizer.encode_batch([text for row in some for text in texts(row)])

    def trainable(self, examples: Iterable[Example]) -> Iterable[Example]:
        """The examples that can be learnt from."""
        return examples

    def groups(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Where the mean of an example's states is read, `groups` (N,): the example of each state, and `sizes` (B,)."""
        return {}


class LabelQuestion(Question):
    """Soft-max over the labels of a task. A target is a label, or a list of the probabilities of all labels."""

    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"labels": all_labels(examples)}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.float(), targets["labels"], reduction="sum")


class PooledQuestion(Question):
    """One answer for a text or a pair of texts.

    Args:
        task, tokenizer, frame, pooling: see `Question`.
        pairs: see `Head`.
    """

    options = ("pairs",)
    pooled = share_batch = True

    def __init__(self, task: Any, tokenizer: Any, frame: Frame, pairs: str = "joined", pooling: str = "token") -> None:
        super().__init__(task, tokenizer, frame, pooling)
        self.apart = pairs == "apart" and len(task.fields) == 2

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        """A sequence a row, or one a text; the first of a row bears its label."""
        encoded = self.encoded(rows, lambda row: [row["inputs"][name] for name in self.task.fields])
        for index, row in enumerate(rows):
            texts = [next(encoded) for _ in self.task.fields]
            for number, together in enumerate([[text] for text in texts] if self.apart else [texts]):
                yield self.example(index, together, [] if number else [row["target"]])

    def example(self, row: int, texts: Sequence[np.ndarray], labels: list) -> Example:
        """The sequence of some texts, with the positions that are read."""
        example = self.frame.join(texts)
        example.row, example.labels = row, labels
        last = len(example.ids) - 1
        if self.pooling == "mean":
            example.asked = np.arange(last + 1)
        else:
            place = {"first": 0, "last": last}.get(self.pooling, self.frame.pooled_position(example))
            example.asked = np.array([place])
        return example

    def groups(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        if self.pooling != "mean":
            return {}
        sizes = torch.tensor([len(example.asked) for example in examples])
        return {"groups": torch.repeat_interleave(sizes), "sizes": sizes}


class Classification(LabelQuestion, PooledQuestion):
    """One label."""

    term = "classification"

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        for row, label in zip(rows_of(examples), outputs.argmax(-1).tolist(), strict=True):
            found[row] = self.task.labels[label]


class Regression(PooledQuestion):
    """One number; squared error."""

    term = "regression"

    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"values": all_labels(examples, torch.float)}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        # (N, 1) against (N,) would broadcast to (N, N) and train towards the mean.
        return F.mse_loss(outputs.float().squeeze(-1), targets["values"], reduction="sum")

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        for row, value in zip(rows_of(examples), outputs.float().squeeze(-1).tolist(), strict=True):
            found[row] = value


class Choice(PooledQuestion):
    """A score for each choice, and a soft-max over those of a row (GPT: Radford et al. 2018, section 3.3).

    Where several are right, the loss is that of giving any of them: what they take together of the soft-max.
    A choice is the second text of a pair, after the fields; without fields it stands alone. Rows may differ in how many
    they have.
    """

    term = "choice"
    options = ()

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        """One sequence a choice; the first of a row bears its label, the list of the right ones."""
        choices = self.encoded(rows, lambda row: row["inputs"]["choices"])
        for index, row in enumerate(rows):
            fields = self.fields(row)
            for number in range(len(row["inputs"]["choices"])):
                label = [] if number else [self.task.reference(row)["right"]]
                yield self.example(index, self.pair(fields, next(choices)), label)

    def fields(self, row: dict) -> list[np.ndarray]:
        """The tokens of each field, as they are where the fields stand one after the other in a text."""
        texts = [row["inputs"][name] for name in self.task.fields]
        ids, numbers = self.tokenizer.encode_pretokenized(texts)
        return np.split(np.asarray(ids, dtype=np.int32), np.searchsorted(numbers, range(1, len(texts))))[: len(texts)]

    def pair(self, fields: Sequence[np.ndarray], choice: np.ndarray) -> list[np.ndarray]:
        """The fields as one text, and the choice. The longest part loses tokens first: a short last field stays."""
        *fields, choice = truncate([*fields, choice], self.frame.room(2 if fields else 1))
        return [np.concatenate(fields), choice] if fields else [choice]

    def targets(self, examples: Sequence[Example], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """`choices` (R, C): where the scores of a row stand, -1 where it has fewer; and which are `right` (R, C)."""
        begins = np.flatnonzero(np.diff([example.row for example in examples], prepend=-1))
        sizes = np.diff(begins, append=len(examples))
        place = np.arange(sizes.max())
        choices = np.where(place < sizes[:, None], begins[:, None] + place, -1)
        labels = chain.from_iterable(example.labels for example in examples)
        right = np.array([np.isin(place, label) for label in labels], dtype=bool)
        return {"choices": torch.from_numpy(choices), "right": torch.from_numpy(right)}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        choices = targets["choices"]
        scores = outputs.float().squeeze(-1)[choices].masked_fill(choices < 0, -torch.inf)
        right = scores.log_softmax(-1).masked_fill(~targets["right"], -torch.inf)
        return -right.logsumexp(-1).sum()

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        for example, score in zip(examples, outputs.float().squeeze(-1).tolist(), strict=True):
            found.setdefault(example.row, []).append(score)

    def answer(self, row: dict, found: list[float]) -> int:
        """The index of the choice with the highest score, of equals the first."""
        return int(np.argmax(found))


class Tagging(LabelQuestion):
    """A label for each word, read at its first piece; the other pieces are not asked (as -100 would say).

    A sentence that is too long is read in windows, and each word asked in the one where it has most context.

    Args:
        task, tokenizer, frame, pooling: see `Question`.
        doc_stride: see `Head`.
    """

    term = "tagging"
    options = ("doc_stride",)

    def __init__(
        self, task: Any, tokenizer: Any, frame: Frame, doc_stride: int | None = None, pooling: str = "token"
    ) -> None:
        super().__init__(task, tokenizer, frame, pooling)
        self.doc_stride = doc_stride

    def check(self) -> None:
        check_stride(self.doc_stride, self.frame.room(1))

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        for index, row in enumerate(rows):
            ids, word_ids = self.tokenizer.encode_pretokenized(row["inputs"][self.task.fields[0]])
            ids, (words, first) = np.asarray(ids, dtype=np.int32), first_pieces(word_ids)
            windows = cut_windows(len(ids), self.frame.room(1), self.doc_stride)
            best = most_context(len(ids), windows)[first]
            for begin, end in windows:
                here = best == begin
                if here.any():  # not inside a word that is longer than a window
                    example = self.frame.join([ids[begin:end]])
                    example.row, example.asked = index, first[here] - begin + example.begins[0]
                    example.window = words[here].tolist()
                    example.labels = [row["target"][word] for word in example.window]
                    yield example

    def read(self, outputs: Tensor, examples: Sequence[Example], found: dict[int, Any]) -> None:
        labels = iter(outputs.argmax(-1).tolist())
        for example in examples:
            said = found.setdefault(example.row, {})
            said.update({word: self.task.labels[next(labels)] for word in example.window})

    def answer(self, row: dict, found: dict[int, str] | None) -> list[str | None]:
        """A label for each word, None for one that the tokenizer has no token for."""
        return [(found or {}).get(word) for word in range(len(row["target"]))]


def first_pieces(word_ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The words that have a piece, and the position of the first piece of each."""
    word_ids = np.asarray(word_ids, dtype=np.int64)
    first = np.flatnonzero(np.diff(word_ids, prepend=-1))
    return word_ids[first], first


def rows_of(examples: Sequence[Example]) -> list[int]:
    """The rows that examples come from, each once."""
    return list(dict.fromkeys(example.row for example in examples))


def all_labels(examples: Sequence[Example], dtype: torch.dtype | None = None) -> Tensor:
    """The labels of all examples in one row, or (N, L) of their probabilities."""
    return torch.tensor(list(chain.from_iterable(example.labels for example in examples)), dtype=dtype)
