"""Models of several patterns made one, and unlabelled text that they label: PET and iPET.

Schick & Schuetze 2021a, arXiv:2001.07676, sections 3.3 (PET) and 3.4 (iPET). With M models, N rows and L labels,
`scores` are (M, N, L): what each model says of each label, as logarithms up to a constant for the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from lmlab.errors import UserError
from lmlab.formulations.base import Answers
from lmlab.formulations.head import Head

WEIGHTS = ("accuracy", "uniform")
NEVER = -1e9  # finite, so that a model that counts nothing adds nothing
ENOUGH = 1000  # examples that a model of the last generation learns from (section 4.1)


@dataclass(kw_only=True)
class Student:
    """The classifier that learns the ensemble's soft labels.

    Args:
        formulation: in which it learns; one that learns probabilities of labels, which a head does.
        max_steps, batch_size: of its training.
        lr: its peak learning rate.
    """

    formulation: Any
    max_steps: int
    batch_size: int
    lr: float

    def __post_init__(self) -> None:
        if not isinstance(self.formulation, Head):
            raise UserError(
                "ensemble.student.formulation: the classifier learns how probable each label is, which formulation=head"
                " alone does; its keys are given as ensemble.student.formulation.pooling=..."
            )
        refuse_below("student.max_steps", self.max_steps, 1)
        refuse_below("student.batch_size", self.batch_size, 1)
        if self.lr <= 0:
            raise UserError(f"ensemble.student.lr={self.lr} must be above 0")


@dataclass(kw_only=True)
class Ensemble:
    """A model for each pattern and repetition, what they say together, and who learns from it.

    Args:
        patterns: which of the template's, from 0; None: all.
        repetitions: models of each pattern; they differ in their seed.
        weights: "accuracy": a model counts as much as its pattern is right on the training rows before any training;
            "uniform": all count the same.
        temperature: the scores are divided by it before they become probabilities: 2 is soft, 1 is as it is.
        unlabelled_rows: at most so many rows are labelled, for each label of the task.
        student: the classifier that learns their labels; None: the models themselves answer, together.
        generations: how often all models are trained anew on rows labelled by others (iPET); None: as often as it takes
            until each learns from `ENOUGH` examples.
        growth: how many times as many examples each generation learns from.
        share: of the other models, those that label the rows for one; at least one does.
    """

    patterns: list[int] | None = None
    repetitions: int = 3
    weights: str = "accuracy"
    temperature: float = 2.0
    unlabelled_rows: int = 10_000
    student: Student | None = None
    generations: int | None = 0
    growth: int = 5
    share: float = 0.25

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise UserError(f"ensemble.weights must be one of {', '.join(WEIGHTS)}, not {self.weights!r}")
        if self.temperature <= 0:
            raise UserError(f"ensemble.temperature={self.temperature} must be above 0")
        if not 0 < self.share <= 1:
            raise UserError(
                f"ensemble.share={self.share} must lie above 0 and at most at 1: a share of the other models"
            )
        if self.patterns is not None and not len(self.patterns) == len(set(self.patterns)) > 0:
            raise UserError(f"ensemble.patterns={self.patterns} must name patterns, each once; null takes all")
        refuse_below("repetitions", self.repetitions, 1)
        refuse_below("unlabelled_rows", self.unlabelled_rows, 1)
        refuse_below("generations", self.generations, 0)
        refuse_below("growth", self.growth, 2)

    def members(self, num_patterns: int) -> list[tuple[int, int]]:
        """(pattern, repetition) of each model, for a template of so many patterns.

        Raises:
            UserError: a pattern that the template does not have, or a model alone that others are to teach.
        """
        patterns = range(num_patterns) if self.patterns is None else self.patterns
        if unknown := [pattern for pattern in patterns if not 0 <= pattern < num_patterns]:
            raise UserError(
                f"ensemble.patterns: the template has the patterns 0 to {num_patterns - 1}, not {unknown[0]}"
            )
        members = [(pattern, repetition) for pattern in patterns for repetition in range(self.repetitions)]
        if self.generations != 0 and len(members) < 2:
            raise UserError(
                "ensemble: in later generations (ensemble.generations) models learn from what others say, and here is"
                " one model; raise ensemble.repetitions, name more ensemble.patterns, or take ensemble=pet"
            )
        return members

    def num_generations(self, num_rows: int) -> int:
        """How many generations follow the first one, which learns from `num_rows` labelled rows."""
        if self.generations is not None:
            return self.generations
        return next(times for times in count() if num_rows * self.growth**times >= ENOUGH)

    def labelled_for(
        self,
        model: int,
        scores: np.ndarray,
        weights: Sequence[float],
        labels: Sequence[int],
        generation: int,
        seed: int,
    ) -> list[tuple[int, int]]:
        """(row, label) of what a model of a generation learns besides the labelled rows (section 3.4).

        Some of the other models label the rows. Of each label as many are drawn as make `growth` ** `generation` times
        the labelled ones, those the likelier of which the labelling models are sure; all, where there are fewer.

        Args:
            scores: of the generation before.
            labels: of the labelled rows.
        """
        generator = np.random.default_rng((seed, generation, model))
        chosen = self.others(model, len(scores), generator)
        sure = shares(scores[chosen], np.asarray(weights)[chosen])
        wanted = np.bincount(labels, minlength=sure.shape[1]) * (self.growth**generation - 1)
        return draw(sure, wanted, generator)

    def others(self, model: int, num_models: int, generator: np.random.Generator) -> np.ndarray:
        """A random share of `num_models` models, `model` not among them."""
        others = np.delete(np.arange(num_models), model)
        return generator.choice(others, max(1, round(self.share * len(others))), replace=False)


def mean_scores(scores: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """(N, L): the weighted mean over models; with weights that are all 0 the plain one."""
    return np.average(scores, axis=0, weights=weights if np.any(weights) else None)


def shares(scores: np.ndarray, weights: Sequence[float], temperature: float = 1.0) -> np.ndarray:
    """(N, L) of probabilities, the soft-max of the mean score over the temperature (Hinton et al. 2015)."""
    mean = mean_scores(scores, weights) / temperature
    powers = np.exp(mean - mean.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def draw(sure: np.ndarray, wanted: Sequence[int], generator: np.random.Generator) -> list[tuple[int, int]]:
    """(row, label): of the rows whose likeliest label is l, `wanted[l]`, the surer the likelier.

    Args:
        sure: probabilities of the labels (N, L).
    """
    likeliest, drawn = sure.argmax(axis=1), []
    for label, number in enumerate(wanted):
        rows = np.flatnonzero(likeliest == label)
        if len(rows):
            weights = sure[rows, label]
            chosen = generator.choice(rows, min(number, len(rows)), replace=False, p=weights / weights.sum())
            drawn += [(int(row), label) for row in sorted(chosen)]
    return drawn


def answers(task: Any, rows: Sequence[dict], scores: np.ndarray, weights: Sequence[float]) -> Answers:
    """What all models together answer, in the words of the task."""
    probable = shares(scores, weights)
    best = probable.argmax(axis=1).tolist()
    predictions = [task.labels[label] for label in best] if task.kind == "classification" else best
    right = [each[right_labels(row)].sum() for each, row in zip(probable, rows, strict=True)]
    return Answers(predictions, float(-np.log(np.maximum(right, np.finfo(float).tiny)).mean()))


def accuracy(scores: np.ndarray, rows: Sequence[dict]) -> float:
    """The share of rows for which the label of the highest score is right."""
    best = scores.argmax(axis=1).tolist()
    return float(np.mean([label in right_labels(row) for label, row in zip(best, rows, strict=True)]))


def right_labels(row: Mapping[str, Any]) -> list[int]:
    """The label of a row, or all of its choices that are right."""
    return row.get("right", [row["target"]])


def even(scores: Sequence[np.ndarray]) -> np.ndarray:
    """(N, L) of rows that may have fewer than L choices: those that are not there have a score of `NEVER`."""
    found = np.full((len(scores), max(map(len, scores))), NEVER)
    for row, each in zip(found, scores, strict=True):
        row[: len(each)] = each
    return found


def refuse_below(key: str, value: int | None, least: int) -> None:
    """Raise UserError for a count that is too low; null is none."""
    if value is not None and value < least:
        raise UserError(f"ensemble.{key}={value} must be at least {least}")
