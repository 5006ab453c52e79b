"""What every example adds to a metric, counted once: the metric of examples drawn anew is then a matter of sums.

A test draws the examples of several runs anew, hundreds of times. Entities, n-grams and normalised answers are found
before that, once; how often each example was drawn tells the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lmlab.tasks.base import Task


@dataclass(frozen=True)
class Tallies:
    """A metric of one run's examples.

    Attributes:
        score: the metric where example i is drawn counts[i] times; `counts` are whole numbers, (examples,).
        singles: the metric of every single example, (examples,), if the metric is their mean; None if it is not.
    """

    score: Callable[[np.ndarray], float]
    singles: np.ndarray | None = None


# ---------------------------------------------------------------- any metric


def recomputed(task: "Task", metric: str, predictions: list, references: list) -> Tallies:
    """By `task.score` itself: right for every metric, and slow."""

    def score(counts: np.ndarray) -> float:
        drawn = np.repeat(np.arange(len(counts)), counts)
        return task.score([predictions[i] for i in drawn], [references[i] for i in drawn])[metric]

    return Tallies(score)


def averaged(task: "Task", metric: str, predictions: list, references: list) -> Tallies:
    """For a metric that is the mean of every single example's."""
    return of_values([task.score([p], [r])[metric] for p, r in zip(predictions, references, strict=True)])


def of_values(values: Sequence[float]) -> Tallies:
    """The mean of some values."""
    values = np.asarray(values, dtype=float)
    return Tallies(lambda counts: float(values @ counts / counts.sum()), values)


def of_sums(rows: Any, score: Callable[[np.ndarray], float]) -> Tallies:
    """A function of the sums (K,) of some numbers of every example, (examples, K)."""
    columns = np.ascontiguousarray(np.asarray(rows, dtype=float).T)
    return Tallies(lambda counts: float(score(columns @ counts)))


# ---------------------------------------------------------------- classes


def of_classes(
    metric: str, predictions: Sequence[Sequence[int]], references: Sequence[Sequence[int]], num_classes: int
) -> Tallies:
    """`lmlab.tasks.metrics.accuracy`, `f1`, `macro_f1` or `matthews` of the classes of every example's parts (words).

    Counted is how often each class is hit, predicted and wanted. Predictions that are no class (-1) are in the last
    column.
    """
    examples = len(references)
    example = np.repeat(np.arange(examples), [len(wanted) for wanted in references])
    predicted, wanted = (np.fromiter(chain.from_iterable(each), int) for each in (predictions, references))
    right = predicted == wanted
    table = np.zeros((examples, 3, num_classes + 1))
    np.add.at(table, (example[right], 0, wanted[right]), 1)
    np.add.at(table, (example, 1, predicted), 1)
    np.add.at(table, (example, 2, wanted), 1)
    score = _CLASS_SCORES[metric]
    return of_sums(table.reshape(examples, -1), lambda sums: score(*sums.reshape(3, -1)))


def _accuracy(hits: np.ndarray, predicted: np.ndarray, wanted: np.ndarray) -> float:
    return hits.sum() / wanted.sum()


def _f1(hits: np.ndarray, predicted: np.ndarray, wanted: np.ndarray) -> float:
    return _ratio(2 * hits[1], predicted[1] + wanted[1])


def _macro_f1(hits: np.ndarray, predicted: np.ndarray, wanted: np.ndarray) -> float:
    both = (predicted + wanted)[:-1]
    return np.mean(2 * hits[:-1][both > 0] / both[both > 0])


def _matthews(hits: np.ndarray, predicted: np.ndarray, wanted: np.ndarray) -> float:
    """The form for any number of classes (Gorodkin 2004)."""
    total = wanted.sum()
    spread = (total**2 - predicted @ predicted) * (total**2 - wanted @ wanted)
    return _ratio(hits.sum() * total - predicted @ wanted, spread**0.5)


_CLASS_SCORES = {"accuracy": _accuracy, "f1": _f1, "macro_f1": _macro_f1, "matthews": _matthews}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


# ---------------------------------------------------------------- named entities


def of_entities(
    metric: str, predictions: Sequence[Sequence[str | None]], references: Sequence[Sequence[str]]
) -> Tallies:
    """`precision`, `recall` or `f1` of `lmlab.tasks.metrics.entity_scores`, by the entities of each sentence."""
    from seqeval.metrics.sequence_labeling import get_entities

    def entities(labels: Sequence[str | None]) -> set[tuple[str, int, int]]:
        return set(get_entities([label or "O" for label in labels]))

    pairs = [(entities(p), entities(r)) for p, r in zip(predictions, references, strict=True)]
    rows = [(len(predicted & wanted), len(predicted), len(wanted)) for predicted, wanted in pairs]
    return of_sums(rows, lambda sums: _ENTITY_SCORES[metric](*sums))


_ENTITY_SCORES = {
    "precision": lambda hits, predicted, wanted: _ratio(hits, predicted),
    "recall": lambda hits, predicted, wanted: _ratio(hits, wanted),
    "f1": lambda hits, predicted, wanted: _ratio(2 * hits, predicted + wanted),
}


# ---------------------------------------------------------------- numbers


def of_correlation(metric: str, predictions: Sequence[float], references: Sequence[float]) -> Tallies:
    """`pearson`, or `spearman`: Pearson's of the ranks. 0 when one side is constant."""
    sides = [np.asarray(side, dtype=float) for side in (predictions, references)]
    if metric == "pearson":
        return Tallies(lambda counts: _correlation(*sides, counts))
    places = [np.unique(side, return_inverse=True)[1] for side in sides]
    return Tallies(lambda counts: _correlation(*(_ranks(place, counts) for place in places), counts))


def _correlation(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> float:
    if np.ptp(first[counts > 0]) == 0 or np.ptp(second[counts > 0]) == 0:
        return 0.0
    first, second = (side - side @ counts / counts.sum() for side in (first, second))
    weighted = first * counts
    return float(_ratio(weighted @ second, (weighted @ first * (second**2 @ counts)) ** 0.5))


def _ranks(places: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ranks of examples drawn `counts` times; those with the same value share the mean of theirs.

    Args:
        places: of each example's value among the different values in order.
    """
    drawn = np.bincount(places, counts)
    return (drawn.cumsum() - (drawn - 1) / 2)[places]


# ---------------------------------------------------------------- generated text


def of_corpus(
    metric: str, predictions: Sequence[str], references: Sequence[Sequence[str]], tokenize: str = "13a"
) -> Tallies:
    """`bleu` or `chrf`, by sacrebleu's own statistics of every text, which it resamples in the same way."""
    from sacrebleu.metrics import BLEU, CHRF

    counter = BLEU(tokenize=tokenize) if metric == "bleu" else CHRF()
    rows = counter._extract_corpus_statistics(predictions, list(zip_longest(*references)))
    return of_sums(rows, lambda sums: counter._compute_score_from_stats(sums.astype(int).tolist()).score)
