"""Which networks one micro-batch runs through, and how much of it each of them is given.

Only the objective knows: BERT's asks one network and two heads, ELECTRA's lets a second network fill in the noise
first. So it is asked for real, with stand-ins that note what they are given and answer with zeros.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.models.base import Model
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.objectives.base import Learner


@dataclass(frozen=True)
class Call:
    """One network at work on one micro-batch.

    Attributes:
        network: a model, or a head.
        rows: hidden states that it returns, or that a head is given.
        batch, length: of the tokens that a model reads (by its encoder, where it has one); 0 for a head.
        decoder_length: of the tokens that its decoder reads; None where there are none.
        masked: a model is told of padding or of a prefix.
        trained: a gradient flows back.
    """

    network: nn.Module
    rows: int
    batch: int = 0
    length: int = 0
    decoder_length: int | None = None
    masked: bool = False
    trained: bool = True


Calls = list[Call]
"""Of one forward pass."""


def calls_of(learner: Learner, batches: Iterable[Batch]) -> list[Calls]:
    """The calls of `learner` in each pass over one micro-batch, which `batches` are. Its weights are not read."""
    return [_calls(learner, batch) for batch in batches]


def _calls(learner: Learner, batch: Batch) -> Calls:
    """Of the forward pass that is asked about `batch`."""
    calls: Calls = []
    model = _Model(learner.model, calls)
    heads = {name: _stand_in(head, calls) for name, head in learner.heads.items()}
    question = learner.objective.passes[batch.part]
    hidden, targets = question.ask(model, heads, batch)
    question.losses(hidden, heads, targets)
    return calls


class _StandIn:
    """In the place of a network, whose attributes are its own."""

    def __init__(self, network: nn.Module, calls: Calls):
        self.network, self.calls = network, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def note(self, rows: int, trained: bool = True, **read: Any) -> None:
        self.calls.append(Call(self.network, rows, trained=trained and torch.is_grad_enabled(), **read))


class _Model(_StandIn):
    def __call__(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor | None = None,
        positions: Tensor | None = None,
        **others: Tensor,
    ) -> Tensor:
        written = input_ids if decoder_input_ids is None else decoder_input_ids
        shape = written.shape if positions is None else positions.shape
        self.note(
            shape.numel(),
            batch=input_ids.shape[0],
            length=input_ids.shape[1],
            decoder_length=None if decoder_input_ids is None else decoder_input_ids.shape[1],
            masked=any(name.endswith("_mask") for name in others),
        )
        return _zeros(*shape, self.network.hidden_size)


class _Head(_StandIn):
    """Also in the place of a `VocabularyHead`."""

    def __call__(self, hidden: Tensor) -> Tensor:
        self.note(hidden.shape[:-1].numel())
        return _zeros(*hidden.shape[:-1], self._width(hidden))

    def cross_entropy(self, hidden: Tensor, labels: Tensor) -> Tensor:
        self.note(len(hidden))
        return torch.zeros(())

    def sample(self, hidden: Tensor, generator: torch.Generator | None = None) -> Tensor:
        self.note(len(hidden), trained=False)
        return torch.zeros(len(hidden), dtype=torch.long)

    def _width(self, hidden: Tensor) -> int:
        """Of the answer: that of the last matrix."""
        if isinstance(self.network, VocabularyHead):
            return len(self.network.weight)
        matrices = [weight for weight in self.network.parameters() if weight.ndim == 2]
        return len(matrices[-1]) if matrices else hidden.shape[-1]


def _stand_in(head: nn.Module, calls: Calls) -> _StandIn:
    return _Model(head, calls) if isinstance(head, Model) else _Head(head, calls)


def _zeros(*shape: int) -> Tensor:
    """Zeros of a shape that share one number of memory."""
    return torch.zeros(()).expand(shape)
