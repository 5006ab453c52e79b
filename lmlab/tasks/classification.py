"""One class for a text or a pair of texts."""

from dataclasses import dataclass
from typing import Any

from lmlab.errors import UserError, nearest
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task


@dataclass(kw_only=True)
class Classification(Task):
    """A text, or a pair of texts, and one of a few labels. The arguments of `Task`, and

    Args:
        labels: names of the classes, in the order of the ids that the data uses. Rows may give either.
    """

    kind = "classification"

    labels: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels(self.name, self.labels)

    @property
    def num_outputs(self) -> int:
        return len(self.labels)

    def parse_target(self, row: dict, where: str) -> int:
        return label_id(row[self.target], self.labels, where, row)

    def reference(self, row: dict) -> str:
        return self.labels[row["target"]]

    def score(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        """Scores of label names. A prediction that is no label is wrong."""
        ids = {label: index for index, label in enumerate(self.labels)}
        predicted = [ids.get(prediction, scores.OTHER) for prediction in predictions]
        wanted = [ids[reference] for reference in references]
        return scores.compute(self.metrics, predicted, wanted, scores.CLASS_METRICS)


def check_labels(name: str, labels: list[str]) -> None:
    """Raise a UserError unless there are two or more different labels."""
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise UserError(f"task '{name}': labels must be two or more different names, not {labels}")


def label_id(label: Any, labels: list[str], where: str, row: dict) -> int:
    """The class id of a label given as an id, as a name, or as an id in letters (csv)."""
    if isinstance(label, str):
        if label in labels:
            return labels.index(label)
        label = int(label) if label.strip().isdigit() else label
    elif isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and 0 <= label < len(labels):
        return int(label)
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(labels))
    hint = nearest(str(label), labels)
    raise UserError(f"{where}: unknown label {label!r}{hint}; labels: {listed}; the row: {short(row)}")


def short(row: dict) -> str:
    """A row on one line of a message."""
    text = str(row)
    return text if len(text) <= 200 else text[:197] + "..."
