"""One number for a text or a pair of texts."""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from lmlab.errors import UserError
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task
from lmlab.tasks.classification import short

if TYPE_CHECKING:
    from lmlab.tasks.tallies import Tallies


@dataclass(kw_only=True)
class Regression(Task):
    """A text, or a pair of texts, and a number. The arguments of `Task`, and

    Args:
        low, high: the range of the numbers, None: no limit; a row outside is refused.
    """

    kind = "regression"
    num_outputs = 1
    known_metrics = dict.fromkeys(scores.VALUE_METRICS)

    low: float | None = None
    high: float | None = None

    def parse_target(self, row: dict, where: str) -> float:
        try:
            value = float(row[self.target])
        except (TypeError, ValueError):
            value = math.nan
        low, high = self.range
        if not (low <= value <= high and math.isfinite(value)):
            found = f"label {row[self.target]!r} is no number from {low:g} to {high:g}"
            raise UserError(f"{where}: {found}; the row: {short(row)}")
        return value

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the greatest number that a row may give."""
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def reference(self, row: dict) -> float:
        return row["target"]

    def score(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        """Correlations of predicted and given numbers.

        A prediction that is no number counts as one less than the smallest, so that it is never right (T5's -1).

        Predictions that hardly differ, beside the references, count as constant: 0, and the flag `degenerate`. A
        network that has collapsed still gives numbers that differ in their last digits, whose correlation is chance.
        """
        return scores.compute(self.metrics, self._numbers(predictions, references), references, scores.VALUE_METRICS)

    def tallies(self, metric: str, predictions: list[float], references: list[float]) -> "Tallies":
        from lmlab.tasks import tallies

        if metric not in scores.VALUE_METRICS:
            return super().tallies(metric, predictions, references)
        return tallies.of_correlation(metric, self._numbers(predictions, references), references)

    def _numbers(self, predictions: list[float], references: list[float]) -> list[float]:
        """The predictions as they count."""
        is_number = [isinstance(p, int | float) and math.isfinite(p) for p in predictions]
        wrong = (min(references) if self.low is None else self.low) - 1
        predictions = [p if fine else wrong for p, fine in zip(predictions, is_number, strict=True)]
        if scores.is_collapsed(predictions, references):
            predictions = [predictions[0]] * len(predictions)
        return predictions

    def constant_answers(self, train_rows: list[dict], rows: list[dict], metric: str | None = None) -> list[float]:
        """The mean of the numbers learnt from; under a correlation each constant scores 0."""
        return [fmean(row["target"] for row in train_rows)] * len(rows)
