"""Several tasks and one average, as GLUE and SuperGLUE count it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from lmlab.errors import UserError, nearest
from lmlab.tasks.base import Task


@dataclass(kw_only=True)
class Suite:
    """Tasks that are learnt one after the other, each by itself (Wang et al. 2018, arXiv:1804.07461; 2019,
    arXiv:1905.00537).

    Args:
        name: how the suite is called in tables and run folders.
        tasks: options of the group `task`, and of each the metrics that count.
        apart: tasks without which the average is given, too.
    """

    name: str
    tasks: dict[str, list[str]]
    apart: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.tasks or not all(self.tasks.values()):
            raise UserError(f"suite.tasks must name tasks, and of each the metrics that count, not {self.tasks}")
        for name in self.apart:
            if name not in self.tasks:
                raise UserError(f"suite.apart: {name} is none of suite.tasks{nearest(name, self.tasks)}")

    def check(self, tasks: Mapping[str, Task]) -> None:
        """Raise UserError for a metric that its task does not measure."""
        for name, task in tasks.items():
            for metric in self.tasks[name]:
                if metric not in task.metrics:
                    hint = nearest(metric, task.metrics)
                    raise UserError(f"suite.tasks.{name}: no metric {metric!r} there{hint}; {', '.join(task.metrics)}")

    def score(self, name: str, task: Task, metrics: Mapping[str, float]) -> float:
        """A task's number in the average: the mean of its metrics, over all its splits, as a fraction."""
        keys = [task.metric_key(metric, split) for metric in self.tasks[name] for split in task.evaluation_splits]
        return fmean(metrics[key] for key in keys) / task.perfect

    def averages(self, scores: Mapping[str, float]) -> dict[str, float]:
        """The mean over all tasks, each counting the same; and the mean over those that are not `apart`."""
        found = {"average": fmean(scores.values())}
        if kept := [score for name, score in scores.items() if name not in self.apart and self.apart]:
            found[f"average_without_{'_'.join(self.apart)}"] = fmean(kept)
        return found
