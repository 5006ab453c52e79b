"""One class for a text or a pair of texts."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmlab.errors import UserError, nearest
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task

if TYPE_CHECKING:
    from lmlab.tasks.tallies import Tallies


@dataclass(kw_only=True)
class Classification(Task):
    """A text, or a pair of texts, and one of a few labels. The arguments of `Task`, and

    Args:
        labels: names of the classes, in the order of the ids that the data uses. Rows may give either. None: the
            values that the training rows give, in numerical or alphabetical order.
        no_label: rows with this value in place of a label are left out (SNLI: -1).
    """

    kind = "classification"
    known_metrics = dict.fromkeys(scores.CLASS_METRICS)

    labels: list[str] | None = None
    no_label: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is None:
            self.labels = found_labels(self.training_targets())
        check_labels(self.name, self.labels)

    @property
    def num_outputs(self) -> int:
        return len(self.labels)

    def flat_rows(self, raw: dict, where: str) -> Iterator[dict]:
        rows = super().flat_rows(raw, where)
        return (row for row in rows if self.no_label is None or row.get(self.target) != self.no_label)

    def parse_target(self, row: dict, where: str) -> int:
        return label_id(row[self.target], self.labels, where, row)

    def reference(self, row: dict) -> str:
        return self.labels[row["target"]]

    def score(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        """Scores of label names. A prediction that is no label is wrong."""
        return scores.compute(self.metrics, *self._ids(predictions, references), scores.CLASS_METRICS)

    def tallies(self, metric: str, predictions: list[str], references: list[str]) -> "Tallies":
        from lmlab.tasks import tallies

        if metric == "accuracy":
            return tallies.averaged(self, metric, predictions, references)
        if metric not in scores.CLASS_METRICS:
            return super().tallies(metric, predictions, references)
        predicted, wanted = ([[each] for each in ids] for ids in self._ids(predictions, references))
        return tallies.of_classes(metric, predicted, wanted, self.num_outputs)

    def _ids(self, predictions: list[str], references: list[str]) -> tuple[list[int], list[int]]:
        ids = {label: index for index, label in enumerate(self.labels)}
        return [ids.get(prediction, scores.OTHER) for prediction in predictions], [ids[label] for label in references]

    def constant_answers(self, train_rows: list[dict], rows: list[dict], metric: str | None = None) -> list[str]:
        """Under F1 the positive class: any other scores 0. Else the most frequent one (Matthews: each scores 0)."""
        is_f1 = (metric or self.metrics[0]) == "f1"
        return [self.labels[1 if is_f1 else most_frequent(row["target"] for row in train_rows)]] * len(rows)


def most_frequent(values: Iterable[int]) -> int:
    """The most frequent value; of several the smallest."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def found_labels(values: Iterable[Any]) -> list[str]:
    """The names of all labels that occur, numbers by size, else by the alphabet."""
    names = {str(value) for value in values if value not in (None, "")}
    return sorted(names, key=float) if all(map(is_number, names)) else sorted(names)


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def check_labels(name: str, labels: list[str]) -> None:
    """Raise a UserError unless there are two or more different labels."""
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise UserError(f"task '{name}': labels must be two or more different names, not {labels}")


def label_id(label: Any, labels: list[str], where: str, row: dict) -> int:
    """The class id of a label given as a name, as an id, or as an id in letters (csv).

    Where names are numbers themselves (stars from 1 to 5), numbers are names.
    """
    if str(label) in labels:
        return labels.index(str(label))
    is_id = str(label).strip().isdigit() or isinstance(label, bool) or (isinstance(label, float) and label.is_integer())
    if is_id and 0 <= int(label) < len(labels) and not any(map(is_number, labels)):
        return int(label)
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(labels))
    hint = nearest(str(label), labels)
    raise UserError(f"{where}: unknown label {label!r}{hint}; labels: {listed}; the row: {short(row)}")


def short(row: dict) -> str:
    """A row on one line of a message."""
    text = str(row)
    return text if len(text) <= 200 else text[:197] + "..."
