"""A question, and the stretch of a text that answers it."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmlab.errors import UserError
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task, text_of
from lmlab.tasks.classification import short

if TYPE_CHECKING:
    from lmlab.tasks.tallies import Tallies

METRICS = ("exact_match", "f1")


@dataclass(kw_only=True)
class SpanExtraction(Task):
    """Extractive question answering (SQuAD 1.1 and 2.0, Rajpurkar et al. 2016, 2018).

    `fields` are the columns of the question and of the context, in this order; `target` holds
    `{"text": [...], "answer_start": [...]}` with starts in characters of the context.

    A prediction is a string, or `{"text", "null_odds"}`: the best non-empty answer, and how much better the
    null answer scored. With `unanswerable` the answer is "" when `null_odds` exceeds `null_threshold`. The
    arguments of `Task`, and

    Args:
        unanswerable: whether questions may have no answer (SQuAD 2.0); otherwise a row without one is
            refused.
        null_threshold: margin by which the null answer must win (BERT's `null_score_diff_threshold`).
        split_chinese: count Chinese characters as words, for text without spaces (see `normalize_answer`).
    """

    kind = "span"
    perfect = 100.0
    num_outputs = 2
    known_metrics = dict.fromkeys(METRICS)

    unanswerable: bool = False
    null_threshold: float = 0.0
    split_chinese: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.fields) != 2:
            raise UserError(f"task '{self.name}': fields must name question and context, not {self.fields}")

    def rows(self, split: str) -> list[dict]:
        rows = super().rows(split)
        lost = sum(start < 0 for row in rows for start in row["target"]["answer_start"])
        if lost:
            message = "%s/%s: %d answers do not occur in their context; they are scored, but not learnt from"
            logging.getLogger(__name__).warning(message, self.name, split, lost)
        return rows

    def parse_target(self, row: dict, where: str) -> dict[str, list]:
        """Answers with their starts; one that points elsewhere is mended, or -1 if the context lacks it."""
        answers, context = row[self.target], text_of(row, self.fields[1], where)
        if not isinstance(answers, dict) or not {"text", "answer_start"} <= answers.keys():
            form = "{'text': [...], 'answer_start': [...]}"
            raise UserError(f"{where}: '{self.target}' is not {form}: {short(row)}")
        texts, starts = list(answers["text"]), list(answers["answer_start"])
        if len(texts) != len(starts) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{where}: '{self.target}' does not give one start for each text: {short(row)}")
        if not texts and not self.unanswerable:
            raise UserError(f"{where}: no answer, which task.unanswerable=true would allow: {short(row)}")
        starts = [locate(context, text, start) for text, start in zip(texts, starts, strict=True)]
        return {"text": texts, "answer_start": starts}

    def reference(self, row: dict) -> list[str]:
        return row["target"]["text"]

    def accepted(self, row: dict) -> list[str]:
        return row["target"]["text"] or [""]

    def readable(self, prediction: str | dict) -> str:
        """The final answer."""
        if isinstance(prediction, str):
            return prediction
        return "" if self.unanswerable and prediction["null_odds"] > self.null_threshold else prediction["text"]

    def score(self, predictions: list[str | dict], references: list[list[str]]) -> dict[str, float]:
        """`exact_match` and `f1` in per cent by the official rules.

        For SQuAD 2.0 also `has_answer_*` and `no_answer_*`, and, where `null_odds` are given,
        `best_exact_match` and `best_f1` with their thresholds: the best that any threshold would have given
        on these examples, reported beside the score and never in its place.
        """
        answers = [self.readable(prediction) for prediction in predictions]
        exact, f1 = zip(*map(self._answer_scores, answers, references), strict=True)
        result = {"exact_match": percent(exact), "f1": percent(f1)}
        result = {name: result[name] for name in self.metrics}
        if self.unanswerable:
            result |= self._score_by_answerability(exact, f1, references)
            if all(isinstance(prediction, dict) for prediction in predictions):
                result |= self._score_at_best_threshold(predictions, references)
        if len(answers) > 1 and scores.is_constant(answers):
            result["degenerate"] = 1.0
        return result

    def tallies(self, metric: str, predictions: list[str | dict], references: list[list[str]]) -> "Tallies":
        from lmlab.tasks import tallies

        make = tallies.averaged if metric in METRICS else tallies.recomputed
        return make(self, metric, predictions, references)

    def constant_answers(self, train_rows: list[dict], rows: list[dict], metric: str | None = None) -> list[str]:
        """No answer, the only one that every context allows."""
        return [""] * len(rows)

    def from_record(self, record: dict) -> tuple[str, list[str]]:
        return record["prediction"], [gold for gold in record["references"] if gold]

    def _answer_scores(self, prediction: str, golds: list[str]) -> tuple[float, float]:
        return scores.answer_scores(prediction, golds, self.split_chinese)

    def _score_by_answerability(self, exact, f1, references) -> dict[str, float]:
        result = {}
        for name, wanted in (("has_answer", True), ("no_answer", False)):
            chosen = [i for i, golds in enumerate(references) if bool(golds) == wanted]
            if chosen:
                result[f"{name}_exact_match"] = percent([exact[i] for i in chosen])
                result[f"{name}_f1"] = percent([f1[i] for i in chosen])
        return result

    def _score_at_best_threshold(self, predictions: list[dict], references) -> dict[str, float]:
        answered, answerable = [bool(p["text"]) for p in predictions], [bool(golds) for golds in references]
        odds = [prediction["null_odds"] for prediction in predictions]
        pairs = [self._answer_scores(p["text"], golds) for p, golds in zip(predictions, references, strict=True)]
        result = {}
        for name, column in zip(METRICS, zip(*pairs, strict=True), strict=True):
            best, threshold = scores.best_threshold(column, answered, answerable, odds)
            result |= {f"best_{name}": 100 * best, f"best_{name}_threshold": threshold}
        return result


def locate(context: str, text: str, start: int) -> int:
    """Where `text` stands in `context`: at `start`, else at the occurrence nearest to it, else -1."""
    if context[start : start + len(text)] == text and start >= 0:
        return start
    found, position = [], context.find(text) if text else -1
    while position >= 0:
        found.append(position)
        position = context.find(text, position + 1)
    return min(found, key=lambda position: abs(position - start), default=-1)


def percent(values) -> float:
    """Mean in per cent."""
    return 100.0 * sum(values) / len(values)
