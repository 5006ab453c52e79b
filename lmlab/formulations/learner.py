"""What learns a task: a model and the layers above it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.formulations.sequences import Example


class Learner(nn.Module, ABC):
    """A model with heads.

    Attributes:
        model: hidden states.
        heads: what reads them, by name.
    """

    def __init__(self, model: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model, self.heads = model, nn.ModuleDict(heads)
        self._prepared: dict[int, tuple[list[dict], Any]] = {}

    @abstractmethod
    def prepare(self, rows: list[dict]) -> Any:
        """The examples of parsed rows."""

    def prepared(self, rows: list[dict]) -> Any:
        """The examples of rows that are read again and again; they are tokenised once."""
        if id(rows) not in self._prepared:
            self._prepared[id(rows)] = rows, self.prepare(rows)
        return self._prepared[id(rows)][1]

    def longest_sequence(self, rows: list[dict]) -> int:
        """Tokens of the longest sequence of rows; 0 where none is longer than the length that was asked for."""
        return 0

    @abstractmethod
    def collate(self, examples: Sequence[Example]) -> Batch:
        """Examples as one batch, padded to the longest of them."""

    def train(self, mode: bool = True) -> Self:
        """As usual, but a model none of whose weights move is a fixed function: its dropout stays off."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self

    @torch.no_grad()
    def mean_loss(
        self, parts: Iterable[Sequence[Example]], answered: Callable[[Batch, Sequence[Example]], Tensor]
    ) -> float:
        """The mean loss over batches that come one after the other, without dropout and gradient.

        Args:
            parts: the examples of each batch.
            answered: the summed loss of a batch; notes the answers to it, too.
        """
        device, was_training, total, count = next(self.parameters()).device, self.training, 0.0, 0
        self.eval()
        for part in parts:
            batch = self.collate(part).to(device)
            total += float(answered(batch, part))
            count += sum(batch.counts.values())
        self.train(was_training)
        return total / max(1, count)
