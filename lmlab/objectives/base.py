"""What every objective offers, and the module that is trained: a model with the heads its objective asks with."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.corruptions.base import Corruption
from lmlab.text.passage import Pair, Passage, Record
from lmlab.text.store import TokenStore
from lmlab.text.tokenizer import Tokenizer

MAX_EXPONENT = 700.0  # a loss of a model that has diverged; its perplexity is past all numbers anyway

Example = dict[str, np.ndarray]
"""A question in neutral form, ready to be laid out for an architecture. Either

- aligned: `inputs` (T,) and `labels` (T,), IGNORE where nothing is asked; optional `segment_ids` (T,) and
  `sentence_label` (), or
- a pair: `inputs` (S,) and `targets` (U,).
"""


class Score(NamedTuple):
    """Summed loss in nats and number of right answers of one term over a batch."""

    loss: Tensor
    num_correct: Tensor


class Objective(ABC):
    """What a model is asked: neutral examples made from units of text, and their loss.

    Most objectives are a `Question`, asked in one forward pass; a sum may need several.

    Attributes:
        layouts: the models it can ask.
        unit: "block" (running text); pairs: "sentence_pair" (b follows a, or is of another document) and
            "consecutive_pair" (b follows a); or "record" (the fields of a document).
        corruption_needs: class attributes that its corruption must have; None if it takes none but `none`.
        answers: what a model it has trained can be asked afterwards, as pairs (layout, "fill" or "generate").
        sees_inputs_whole: a decoder that it trains reads the inputs, later a prompt or a text, in both directions.
        pools: it asks about the sequence as a whole, through the hidden state of the first token.
        terms: names of the terms of its loss; the first one's accuracy is the objective's.
        token_term: the term that predicts tokens, and so has a perplexity; None if none does.
        weights: factor of each term in the loss, 1 where it is not named.
        corruption: what hides something from the model, or None.
    """

    layouts: ClassVar[tuple[str, ...]]
    unit: ClassVar[str] = "block"
    corruption_needs: ClassVar[tuple[str, ...] | None] = None
    pools: bool = False
    answers: ClassVar[tuple[tuple[str, str], ...]] = ()
    sees_inputs_whole: bool = False
    terms: tuple[str, ...]
    token_term: str | None = None
    weights: Mapping[str, float] = MappingProxyType({})
    corruption: Corruption | None = None

    @property
    @abstractmethod
    def passes(self) -> "list[Question]":
        """What is asked, one forward pass each."""

    @property
    def reads(self) -> tuple[str, ...]:
        """What must be known of a passage: see `Corruption.reads`."""
        return self.corruption.reads if self.corruption is not None else ()

    @property
    def learns(self) -> bool:
        """Whether `learn` must be called before anything is asked: see `Corruption.learns`."""
        return self.corruption is not None and self.corruption.learns

    def learn(self, store: TokenStore, tokenizer: Tokenizer, cache_dir: str | Path | None = None) -> str:
        """Let the corruption look at the training text: see `Corruption.learn`."""
        return self.corruption.learn(store, tokenizer, cache_dir) if self.learns else ""

    def block_length(self, seq_len: int) -> int:
        """Tokens of text that make one sequence of at most `seq_len` tokens."""
        return seq_len

    def block_overlap(self) -> int:
        """Tokens that a block shares with the one before it."""
        return 0

    def sequence_length(self, seq_len: int, layout: str) -> int:
        """Tokens that a model of this layout reads at once. Raises UserError when the question cannot be asked."""
        return seq_len

    def prompt(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """Ids of a text that a person wants continued, laid out as the texts of training were."""
        return tokenizer.encode(text)

    @abstractmethod
    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        """Make the parts that answer this question from hidden states."""


class Question(Objective):
    """An objective that is asked in one forward pass."""

    @property
    def passes(self) -> "list[Question]":
        return [self]

    @abstractmethod
    def example(self, unit: Passage | Pair | Record, generator: np.random.Generator) -> Example:
        """Turn a unit of text into a question; `generator` is the only source of chance."""

    @abstractmethod
    def counts(self, batch: Batch) -> dict[str, int]:
        """Return how many predictions each term of the loss sums over."""

    def ask(self, model: nn.Module, heads: nn.ModuleDict, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the model; return its hidden states and what `losses` holds them against."""
        return model(**batch.inputs), batch.targets

    @abstractmethod
    def losses(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss in nats of each term, summed over its predictions and times its weight."""

    @abstractmethod
    def scores(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Score]:
        """As `losses` without weights, with the number of right answers; for validation."""


class VocabularyObjective(Question):
    """Asks for tokens: a cross-entropy over the vocabulary at `targets["labels"]` (N,).

    Attributes:
        name: of its term in losses and metrics.
    """

    name: ClassVar[str]

    @property
    def terms(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def token_term(self) -> str:
        return self.name

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        return {"vocabulary": model.vocabulary_head()}

    def counts(self, batch: Batch) -> dict[str, int]:
        return {self.name: len(batch.targets["labels"])}

    def losses(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden, labels = at_labels(hidden, targets)
        return {self.name: heads["vocabulary"].cross_entropy(hidden, labels)}

    def scores(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Score]:
        hidden, labels = at_labels(hidden, targets)
        return {self.name: Score(*heads["vocabulary"].score(hidden, labels))}


def at_labels(hidden: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of `hidden` that answer `targets["labels"]` (N,): the first N of the flat positions asked for."""
    labels = targets["labels"]
    return hidden.reshape(-1, hidden.shape[-1])[: len(labels)], labels


class Learner(nn.Module):
    """A model together with the heads of an objective: what a pre-training run trains and saves."""

    def __init__(self, model: nn.Module, objective: Objective):
        super().__init__()
        self.model = model
        self.objective = objective
        self.heads = nn.ModuleDict(objective.heads(model))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Summed loss of each term of the objective."""
        objective = self.objective.passes[batch.part]
        hidden, targets = objective.ask(self.model, self.heads, batch)
        return objective.losses(hidden, self.heads, targets)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Loss, perplexity and accuracy over all predictions of `batches`, each prediction weighing the same.

        With several terms the loss is the sum of theirs, each has its figures under its own name too, and perplexity
        and accuracy are those of the term that predicts tokens.
        """
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        sums: dict[str, np.ndarray] = {}
        for batch in batches:
            batch = batch.to(device)
            objective = self.objective.passes[batch.part]
            hidden, targets = objective.ask(self.model, self.heads, batch)
            for term, score in objective.scores(hidden, self.heads, targets).items():
                figures = np.array([float(score.loss), float(score.num_correct), batch.counts[term]])
                sums[term] = sums.get(term, 0) + figures
        self.train(was_training)
        return summarize(sums, self.objective.token_term, self.objective.weights)


def summarize(sums: dict[str, np.ndarray], token_term: str | None, weights: Mapping[str, float]) -> dict[str, float]:
    """Turn (summed loss, right answers, predictions) of each term into named metrics."""
    losses = {term: float(loss / count) for term, (loss, _, count) in sums.items()}
    accuracies = {term: float(correct / count) for term, (_, correct, count) in sums.items()}
    metrics = {"loss": sum(weights.get(term, 1.0) * loss for term, loss in losses.items())}
    if token_term is not None:
        metrics["perplexity"] = math.exp(min(losses[token_term], MAX_EXPONENT))
    metrics["accuracy"] = accuracies[token_term or next(iter(sums))]
    if len(sums) > 1:
        metrics |= {f"{term}_loss": loss for term, loss in losses.items()}
        metrics |= {f"{term}_accuracy": accuracy for term, accuracy in accuracies.items()}
    return metrics
