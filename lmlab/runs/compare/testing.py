"""Whether rows of a table differ: their runs' predictions held against each other, example by example."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lmlab.runs.compare.reading import Entry
from lmlab.runs.compare.row import Row
from lmlab.runs.statistics import (
    FEWEST_EXAMPLES,
    LEVEL,
    RESAMPLES,
    Answers,
    Difference,
    difference,
    difference_of_scores,
    holm,
    lower_is_better,
)


class Question(NamedTuple):
    """How a metric follows from a run's predictions.

    Attributes:
        file: name of the file of predictions in the run's folder.
        split: the part of its lines that counts; None: all.
        answers: the metric of some lines, drawn as often as one likes.
    """

    file: str
    split: str | None
    answers: Callable[[list[dict]], Answers]


Ask = Callable[[Entry, str], Question]  # of a run and a metric; raises ValueError where no predictions tell the metric


@dataclass
class Test:
    """A row held against another one.

    Attributes:
        found: the difference, row minus reference; None where it cannot be tested, for the reason `problem`.
        p: that of the difference, corrected for the number of tests, `family`.
    """

    metric: str
    row: Row
    reference: Row
    found: Difference | None = None
    problem: str = ""
    p: float | None = None
    family: int = 1

    @property
    def verdict(self) -> str:
        """What can be said of the row, in a few words."""
        if self.found is None:
            return f"not tested: {self.problem}"
        if self.found.examples is not None and self.found.examples < FEWEST_EXAMPLES:
            return f"cannot be told: {self.found.examples} examples are too few"
        return self.word if self.found.over_seeds else f"{self.word} (examples only)"

    @property
    def is_shown(self) -> bool:
        """Whether the row is better or worse."""
        return self.verdict.startswith(("better", "worse"))

    @property
    def word(self) -> str:
        """better, worse, or no difference shown."""
        if self.p >= 1 - LEVEL:
            return "no difference shown"
        return "better" if (self.found.effect < 0) == lower_is_better(self.metric) else "worse"


def test(
    rows: Sequence[Row], metrics: Sequence[str], ask: Ask, reference: Row | None = None, resamples: int = RESAMPLES
) -> list[Test]:
    """Hold every finished row against `reference`, by default the first one, which is the best, in each metric.

    p is corrected for the number of rows; of suites the averages are tested.
    """
    rows = [row for row in rows if row.status == "finished"]
    against = reference or next(iter(rows), None)
    others = [row for row in rows if row is not against]
    # The best row was found by looking at all pairs of rows; one that was named was not.
    family = len(others) if reference else len(rows) * (len(rows) - 1) // 2
    tests = []
    for metric in metrics:
        if not against.is_suite or metric.startswith("average"):
            of_metric = [_test(metric, row, against, ask, resamples) for row in others]
            correct(of_metric, family)
            tests += of_metric
    return tests


def correct(tests: Sequence[Test], family: int) -> None:
    """Correct the p-values of tests for their number, of which `family` could have been looked at (Holm)."""
    told = [each for each in tests if each.found]
    for each, p in zip(told, holm([each.found.p for each in told], family), strict=True):
        each.p, each.family = p, family


def _test(metric: str, row: Row, reference: Row, ask: Ask, resamples: int) -> Test:
    try:
        if reference.is_suite:
            found = difference_of_scores(_scores(row, metric), _scores(reference, metric))
        else:
            found = _difference(metric, row, reference, ask, resamples)
        return Test(metric, row, reference, found)
    except ValueError as error:
        return Test(metric, row, reference, problem=str(error))


def _scores(row: Row, metric: str) -> dict[Any, float]:
    """seed -> score. Raises ValueError where one is no number."""
    if None in (scores := {entry.summary["seed"]: entry.metrics[metric] for entry in row.entries}).values():
        raise ValueError(f"{row.name}: {metric} of a seed is no number")
    return scores


def _difference(metric: str, row: Row, reference: Row, ask: Ask, resamples: int) -> Difference:
    """By the predictions of all runs, each read and counted before the next."""
    answers, expected, groups = ask(reference.entries[0], metric).answers, None, []
    for each in (reference, row):
        group = {}
        for entry, lines in _predictions(each, metric, ask):
            examples = [(_identity(line), line["references"]) for line in lines]
            expected = expected or examples
            _refuse_other_examples(each, examples, reference, expected)
            group[entry.summary["seed"]] = answers(lines)
        groups.append(group)
    return difference(groups[1], groups[0], len(expected), resamples)


def _predictions(row: Row, metric: str, ask: Ask) -> Iterator[tuple[Entry, list[dict]]]:
    """Each run with the lines of its predictions that tell the metric, by id; of lines with one id, as they come."""
    for entry in row.entries:
        question = ask(entry, metric)
        try:
            lines = entry.run.predictions(question.file)
        except ValueError as error:
            raise ValueError(f"{entry.run.path}: {error}") from error
        kept = [line for line in lines if question.split is None or line.get("split") == question.split]
        if not kept:
            raise ValueError(f"{entry.run.path}: no predictions of {question.split or 'any example'}")
        yield entry, sorted(kept, key=_identity)


def _identity(line: dict) -> str:
    return str(line["id"])


def _refuse_other_examples(row: Row, examples: list[tuple], reference: Row, expected: list[tuple]) -> None:
    """Raise ValueError unless a run was scored on the examples that are expected, (id, references)."""
    ids, others = ([identity for identity, _ in each] for each in (expected, examples))
    if ids != others:
        shared = (Counter(ids) & Counter(others)).total()
        found = f"{row.name} has {len(others)}, {reference.name} {len(ids)}, and {shared} are the same"
        raise ValueError(f"other examples: {found}")
    if examples != expected:
        raise ValueError(f"the data have changed: {row.name} and {reference.name} have other references")


def methods(tests: Sequence[Test], keys: Sequence[str]) -> list[str]:
    """How rows that differ in the config keys given were tested, and what that does not show."""
    told = [test for test in tests if test.found]
    found = [test.found for test in told]
    if not found:
        return []
    notes = [_noise(found)]
    if any(not each.over_seeds for each in found):
        notes.append("examples only: one run on each side, so whether it holds with other seeds cannot be told")
    if any(each.one_against_several for each in found):
        notes.append("one run against several: it is taken to vary with the seed as they do")
    if any(each.over_seeds and not each.paired for each in found):
        notes.append("not the same seeds on both sides: all runs count, not paired by seed")
    if any(_is_not_that_of_the_table(test) for test in told):
        notes.append("the difference is that of the predictions, whose scores are not those in the table")
    if (family := max(test.family for test in told)) > 1:
        notes.append(f"p is corrected for {family} comparisons (Holm)")
    if "init" in keys:
        notes.append("the rows start from other weights: compared are these weights, not the way they were pre-trained")
    return notes


def _noise(found: Sequence[Difference]) -> str:
    if all(each.examples is None for each in found):
        return "the noise of seeds is counted, by Student's t; that of the examples is not"
    noise = "seeds and examples" if all(each.over_seeds for each in found) else "examples"
    return f"the noise of {noise} is counted; examples drawn anew {found[0].resamples} times"


def _is_not_that_of_the_table(test: Test) -> bool:
    means = test.row.mean(test.metric), test.reference.mean(test.metric)
    return None in means or not math.isclose(means[0] - means[1], test.found.effect, abs_tol=1e-6)
