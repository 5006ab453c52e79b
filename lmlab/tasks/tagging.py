"""One label for each word."""

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from lmlab.errors import UserError
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task
from lmlab.tasks.classification import (
    check_labels,
    found_labels,
    label_id,
    most_frequent,
    short,
)

if TYPE_CHECKING:
    from lmlab.tasks.tallies import Tallies

ENTITY_METRICS = ("precision", "recall", "f1")
BIO = re.compile(r"O|[BI]-.+")


@dataclass(kw_only=True)
class Tagging(Task):
    """A sentence cut into words, and a label for each word.

    `fields` names one column, the list of words; `target` the column of their labels.
    The arguments of `Task`, and

    Args:
        labels: names of the labels, in the order of the ids that the data may use. None: those that the training
            rows give, in alphabetical order.

    The metrics `accuracy` and `macro_f1` are over words; `precision`, `recall` and `f1` over whole named entities,
    for labels in the BIO scheme.
    """

    kind = "tagging"
    known_metrics = dict.fromkeys(scores.WORD_METRICS) | dict.fromkeys(ENTITY_METRICS, "seqeval")

    labels: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is None:
            lists = (labels for labels in self.training_targets() if isinstance(labels, list))
            self.labels = found_labels(chain.from_iterable(lists))
        check_labels(self.name, self.labels)
        if self._entity_metrics and (wrong := [label for label in self.labels if not BIO.fullmatch(label)]):
            raise UserError(
                f"task '{self.name}': {self._entity_metrics[0]} counts entities, whose labels are O, B-... and I-..., "
                f"not {wrong[0]}; metrics over words: {', '.join(scores.WORD_METRICS)}"
            )
        if len(self.fields) != 1:
            raise UserError(f"task '{self.name}': tagging reads one column of words, not {self.fields}")

    @property
    def num_outputs(self) -> int:
        return len(self.labels)

    def parse_inputs(self, row: dict, where: str) -> dict[str, list[str]]:
        words = row[self.fields[0]]
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise UserError(f"{where}: column '{self.fields[0]}' is no list of words: {short(row)}")
        return {self.fields[0]: words}

    def parse_target(self, row: dict, where: str) -> list[int]:
        words, labels = row[self.fields[0]], row[self.target]
        if not isinstance(labels, list) or len(labels) != len(words):
            found = f"'{self.target}' does not give one label for each of {len(words)} words"
            raise UserError(f"{where}: {found}: {short(row)}")
        return [label_id(label, self.labels, f"{where}, word {i}", row) for i, label in enumerate(labels)]

    def reference(self, row: dict) -> list[str]:
        return [self.labels[target] for target in row["target"]]

    def score(self, predictions: list[list[str | None]], references: list[list[str]]) -> dict[str, float]:
        """Scores over all words and entities. A word without a prediction (None: cut off by the window) is wrong."""
        predicted, wanted = (list(chain.from_iterable(ids)) for ids in self._ids(predictions, references))
        by_word = [name for name in self.metrics if name not in ENTITY_METRICS]
        found = scores.compute(by_word, predicted, wanted, scores.WORD_METRICS)
        if self._entity_metrics:
            found |= scores.entity_scores(predictions, references)
        return {name: found[name] for name in (*self.metrics, "degenerate") if name in found}

    def tallies(self, metric: str, predictions: list[list[str | None]], references: list[list[str]]) -> "Tallies":
        from lmlab.tasks import tallies

        if metric in ENTITY_METRICS:
            return tallies.of_entities(metric, predictions, references)
        if metric not in scores.WORD_METRICS:
            return super().tallies(metric, predictions, references)
        return tallies.of_classes(metric, *self._ids(predictions, references), self.num_outputs)

    def _ids(self, predictions: list, references: list) -> tuple[list[list[int]], list[list[int]]]:
        """Class ids of the words of each sentence."""
        ids = {label: index for index, label in enumerate(self.labels)}
        for predicted, wanted in zip(predictions, references, strict=True):
            assert len(predicted) == len(wanted), "a tagging prediction gives every word a label or None"
        predicted = [[ids.get(label, scores.OTHER) for label in labels] for labels in predictions]
        return predicted, [[ids[label] for label in labels] for labels in references]

    def constant_answers(self, train_rows: list[dict], rows: list[dict], metric: str | None = None) -> list[list[str]]:
        """The most frequent label for every word; where entities count, of the labels with which one begins.

        Then each word is an entity of its own, the only constant answer that finds any but whole sentences.
        """
        targets = list(chain.from_iterable(row["target"] for row in train_rows))
        if (metric or self.metrics[0]) in ENTITY_METRICS:
            targets = [target for target in targets if self.labels[target].startswith("B-")] or targets
        return [[self.labels[most_frequent(targets)]] * len(row["target"]) for row in rows]

    @property
    def _entity_metrics(self) -> list[str]:
        return [name for name in self.metrics if name in ENTITY_METRICS]
