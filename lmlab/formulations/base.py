"""What every formulation is: it turns a task and a model into something that trains and answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from lmlab.formulations.batches import TaskBatches


@dataclass
class Answers:
    """What a learner says about some rows.

    Attributes:
        predictions: one per row, in the words of the task (see `Task.score`).
        loss: mean loss over what was asked, without dropout.
        metrics: what the formulation itself measures besides the task's own scores, such as a perplexity.
    """

    predictions: list[Any]
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)


class Formulation(ABC):
    """A way to put a task to a model: `head`, `text_to_text`, `sequence`, `cloze`, `in_context`, `likelihood`.

    Attributes:
        fits: for each kind of task, the layouts of model that this formulation serves.
        trains: whether a model can learn the task in this way; false: it can only be asked.
        answers_untrained: whether a pre-trained model can be asked as it is: nothing that answers is new.
        decoding: settings that are not learnt; a trained model may be asked with others (see `TextGeneration.decode`).
    """

    fits: ClassVar[dict[str, tuple[str, ...]]]
    trains: ClassVar[bool] = True
    answers_untrained: ClassVar[bool] = False
    decoding: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def serves(cls, kind: str, layout: str) -> bool:
        """Whether a task of this kind can be put to a model of this layout."""
        return layout in cls.fits.get(kind, ())

    @classmethod
    def asks_untrained(cls, kind: str, layout: str) -> bool:
        """Whether a task of this kind can be put to a pre-trained model of this layout as it is."""
        return cls.answers_untrained and cls.serves(kind, layout)

    @abstractmethod
    def learner(
        self,
        model: nn.Module,
        task: Any,
        tokenizer: Any,
        pretrained_heads: Mapping[str, nn.Module] | None = None,
    ) -> nn.Module:
        """A module with `.model` and `.heads` whose forward maps a Batch to {loss term: summed loss}.

        Args:
            model: a `lmlab.models` model.
            task: a `lmlab.tasks` task.
            tokenizer: the model's tokenizer.
            pretrained_heads: heads trained with the model, by name; those of use here lend their weights.
        """

    @abstractmethod
    def batches(
        self,
        learner: nn.Module,
        rows: list[dict],
        micro_batch_tokens: int,
        seed: int,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
    ) -> TaskBatches:
        """Training batches over parsed rows, a pure function of (seed, step).

        Args:
            micro_batch_tokens: padded tokens of one forward pass.
            batch_size, batch_tokens: examples, or tokens on average, of one optimizer step.
        """

    @abstractmethod
    def answer(self, learner: nn.Module, rows: list[dict], micro_batch_tokens: int) -> Answers:
        """Predictions for parsed rows, streamed batch by batch."""
