"""Whether rows of a table differ: their runs' predictions held against each other, example by example."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lmlab.runs.compare.reading import Entry
from lmlab.runs.compare.row import Row
from lmlab.runs.statistics import FEWEST_EXAMPLES, LEVEL, RESAMPLES, Difference, difference, holm, lower_is_better


class Question(NamedTuple):
    """How a metric follows from a run's predictions.

    Attributes:
        file: name of the file of predictions in the run's folder.
        split: the part of its lines that counts; None: all.
        score: the metric of some lines.
    """

    file: str
    split: str | None
    score: Callable[[list[dict]], float]


Ask = Callable[[Entry, str], Question]  # of a run and a metric; raises ValueError where no predictions tell the metric


@dataclass
class Test:
    """A row held against another one.

    Attributes:
        found: the difference, row minus reference; None where it cannot be tested, for the reason `problem`.
        p: that of the difference, corrected for the number of rows that were compared.
    """

    metric: str
    row: Row
    reference: Row
    found: Difference | None = None
    problem: str = ""
    p: float | None = None

    @property
    def verdict(self) -> str:
        """What can be said of the row, in a few words."""
        if self.found is None:
            return f"not tested: {self.problem}"
        if self.found.examples < FEWEST_EXAMPLES:
            return f"cannot be told: {self.found.examples} examples are too few"
        if self.p >= 1 - LEVEL:
            return "no difference shown"
        better = (self.found.effect < 0) == lower_is_better(self.metric)
        return "better" if better else "worse"


def test(
    rows: Sequence[Row], metrics: Sequence[str], ask: Ask, reference: Row | None = None, resamples: int = RESAMPLES
) -> list[Test]:
    """Hold every finished row against `reference`, by default the first one, which is the best, in each metric."""
    rows = [row for row in rows if row.status == "finished"]
    against = reference or next(iter(rows), None)
    others = [row for row in rows if row is not against]
    # The best row was found by looking at all pairs of rows; one that was named was not.
    family = len(others) if reference else len(rows) * (len(rows) - 1) // 2
    tests = []
    for metric in metrics:
        of_metric = [_test(metric, row, against, ask, resamples) for row in others]
        told = [each for each in of_metric if each.found]
        for each, p in zip(told, holm([each.found.p for each in told], family), strict=True):
            each.p = p
        tests += of_metric
    return tests


def _test(metric: str, row: Row, reference: Row, ask: Ask, resamples: int) -> Test:
    try:
        first, second = _answers(row, metric, ask), _answers(reference, metric, ask)
        _refuse_other_examples(row, first, reference, second)
        score = ask(reference.entries[0], metric).score
        return Test(metric, row, reference, difference(first, second, score, resamples))
    except ValueError as error:
        return Test(metric, row, reference, problem=str(error))


def _answers(row: Row, metric: str, ask: Ask) -> dict[Any, list[dict]]:
    """seed -> the lines of predictions that tell the metric, ordered by their ids."""
    found = {}
    for entry in row.entries:
        question = ask(entry, metric)
        try:
            lines = entry.run.predictions(question.file)
        except ValueError as error:
            raise ValueError(f"{entry.run.path}: {error}") from error
        kept = [line for line in lines if question.split is None or line.get("split") == question.split]
        if not kept:
            raise ValueError(f"{entry.run.path}: no predictions of {question.split or 'any example'}")
        found[entry.summary["seed"]] = _in_order(kept)
    return found


def _in_order(lines: list[dict]) -> list[dict]:
    """Lines by id; of lines with the same id, as they come."""
    return sorted(({key: value for key, value in line.items() if key != "split"} for line in lines), key=_identity)


def _identity(line: dict) -> str:
    return str(line["id"])


def _refuse_other_examples(row: Row, first: dict, reference: Row, second: dict) -> None:
    """Raise ValueError unless all runs were scored on the same examples, with the same references."""
    expected = next(iter(second.values()))
    ids = list(map(_identity, expected))
    for name, runs in ((reference.name, second), (row.name, first)):
        for lines in runs.values():
            others = list(map(_identity, lines))
            if ids != others:
                shared = (Counter(ids) & Counter(others)).total()
                raise ValueError(
                    f"other examples: {name} has {len(others)}, {reference.name} {len(ids)}, and {shared} are the same"
                )
            if any(line["references"] != other["references"] for line, other in zip(lines, expected, strict=True)):
                raise ValueError(f"the data have changed: {name} and {reference.name} have other references")


def methods(tests: Sequence[Test], keys: Sequence[str]) -> list[str]:
    """How rows that differ in the config keys given were tested, and what that does not show."""
    found = [test.found for test in tests if test.found]
    if not found:
        return []
    noise = "seeds and examples" if all(each.over_seeds for each in found) else "examples"
    notes = [f"the noise of {noise} is counted; examples drawn anew {found[0].resamples} times"]
    if any(not each.over_seeds for each in found):
        notes.append("one run on a side: whether it holds with other seeds cannot be told")
    if any(each.over_seeds and not each.paired for each in found):
        notes.append("no seeds shared: the runs were not paired by seed")
    if any(test.found and test.p != test.found.p for test in tests):
        notes.append("p is corrected for the number of rows compared (Holm)")
    if "init" in keys:
        notes.append("the rows start from other weights: compared are these weights, not the way they were pre-trained")
    return notes
