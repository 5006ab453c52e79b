"""One number for a text or a pair of texts."""

import math
from dataclasses import dataclass

from lmlab.errors import UserError
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task
from lmlab.tasks.classification import short


@dataclass(kw_only=True)
class Regression(Task):
    """A text, or a pair of texts, and a number. The arguments of `Task`, and

    Args:
        low, high: the range of the numbers; a row outside is refused.
    """

    kind = "regression"
    num_outputs = 1

    low: float
    high: float

    def parse_target(self, row: dict, where: str) -> float:
        try:
            value = float(row[self.target])
        except (TypeError, ValueError):
            value = math.nan
        if not self.low <= value <= self.high:  # NaN too
            found = f"label {row[self.target]!r} is no number from {self.low:g} to {self.high:g}"
            raise UserError(f"{where}: {found}; the row: {short(row)}")
        return value

    def reference(self, row: dict) -> float:
        return row["target"]

    def score(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        """Correlations of predicted and given numbers; a prediction that is no number counts as `low`."""
        is_number = [isinstance(p, int | float) and math.isfinite(p) for p in predictions]
        predictions = [p if fine else self.low for p, fine in zip(predictions, is_number, strict=True)]
        return scores.compute(self.metrics, predictions, references, scores.VALUE_METRICS)
