"""Tasks of the generated world, made when they are asked for; see `lmlab.microworld.world` for what is true in it."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lmlab.errors import UserError
from lmlab.microworld.language import check
from lmlab.tasks import classification, generation, regression, span, tagging


@dataclass(kw_only=True)
class Generated:
    """What all tasks of the world have, whatever their kind.

    The splits train, validation and test share no fact, and the corpus of the world tells training facts only.

    Args:
        maker: dotted name of the function that makes a row.
        language: a or b. Rows of both tell the same, but for acceptability, word sense and duplicate questions, where
            the language decides what can be asked.
        seed: which world.
        train_rows, evaluation_rows: how many rows of the training split, and of each other one.
    """

    maker: str
    language: str = "a"
    seed: int = 0
    train_rows: int = 5000
    evaluation_rows: int = 1000
    source: str = "microworld"

    def __post_init__(self) -> None:
        check(self.language, "task.language")
        for key in ("train_rows", "evaluation_rows"):
            rows = getattr(self, key)
            if not isinstance(rows, int) or rows < 1:
                raise UserError(f"task.{key}={rows} must be a whole number from 1 on")
        super().__post_init__()

    def has_split(self, split: str) -> bool:
        return split in ("train", "validation", "test")

    def find(self, split: str) -> Iterator[dict[str, Any]]:
        from lmlab.microworld.language import languages
        from lmlab.microworld.tasks.rows import rows

        if not self.has_split(split):
            raise UserError(f"task '{self.name}' has the splits train, validation and test, not '{split}'")
        count = self.train_rows if split == "train" else self.evaluation_rows
        return rows(self.make_row(), languages()[self.language], self.seed, split, count)

    def make_row(self) -> Callable:
        """The function that `maker` names."""
        module, _, name = str(self.maker).rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"task.maker={self.maker}: there is no such function; {error}") from error


@dataclass(kw_only=True)
class Classification(Generated, classification.Classification):
    """The arguments of `Generated` and of `lmlab.tasks.classification.Classification`."""


@dataclass(kw_only=True)
class Regression(Generated, regression.Regression):
    """The arguments of `Generated` and of `lmlab.tasks.regression.Regression`."""


@dataclass(kw_only=True)
class Tagging(Generated, tagging.Tagging):
    """The arguments of `Generated` and of `lmlab.tasks.tagging.Tagging`."""


@dataclass(kw_only=True)
class SpanExtraction(Generated, span.SpanExtraction):
    """The arguments of `Generated` and of `lmlab.tasks.span.SpanExtraction`."""


@dataclass(kw_only=True)
class Generation(Generated, generation.Generation):
    """The arguments of `Generated` and of `lmlab.tasks.generation.Generation`."""
