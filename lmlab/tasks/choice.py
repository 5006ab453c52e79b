"""Which of several texts is the right one?"""

from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lmlab.errors import UserError
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task, content_hash, text_of
from lmlab.tasks.classification import most_frequent, short

if TYPE_CHECKING:
    from lmlab.tasks.tallies import Tallies


@dataclass(kw_only=True)
class Choice(Task):
    """Multiple choice: texts to read, none or several, and texts of which one is to be chosen.

    `inputs` has the fields and `choices`, the list of texts; their number may differ from row to row. A prediction
    is the index of a choice, or, from a model that writes, a text that is none of them. `target` is the column of the
    right one: its index, its text, or a list of texts of which each is right. None: it is the first of `choices`; the
    choices then stand in an order drawn by their hash, so that a model that likes the first one best has no advantage.
    The arguments of `Task`, and

    Args:
        choices: columns of the choices, or one column that holds a list of them.
        report_by: a column for each of whose values the accuracy is reported, too; None: no.
    """

    kind = "choice"
    num_outputs = 1
    known_metrics = dict.fromkeys(("accuracy", "exact_match", "f1"))

    choices: list[str]
    report_by: str | None = None

    @property
    def perfect(self) -> float:
        return 1.0 if self.metrics[0] == "accuracy" else 100.0

    @property
    def input_columns(self) -> list[str]:
        return [*self.fields, *self.choices, *([self.report_by] if self.report_by else [])]

    def parse(self, raw: dict, identity: str, where: str) -> dict:
        """A row; with `report_by` its value as `group`, and with several right choices all their indices as `right`."""
        row, right = super().parse(raw, identity, where), self.right_choices(raw, where)
        row |= {"right": right} if len(right) > 1 else {}
        return row | ({"group": raw[self.report_by]} if self.report_by else {})

    def parse_inputs(self, row: dict, where: str) -> dict[str, Any]:
        texts = self.given_choices(row, where)
        return super().parse_inputs(row, where) | {"choices": texts if self.target else first_moved(texts)}

    def parse_target(self, row: dict, where: str) -> int:
        return self.right_choices(row, where)[0]

    def given_choices(self, row: dict, where: str) -> list[str]:
        """The texts of the choices, in the order of the source."""
        alone = row[self.choices[0]] if len(self.choices) == 1 else None
        texts = [text_of(row, column, where) for column in self.choices] if alone is None else alone
        if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{where}: {', '.join(self.choices)} must give two or more texts: {short(row)}")
        return texts

    def right_choices(self, row: dict, where: str) -> list[int]:
        """Indices of the right choices, at least one."""
        texts = self.given_choices(row, where)
        if self.target is None:
            return [first_moved(texts).index(texts[0])]
        right = indices_of(row[self.target], texts)
        if not right:
            raise UserError(f"{where}: {row[self.target]!r} is neither a choice nor the index of one: {short(row)}")
        return right

    def reference(self, row: dict) -> dict[str, Any]:
        right = row.get("right", [row["target"]])
        return {"choices": row["inputs"]["choices"], "right": right, "group": row.get("group")}

    def accepted(self, row: dict) -> list[str]:
        return [row["inputs"]["choices"][index] for index in self.reference(row)["right"]]

    def record(self, row: dict, prediction: int | str) -> dict[str, Any]:
        return super().record(row, prediction) | {"prediction": text_said(prediction, row["inputs"]["choices"])}

    def from_record(self, record: dict) -> tuple[int | str, dict[str, Any]]:
        choices, said = record["inputs"]["choices"], record["prediction"]
        right = [index for index, text in enumerate(choices) if text in record["references"]]
        prediction = choices.index(said) if said in choices else said
        return prediction, {"choices": choices, "right": right, "group": None}

    def score(self, predictions: list[int | str], references: list[dict[str, Any]]) -> dict[str, float]:
        """`accuracy`, the share of right choices; `exact_match` and `f1` compare texts by SQuAD's rules (per cent)."""
        hits = [float(index in row["right"]) for index, row in zip(predictions, references, strict=True)]
        found = {"accuracy": fmean(hits)}
        if set(self.metrics) - {"accuracy"}:
            pairs = zip(predictions, references, strict=True)
            exact, f1 = zip(*(text_scores(index, row) for index, row in pairs), strict=True)
            found |= {"exact_match": 100 * fmean(exact), "f1": 100 * fmean(f1)}
        found = {name: found[name] for name in self.metrics}
        for group in sorted({row["group"] for row in references} - {None}):
            chosen = [hit for hit, row in zip(hits, references, strict=True) if row["group"] == group]
            found[f"accuracy_{group}"] = fmean(chosen)
        if len(predictions) > 1 and scores.is_constant(predictions):
            found["degenerate"] = 1.0
        return found

    def tallies(self, metric: str, predictions: list[int | str], references: list[dict[str, Any]]) -> "Tallies":
        from lmlab.tasks import tallies

        make = tallies.averaged if metric in Choice.known_metrics else tallies.recomputed
        return make(self, metric, predictions, references)

    def constant_answers(self, train_rows: list[dict], rows: list[dict], metric: str | None = None) -> list[int]:
        """The place where most right choices stand, whatever the metric."""
        place = most_frequent(chain.from_iterable(self.reference(row)["right"] for row in train_rows))
        return [min(place, len(row["inputs"]["choices"]) - 1) for row in rows]


def first_moved(texts: list[str]) -> list[str]:
    """The texts with the first one moved to a place drawn by their hash."""
    first, *others = texts
    place = content_hash(*texts) % len(texts)
    return [*others[:place], first, *others[place:]]


def indices_of(label: Any, texts: list[str]) -> list[int]:
    """Places of the texts that a label names: itself a text, a list of texts, or the index of one."""
    wanted = label if isinstance(label, list) else [str(label)]
    named = [index for index, text in enumerate(texts) if text in wanted]
    return named or [index for index in range(len(texts)) if str(label) == str(index)]


def text_said(prediction: int | str, choices: list[str]) -> str:
    """The text of a choice, or a text that is none as it stands."""
    return prediction if isinstance(prediction, str) else choices[prediction]


def text_scores(prediction: int | str, reference: dict[str, Any]) -> tuple[float, float]:
    """Exact match and F1 of a prediction's text with the right ones."""
    texts = reference["choices"]
    return scores.answer_scores(text_said(prediction, texts), [texts[each] for each in reference["right"]])
