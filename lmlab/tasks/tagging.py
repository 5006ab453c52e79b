"""One label for each word."""

from dataclasses import dataclass
from itertools import chain

from lmlab.errors import UserError
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task
from lmlab.tasks.classification import check_labels, label_id, short


@dataclass(kw_only=True)
class Tagging(Task):
    """A sentence cut into words, and a label for each word.

    `fields` names one column, the list of words; `target` the column of their labels.
    The arguments of `Task`, and

    Args:
        labels: names of the labels, in the order of the ids that the data may use.
    """

    kind = "tagging"

    labels: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels(self.name, self.labels)
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
        """Scores over all words. A word without a prediction (None: cut off by the window) is wrong."""
        ids = {label: index for index, label in enumerate(self.labels)}
        for predicted, wanted in zip(predictions, references, strict=True):
            assert len(predicted) == len(wanted), "a tagging prediction gives every word a label or None"
        predicted = [ids.get(label, scores.OTHER) for label in chain.from_iterable(predictions)]
        wanted = [ids[label] for label in chain.from_iterable(references)]
        return scores.compute(self.metrics, predicted, wanted, scores.CLASS_METRICS)
