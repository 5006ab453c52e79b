"""The words around a row and its shots: what `in_context` reads (Brown et al. 2020, arXiv:2005.14165, section 2)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lmlab.errors import UserError
from lmlab.formulations.asker import Question
from lmlab.formulations.template import SLOT, Template, refuse_twins


class Prompt:
    """How the rows of a task read with one of the prompts of its template.

    Args:
        template: the texts of the task.
        text: the prompt.
        key: where it stands in the config, for messages.
        task: a `lmlab.tasks` task.
    """

    def __init__(self, template: Template, text: str, key: str, task: Any) -> None:
        self.pattern, self.task, self.words = template.pattern(text, key, task), task, template.answers
        self.instruction, self.between = template.instruction, template.between
        self.last_words = joined(SLOT.split(text)[-1].rpartition("\n")[2])  # without the question: the answer context
        if task.kind == "classification":
            self.words = task.labels if self.words is None else self.words
            refuse_twins("template.answers", self.words, task.labels)

    def answers(self, row: dict) -> list[str]:
        """What may stand behind the question; of a text task the reference alone."""
        if self.task.kind == "text":
            return row["target"][:1]
        if self.task.kind == "classification":
            return self.words
        choices = row["inputs"]["choices"]
        if self.words is None:
            return choices
        if len(self.words) < len(choices):
            raise UserError(
                f"template.answers has {len(self.words)} texts, and row {row['id']} of task '{self.task.name}'"
                f" {len(choices)} choices"
            )
        return self.words[: len(choices)]

    def question(self, row: dict) -> str:
        """All up to the answer."""
        return joined(self.pattern.render(row).text)

    def solved(self, row: dict) -> str:
        """With the right answer."""
        return self.question(row) + self.answers(row)[0 if self.task.kind == "text" else row["target"]]

    def beginning(self, shots: Iterable[dict]) -> str:
        """All before the question."""
        parts = [*([self.instruction] if self.instruction else []), *map(self.solved, shots)]
        return "".join(part + self.between for part in parts)

    def questions(self, row: dict, shots: Sequence[dict]) -> list[Question]:
        """What is asked of a row after its shots: each of its answers."""
        beginning, question = self.beginning(shots), self.question(row)
        return [
            Question(row["id"], beginning + question, answer, common=len(beginning)) for answer in self.answers(row)
        ]


def joined(prompt: str) -> str:
    """A prompt with a space behind it, where it ends in a word or a mark."""
    return f"{prompt} " if prompt[-1:].strip() else prompt


def draw(rows: Sequence[dict], seed: Sequence[int], balanced: bool) -> list[dict]:
    """The rows in a random order; `balanced`: the n-th of each label before any that is the n + 1st of its own."""
    order = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    if not balanced:
        return order
    seen: Counter[int] = Counter()
    rounds = []
    for row in order:
        rounds.append(seen[row["target"]])
        seen[row["target"]] += 1
    return [order[i] for i in np.argsort(rounds, kind="stable")]


def refuse_too_few(shots: int, there: int, task: Any, which: str = "") -> None:
    """Raise UserError for more shots than there are rows."""
    if there < shots:
        raise UserError(
            f"formulation.shots={shots}: task '{task.name}' has {there} training rows{which}; take at most so many"
        )
