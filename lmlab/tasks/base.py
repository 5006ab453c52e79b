"""What every task is: labelled rows in one shape, references in the task's own words, and a score.

A row is `{"id": str, "inputs": {field: text or words}, "target": ...}`. Predictions and references are in the
task's own words (label names, numbers, answers), so that any formulation, also one that generates text, is
scored by one function.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from lmlab.errors import UserError


@dataclass(kw_only=True)
class Task:
    """A labelled data set.

    Args:
        name: how the task is called in tables and run folders.
        source: name of its data (a folder under `data_dir`), see `lmlab.text.sources`.
        fields: columns that hold the inputs, in the order in which a model reads them.
        metrics: names of the scores; the first one is the task's number.
        hub: where the hub keeps the data, passed on to `lmlab.text.sources.find`.
        target: column of the label.
        train_split: split to learn from.
        evaluation_splits: splits scored separately, the first one chooses the best checkpoint.
        held_out: share of the training rows, by a hash of their content, that is scored where there is no
            other split.
        max_train_rows, max_evaluation_rows: keep so many rows of a split, drawn by hash; None keeps all.
        data_dir: the folder of local data sets, or None.
    """

    kind: ClassVar[str]  # classification | regression | tagging | span

    name: str
    source: str
    fields: list[str]
    metrics: list[str]
    hub: Any = None
    target: str = "label"
    train_split: str = "train"
    evaluation_splits: list[str] = field(default_factory=lambda: ["validation"])
    held_out: float = 0.1
    max_train_rows: int | None = None
    max_evaluation_rows: int | None = None
    data_dir: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError(f"task.held_out={self.held_out} must lie between 0 and 1: a share of the training rows")
        for key in ("max_train_rows", "max_evaluation_rows"):
            limit = getattr(self, key)
            if limit is not None and limit < 1:
                raise UserError(f"task.{key}={limit} leaves no row; give at least 1, or null for all")
        if not self.fields or not self.metrics or not self.evaluation_splits:
            raise UserError(f"task '{self.name}': fields, metrics and evaluation_splits must name at least one each")

    # ---------------------------------------------------------------- what a kind of task fills in

    @property
    def num_outputs(self) -> int:
        """Numbers that a head gives for each thing asked: classes, 1 for a value, 2 for start and end."""
        raise NotImplementedError

    def parse_inputs(self, row: dict, where: str) -> dict[str, Any]:
        """The fields of a raw row, checked."""
        return {field: text_of(row, field, where) for field in self.fields}

    def parse_target(self, row: dict, where: str) -> Any:
        """The label of a raw row, checked."""
        raise NotImplementedError

    def reference(self, row: dict) -> Any:
        """What `score` holds a prediction for this row against."""
        raise NotImplementedError

    def score(self, predictions: list, references: list) -> dict[str, float]:
        """Every metric of the task."""
        raise NotImplementedError

    # ---------------------------------------------------------------- rows

    def rows(self, split: str) -> list[dict]:
        """Parsed rows of a split.

        Raises:
            UserError: the data is not there, is empty, lacks a column, or holds an unknown label.
        """
        training = split == self.train_split
        limit = self.max_train_rows if training else self.max_evaluation_rows
        where = f"task '{self.name}', {self.source}/{split}"
        parsed = [self.parse(raw, f"{split}-{i}", f"{where}, row {i}") for i, raw in enumerate(self.raw_rows(split))]
        if not parsed:
            raise UserError(f"{where}: the data set is empty")
        return sample(parsed, limit)

    def parse(self, raw: dict, identity: str, where: str) -> dict:
        """One raw row in the shape that formulations read."""
        missing = [column for column in [*self.fields, self.target] if column not in raw]
        if missing:
            raise UserError(f"{where}: no column '{missing[0]}'; columns there: {', '.join(raw)}")
        identity = raw["id"] if isinstance(raw.get("id"), str) and raw["id"] else identity
        return {
            "id": identity,
            "inputs": self.parse_inputs(raw, where),
            "target": self.parse_target(raw, where),
        }

    def raw_rows(self, split: str) -> Iterator[dict]:
        """Rows as the source has them; a missing evaluation split is a part of the training rows."""
        if (split != self.train_split and split not in self.evaluation_splits) or not self._holds_out():
            return self.find(split)
        wanted = split != self.train_split
        return (row for row in self.find(self.train_split) if is_held_out(row, self.held_out) == wanted)

    def _holds_out(self) -> bool:
        """Whether the evaluation split is a part of the training rows; several splits must be there."""
        return len(self.evaluation_splits) == 1 and not self.has_split(self.evaluation_splits[0])

    def has_split(self, split: str) -> bool:
        """Whether the source has the split. A local folder that can train is not mixed with the hub."""
        from lmlab.text import sources

        if sources.locate(self.source, split, self.data_dir):
            return True
        if sources.locate(self.source, self.train_split, self.data_dir):
            return False
        try:
            return next(iter(self.find(split)), None) is not None
        except UserError:
            return False

    def find(self, split: str) -> Iterator[dict]:
        """Raw rows from the local folder or the hub. The room's only door to the data."""
        from lmlab.text import sources

        return sources.find(self.source, split, self.data_dir, hub=self.hub)

    # ---------------------------------------------------------------- scores

    @property
    def main_metric(self) -> str:
        """The key in `evaluate`'s metrics that tells a better run from a worse one."""
        return self.metric_key(self.metrics[0], self.evaluation_splits[0])

    def metric_key(self, metric: str, split: str) -> str:
        """`accuracy`, or `accuracy_matched` where several splits are scored separately."""
        return metric if len(self.evaluation_splits) == 1 else f"{metric}_{split.removeprefix('validation_')}"

    def readable(self, prediction: Any) -> Any:
        """A prediction as it is written to predictions.jsonl."""
        return prediction

    def accepted(self, row: dict) -> list:
        """Every prediction that is right for a row."""
        return [self.reference(row)]

    def record(self, row: dict, prediction: Any) -> dict[str, Any]:
        """A line of predictions.jsonl."""
        answer = self.readable(prediction)
        return {
            "id": row["id"],
            "inputs": row["inputs"],
            "prediction": answer,
            "references": self.accepted(row),
        }


def text_of(row: dict, column: str, where: str) -> str:
    """The text of a column, or a UserError."""
    if not isinstance(row[column], str):
        raise UserError(f"{where}: column '{column}' holds {row[column]!r}, not text")
    return row[column]


def content_hash(*parts: Any) -> int:
    """A 64-bit number that depends on the content alone, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def is_held_out(row: dict, share: float) -> bool:
    """Whether a raw row belongs to the held-out share. By content, so that equal rows stay together."""
    text = [value for column, value in sorted(row.items()) if column not in ("id", "idx")]
    return content_hash(*text) < share * 2**64


def sample(rows: list[dict], limit: int | None) -> list[dict]:
    """`limit` rows drawn by hash (a larger limit contains a smaller one's rows), in their old order."""
    if limit is None or limit >= len(rows):
        return rows
    order = sorted(range(len(rows)), key=lambda i: content_hash(rows[i]["inputs"], i))
    return [rows[i] for i in sorted(islice(order, limit))]
