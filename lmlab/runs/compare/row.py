"""A row of a table: runs that count as one, and what they say together."""

import re
from dataclasses import dataclass
from typing import Any

from lmlab.runs.compare.reading import Entry
from lmlab.runs.statistics import lower_is_better, over_seeds


@dataclass(eq=False)
class Row:
    """Runs that differ in nothing but the seed; all finished, or one that is not."""

    name: str
    entries: list[Entry]
    repeats: int = 0  # further runs of a seed that is counted already

    @property
    def status(self) -> str:
        return self.entries[0].status

    @property
    def is_suite(self) -> bool:
        return self.entries[0].is_suite

    @property
    def seeds(self) -> list:
        return sorted({entry.summary["seed"] for entry in self.entries} - {None})

    def values(self, metric: str) -> list[float]:
        found = [entry.metrics.get(metric, entry.summary.get(metric)) for entry in self.entries]
        return [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]

    def statistics(self, metric: str) -> dict[str, Any]:
        """What a metric is over the seeds, as `over_seeds` says it; nothing at all where a run lacks the metric."""
        values, seeds = self.values(metric), [entry.summary["seed"] for entry in self.entries]
        if len(values) != len(seeds):
            return over_seeds({})
        oldest_first = reversed(list(zip(seeds, values, strict=True)))
        return over_seeds(dict(oldest_first), lower_is_better(metric))

    def mean(self, metric: str) -> float | None:
        return self.statistics(metric)["mean"]

    @property
    def degenerate(self) -> list:
        """Seeds of the runs that give every example the same answer."""
        return [entry.summary["seed"] for entry in self.entries if _is_degenerate(entry.metrics)]

    def baseline(self, metric: str) -> float | None:
        """The score of an answer that is always the same, where it is known."""
        return (self.entries[0].summary["baseline"] or {}).get(metric)


def _is_degenerate(metrics: dict[str, float | None]) -> bool:
    """Whether `degenerate` is set, or `degenerate_<split>` where several splits are scored."""
    return any(value and re.match(r"degenerate(_|$)", name) for name, value in metrics.items())
