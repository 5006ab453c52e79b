"""From a learner to the figures and the file of predictions of a task."""

from typing import Any

from torch import nn

from lmlab.formulations.base import Formulation


def evaluation_rows(task: Any) -> dict[str, list[dict]]:
    """The rows of every split that the task scores."""
    return {split: task.rows(split) for split in task.evaluation_splits}


def score(
    formulation: Formulation,
    learner: nn.Module,
    task: Any,
    rows: dict[str, list[dict]],
    micro_batch_tokens: int,
) -> tuple[dict[str, float], list[dict]]:
    """Metrics, the task's main one first and the loss last; and the lines of predictions.jsonl.

    Args:
        rows: parsed rows of each split. Several splits are scored apart and named in the keys
            (`accuracy_matched`).
        micro_batch_tokens: padded tokens of one forward pass.
    """
    metrics, losses, records = {}, {}, []
    for split, split_rows in rows.items():
        answers = formulation.answer(learner, split_rows, micro_batch_tokens)
        scores = task.score(answers.predictions, [task.reference(row) for row in split_rows])
        metrics |= {task.metric_key(name, split): value for name, value in scores.items()}
        losses[task.metric_key("loss", split)] = answers.loss
        part = [task.record(*pair) for pair in zip(split_rows, answers.predictions, strict=True)]
        records += part if len(rows) == 1 else [line | {"split": split} for line in part]
    return metrics | losses, records
