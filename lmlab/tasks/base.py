"""What every task is: labelled rows in one shape, references in the task's own words, and a score.

A row is `{"id": str, "inputs": {field: text or words}, "target": ...}`. Predictions and references are in the
task's own words (label names, numbers, answers), so that any formulation, also one that generates text, is
scored by one function.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from lmlab.errors import UserError, nearest
from lmlab.tasks import metrics as scores
from lmlab.tasks.nested import unfold


@dataclass(kw_only=True)
class Task:
    """A labelled data set.

    Args:
        name: how the task is called in tables and run folders.
        fields: columns that hold the inputs, in the order in which a model reads them.
        metrics: names of the scores; the first one is the task's number.
        source: name of its data (a folder under `data_dir`), see `lmlab.text.sources`.
        hub: where the hub keeps the data, passed on to `lmlab.text.sources.find`.
        train, validation: files of the user's own, in place of `source`.
        columns: where a column stands in a nested row, see `lmlab.tasks.nested.unfold`; None: rows are flat.
        target: column of the label; some kinds do without.
        train_split: split to learn from; None where the data can only be scored.
        evaluation_splits: splits scored separately, the first one chooses the best checkpoint.
        held_out: share of the training rows, by a hash of their content, that is scored where there is no
            other split.
        max_train_rows, max_evaluation_rows: keep so many rows of a split, drawn by hash; None keeps all.
        data_dir: the folder of local data sets, or None.
    """

    perfect: ClassVar[float] = 1.0  # the best score that there is; 100 for metrics in per cent
    kind: ClassVar[str]  # classification | regression | tagging | span | choice | text
    known_metrics: ClassVar[Mapping[str, str | None]]  # what `score` computes, and the package that it needs for it

    name: str
    fields: list[str]
    metrics: list[str]
    source: str | None = None
    hub: Any = None
    train: str | None = None
    validation: str | None = None
    columns: dict[str, str] | None = None
    target: str | None = "label"
    train_split: str | None = "train"
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
        if not self.input_columns or not self.metrics or not self.evaluation_splits:
            raise UserError(f"task '{self.name}': fields, metrics and evaluation_splits must name at least one each")
        if not (self.source or self.own_files):
            raise UserError(f"task '{self.name}' has no data yet: name your file with task.train=FILE")
        scores.check_names(self.metrics, self.known_metrics)
        scores.check_packages(self.metrics, self.known_metrics)

    # ---------------------------------------------------------------- what a kind of task fills in

    @property
    def num_outputs(self) -> int:
        """Numbers that a head gives for each thing asked: classes, 1 for a value, 2 for start and end."""
        raise NotImplementedError

    @property
    def input_columns(self) -> list[str]:
        """The columns that `parse_inputs` reads."""
        return self.fields

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

    def constant_answers(self, train_rows: list[dict], rows: list[dict]) -> list | None:
        """Predictions for `rows` that do not depend on what is read; None where there is no sensible one."""
        return None

    # ---------------------------------------------------------------- rows

    def rows(self, split: str | None) -> list[dict]:
        """Parsed rows of a split.

        Raises:
            UserError: the data is not there, is empty, lacks a column, or holds an unknown label.
        """
        training = split == self.train_split
        limit = self.max_train_rows if training else self.max_evaluation_rows
        where = self._place(split)
        flat = self._flattened(self.raw_rows(split), where)
        parsed = [self.parse(row, f"{split}-{i}", place) for i, (row, place) in enumerate(flat)]
        if not parsed:
            raise UserError(f"{where}: the data set is empty")
        report_empty(parsed, where)
        return sample(parsed, limit)

    def training_targets(self) -> Iterator[Any]:
        """What the column of the label holds in all training rows, held-out ones included."""
        for row, where in self._flattened(self.find(self.train_split), self._place(self.train_split)):
            check_columns(row, [self.target], where)
            yield row[self.target]

    def _place(self, split: str) -> str:
        """Where the rows of a split are, for messages."""
        return f"task '{self.name}', {self.own_file(split) or self.train or f'{self.source}/{split}'}"

    def _flattened(self, raw_rows: Iterator[dict], where: str) -> Iterator[tuple[dict, str]]:
        """Flat rows, each with its place for messages."""
        for number, raw in enumerate(raw_rows):
            place = f"{where}, row {number}"
            yield from ((row, place) for row in self.flat_rows(raw, place))

    def flat_rows(self, raw: dict, where: str) -> Iterator[dict]:
        """The rows that a row of the source holds: one, or several in a nested format."""
        yield from unfold(raw, self.columns, where) if self.columns else [raw]

    def parse(self, raw: dict, identity: str, where: str) -> dict:
        """One flat row in the shape that formulations read."""
        check_columns(raw, [*self.input_columns, *([self.target] if self.target else [])], where)
        identity = raw["id"] if isinstance(raw.get("id"), str) and raw["id"] else identity
        return {
            "id": identity,
            "inputs": self.parse_inputs(raw, where),
            "target": self.parse_target(raw, where),
        }

    def raw_rows(self, split: str | None) -> Iterator[dict]:
        """Rows as the source has them; a missing evaluation split is a part of the training rows."""
        if split is None:
            raise UserError(f"task '{self.name}' has no training rows: it can only be scored (evaluate, evaluate_on)")
        if (split != self.train_split and split not in self.evaluation_splits) or not self._holds_out():
            return self.find(split)
        wanted = split != self.train_split
        return (row for row in self.find(self.train_split) if is_held_out(row, self.held_out) == wanted)

    def _holds_out(self) -> bool:
        """Whether the evaluation split is a part of the training rows; several splits must be there."""
        alone = self.train_split is not None and len(self.evaluation_splits) == 1
        return alone and not self.has_split(self.evaluation_splits[0])

    def has_split(self, split: str) -> bool:
        """Whether the source has the split. A local folder that can train is not mixed with the hub."""
        from lmlab.text import sources

        if self.own_files:
            return self.own_file(split) is not None
        if sources.locate(self.source, split, self.data_dir):
            return True
        if self.train_split and sources.locate(self.source, self.train_split, self.data_dir):
            return False
        try:
            return next(iter(self.find(split)), None) is not None
        except UserError:
            return False

    def find(self, split: str) -> Iterator[dict]:
        """Raw rows from a file of the user's, the local folder or the hub. The room's only door to the data."""
        from lmlab.text import sources

        if self.own_files:
            key = "train" if split == self.train_split else "validation"
            if self.own_file(split) is None:
                raise UserError(f"task '{self.name}' has no file for '{split}': name one with task.{key}=FILE")
            return sources.read_named(self.own_file(split), f"task.{key}")
        return sources.find(self.source, split, self.data_dir, hub=self.hub)

    @property
    def own_files(self) -> dict[str, str]:
        """The user's files by split."""
        files = {self.train_split: self.train, self.evaluation_splits[0]: self.validation}
        return {split: file for split, file in files.items() if split and file}

    def own_file(self, split: str) -> str | None:
        """The user's file of a split, or None."""
        return self.own_files.get(split)

    # ---------------------------------------------------------------- scores

    def baseline(self, train_rows: list[dict], rows: list[dict]) -> dict[str, float]:
        """The scores of the best answer that is always the same, learnt from the training rows; {} if there is none."""
        answers = self.constant_answers(train_rows, rows) if train_rows else None
        if answers is None:
            return {}
        found = self.score(answers, [self.reference(row) for row in rows])
        return {name: value for name, value in found.items() if name != "degenerate"}

    def score_records(self, records: list[dict]) -> dict[str, float]:
        """The scores of lines of predictions.jsonl, as `record` wrote them."""
        predictions, references = zip(*map(self.from_record, records), strict=True)
        return self.score(list(predictions), list(references))

    def from_record(self, record: dict) -> tuple[Any, Any]:
        """(prediction, reference) of a line of predictions.jsonl, in the form that `score` takes."""
        return record["prediction"], record["references"][0]

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


def check_columns(row: dict, columns: list[str], where: str) -> None:
    """Raise UserError for a column that a row lacks."""
    for column in columns:
        if column not in row:
            raise UserError(f"{where}: no column '{column}'{nearest(column, row)}; columns there: {', '.join(row)}")


def report_empty(rows: list[dict], where: str) -> None:
    """Tell how many rows have an empty text to read. Raises UserError when all have."""
    empty = [row["id"] for row in rows if any(is_blank(value) for value in row["inputs"].values())]
    if len(empty) == len(rows):
        raise UserError(f"{where}: every row has an empty text; do the fields name the right columns?")
    if empty:
        message = "%s: %d of %d rows have an empty text, the first one is '%s'"
        logging.getLogger(__name__).warning(message, where, len(empty), len(rows), empty[0])


def is_blank(value: str | list[str]) -> bool:
    """Whether a text, or all of several texts, is empty or white space."""
    return not "".join(value).strip()


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
