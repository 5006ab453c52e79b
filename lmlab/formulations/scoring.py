"""From a learner to the figures and the file of predictions of a task."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from lmlab.errors import UserError
from lmlab.formulations.base import Answers, Formulation

CPU_PASS = 2048  # tokens of a forward pass on a CPU: hidden states and scores stay in its cache


def evaluation_rows(task: Any) -> dict[str, list[dict]]:
    """The rows of every split that the task scores."""
    return {split: task.rows(split) for split in task.evaluation_splits}


def same_kind(trained: Any, other: Any) -> Any:
    """The task `other`, if what was trained for the task `trained` can answer it, in another language for instance.

    Raises:
        UserError: another kind of task, or other labels.
    """
    if other.kind != trained.kind:
        raise UserError(
            f"task={other.name} is a {other.kind} task, but the run was trained on {trained.name} "
            f"({trained.kind}); only a task of the same kind can be scored"
        )
    wanted, known = getattr(other, "labels", None), getattr(trained, "labels", None)
    if wanted != known:
        raise UserError(
            f"task={other.name} has the labels {', '.join(wanted)}, but the run was trained on "
            f"{trained.name}, which has {', '.join(known)}; they must be the same, in the same order"
        )
    return other


def score(
    formulation: Formulation,
    learner: nn.Module,
    task: Any,
    rows: dict[str, list[dict]],
    micro_batch_tokens: int,
) -> tuple[dict[str, float], list[dict]]:
    """Metrics and the lines of predictions.jsonl, as `scored` has them, of what a learner answers.

    Args:
        rows: parsed rows of each split.
        micro_batch_tokens: padded tokens of one forward pass.
    """
    limit = tokens_of_a_pass(learner, micro_batch_tokens)
    return scored(task, rows, {split: formulation.answer(learner, part, limit) for split, part in rows.items()})


def tokens_of_a_pass(learner: nn.Module, micro_batch_tokens: int) -> int:
    """Padded tokens of one forward pass without gradient."""
    on_cpu = next(learner.parameters()).device.type == "cpu"
    return min(micro_batch_tokens, CPU_PASS) if on_cpu else micro_batch_tokens


def scored(
    task: Any, rows: Mapping[str, list[dict]], given: Mapping[str, Answers]
) -> tuple[dict[str, float], list[dict]]:
    """Metrics and the lines of predictions.jsonl of the answers to the rows of each split.

    The task's metrics come first, the main one at the top, then the formulation's own, the loss last. Several splits
    are scored apart and named in the keys (`accuracy_matched`).
    """
    metrics, losses, records = {}, {}, []
    for split, split_rows in rows.items():
        answers = given[split]
        scores = task.score(answers.predictions, [task.reference(row) for row in split_rows]) | answers.metrics
        metrics |= {task.metric_key(name, split): value for name, value in scores.items()}
        losses[task.metric_key("loss", split)] = answers.loss
        part = [task.record(*pair) for pair in zip(split_rows, answers.predictions, strict=True)]
        records += part if len(rows) == 1 else [line | {"split": split} for line in part]
    return metrics | losses, records
