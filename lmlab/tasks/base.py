"""What every task is: labelled rows in one shape, references in the task's own words, and a score.

A row is `{"id": str, "inputs": {field: text or words}, "target": ...}`. Predictions and references are in the
task's own words (label names, numbers, answers), so that any formulation, also one that generates text, is
scored by one function.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lmlab.errors import UserError, nearest
from lmlab.tasks import metrics as scores
from lmlab.tasks.nested import unfold

if TYPE_CHECKING:
    from lmlab.tasks.tallies import Tallies


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
        held_out: share of the training rows, by a hash of what they read, that is scored where there is no
            other split.
        max_train_rows, max_evaluation_rows: keep so many rows of a split, drawn by hash; None keeps all.
        unlabelled_split: split of rows without labels, where there is one; see `unlabelled_rows`.
        max_unlabelled_rows: keep so many of them.
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
    unlabelled_split: str | None = "unlabeled"
    max_unlabelled_rows: int | None = None
    data_dir: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError(f"task.held_out={self.held_out} must lie between 0 and 1: a share of the training rows")
        for key in ("max_train_rows", "max_evaluation_rows", "max_unlabelled_rows"):
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

    def constant_answers(self, train_rows: list[dict], rows: list[dict], metric: str | None = None) -> list | None:
        """Predictions for `rows` that do not depend on what is read; None where there is no sensible one.

        They are those that score best on the training rows under `metric` (None: the first of the task's metrics).
        """
        return None

    # ---------------------------------------------------------------- rows

    def rows(self, split: str | None) -> list[dict]:
        """Parsed rows of a split.

        Raises:
            UserError: the data is not there, is empty, lacks a column, or holds an unknown label.
        """
        rows = self._every_row(split)
        return sample(rows, self.max_train_rows if split == self.train_split else self.max_evaluation_rows)

    def unlabelled_rows(self) -> list[dict]:
        """Parsed rows whose target is None: of `unlabelled_split`, or else training rows beyond `max_train_rows`.

        There are none where the data has no such split and all training rows are learnt.
        """
        if self.unlabelled_split is not None and self.has_split(self.unlabelled_split):
            rows = list(self._without_labels(self.unlabelled_split))
        elif self.train_split is not None and self.max_train_rows is not None:
            every = self._every_row(self.train_split)
            learnt = {id(row) for row in sample(every, self.max_train_rows)}
            left_out = (row for row in every if id(row) not in learnt)
            rows = [{"id": row["id"], "inputs": row["inputs"], "target": None} for row in left_out]
        else:
            rows = []
        return sample(rows, self.max_unlabelled_rows)

    def _without_labels(self, split: str) -> Iterator[dict]:
        """Parsed rows of a split in which the column of the label may be missing."""
        where, reader = self._place(split), copy(self)
        if self.columns is not None:
            reader.columns = {name: path for name, path in self.columns.items() if name != self.target}
        for i, (row, place) in enumerate(reader._flattened(self.raw_rows(split), where)):
            check_columns(row, self.input_columns, place)
            yield {"id": f"{split}-{i}", "inputs": self.parse_inputs(row, place), "target": None}

    def _every_row(self, split: str | None) -> list[dict]:
        """Parsed rows of a split, as many as there are."""
        training, where = split == self.train_split, self._place(split)
        flat = self._flattened(self.raw_rows(split), where)
        if self._is_part(split):
            flat = (found for found in flat if self._is_held_out(found[0]) != training)
        parsed = [self.parse(row, f"{split}-{i}", place) for i, (row, place) in enumerate(flat)]
        if not parsed:
            raise UserError(f"{where}: {self._why_none_is_left(split)}")
        report_empty(parsed, where)
        if not training and self._scores_what_it_learns:
            message = "%s: task.validation is task.train, so the score tells how well the rows are learnt by heart"
            logging.getLogger(__name__).warning(message, where)
        return parsed

    def split_training(
        self, rows: list[dict], share: float, salt: str = "learning rate"
    ) -> tuple[list[dict], list[dict]]:
        """Parsed training rows in two: those to learn from, and at least `share` of them to judge a choice by.

        Rows that read the same longest text stay together, as where a share is held out; `salt` makes it another
        share than that. The division depends on nothing but the rows.

        Raises:
            UserError: all rows read the same text, so that one part would be empty.
        """
        texts = [self._longest_text(row["inputs"]) for row in rows]
        order = sorted(set(texts), key=lambda text: content_hash(text, salt))
        if len(order) < 2:
            found = f"{len(rows)} training rows with {len(order)} different texts"
            raise UserError(f"task '{self.name}': {found} cannot be divided to choose a {salt}; it takes two or more")
        counts, judged, size = Counter(texts), set(), 0
        for text in order[:-1]:
            if size >= share * len(rows):
                break
            judged.add(text)
            size += counts[text]
        learn = [row for row, text in zip(rows, texts, strict=True) if text not in judged]
        return learn, [row for row, text in zip(rows, texts, strict=True) if text in judged]

    def training_targets(self) -> Iterator[Any]:
        """What the column of the label holds in all training rows, held-out ones included."""
        for row, where in self._flattened(self.raw_rows(self.train_split), self._place(self.train_split)):
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
        """Rows as the source has them, at least one; for an evaluation split that is missing all training rows.

        Raises:
            UserError: the data is not there, or, once the first row is asked for, has no rows.
        """
        if split is None:
            raise UserError(f"task '{self.name}' has no training rows: it can only be scored (evaluate, evaluate_on)")
        source = self.train_split if self._is_part(split) else split
        return not_empty(self.find(source), self._place(source))

    def _is_part(self, split: str | None) -> bool:
        """Whether a split is a part of the training rows, which several evaluation splits cannot be."""
        alone = self.train_split is not None and len(self.evaluation_splits) == 1
        known = split in (self.train_split, *self.evaluation_splits)
        return alone and known and not self.has_split(self.evaluation_splits[0])

    def _is_held_out(self, row: dict) -> bool:
        """Whether a flat row belongs to the held-out share."""
        return content_hash(self._longest_text(row)) < self.held_out * 2**64

    def _longest_text(self, columns: Mapping[str, Any]) -> str:
        """What rows must not share across a division: a passage with its questions, a text with another label."""
        texts = [columns.get(name, "") for name in self.fields] or columns.values()
        return max(map(str, texts), key=len)

    def _why_none_is_left(self, split: str) -> str:
        """What to say of a split without rows, of a source that has some."""
        if not self._is_part(split):
            return "no row is left; each lacks a label or a question"
        count = sum(1 for _ in self.raw_rows(split))
        fell, mend = ("all", "lower") if split == self.train_split else ("none", "raise")
        found = f"{fell} of {count} rows fell into the held-out {100 * self.held_out:g} % (equal texts stay together)"
        if self.own_files:
            return f"{found}; name a file of rows to score with task.validation=FILE, or {mend} task.held_out"
        place = f"{self.data_dir or '<LMLAB_DATA>'}/{self.source}/{self.evaluation_splits[0]}.jsonl"
        return f"{found}; put rows to score at {place}, or {mend} the share with ++task.held_out=SHARE"

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

    @property
    def _scores_what_it_learns(self) -> bool:
        """Whether the user names one file for both."""
        return len({Path(file).resolve() for file in self.own_files.values()}) < len(self.own_files)

    def own_file(self, split: str) -> str | None:
        """The user's file of a split, or None."""
        return self.own_files.get(split)

    # ---------------------------------------------------------------- scores

    def baseline(self, train_rows: list[dict], rows: list[dict]) -> dict[str, float]:
        """The score under each metric of the answer that is always the same and best under it; {} if there is none.

        The answer is chosen on the training rows. What is reported beside the metrics is scored as the first one.
        """
        if not train_rows or self.constant_answers(train_rows, rows) is None:
            return {}
        references = [self.reference(row) for row in rows]
        scored = {name: self.score(self.constant_answers(train_rows, rows, name), references) for name in self.metrics}
        found = scored[self.metrics[0]] | {name: found[name] for name, found in scored.items()}
        return {name: value for name, value in found.items() if name != "degenerate"}

    def score_records(self, records: list[dict]) -> dict[str, float]:
        """The scores of lines of predictions.jsonl, as `record` wrote them."""
        return self.score(*self.from_records(records))

    def from_records(self, records: list[dict]) -> tuple[list, list]:
        """Predictions and references of lines of predictions.jsonl, in the form that `score` takes."""
        predictions, references = zip(*map(self.from_record, records), strict=True)
        return list(predictions), list(references)

    def from_record(self, record: dict) -> tuple[Any, Any]:
        """(prediction, reference) of one line."""
        return record["prediction"], record["references"][0]

    def tallies(self, metric: str, predictions: list, references: list) -> "Tallies":
        """A metric as a function of how often each example is drawn, for `lmlab compare`. Here: scored anew each time;
        a kind of task that knows what each example adds to its metrics says so.
        """
        from lmlab.tasks import tallies

        return tallies.recomputed(self, metric, predictions, references)

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


def not_empty(rows: Iterable[dict], where: str) -> Iterator[dict]:
    """The rows. Raises UserError when there is none."""
    rows = iter(rows)
    if (first := next(rows, None)) is None:
        raise UserError(f"{where}: the data set is empty, it has no rows")
    yield first
    yield from rows


def sample(rows: list[dict], limit: int | None) -> list[dict]:
    """`limit` rows drawn by hash (a larger limit contains a smaller one's rows), in their old order."""
    if limit is None or limit >= len(rows):
        return rows
    order = sorted(range(len(rows)), key=lambda i: content_hash(rows[i]["inputs"], i))
    return [rows[i] for i in sorted(islice(order, limit))]
