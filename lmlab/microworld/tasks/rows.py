"""How the rows of a task are made: one at a time, each from draws of its own, no two alike."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from lmlab.errors import UserError
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import Language
from lmlab.microworld.meaning import Clause, Sentence, formula
from lmlab.microworld.scenes import Scene
from lmlab.microworld.world import World, facts, partition

PATIENCE = 200  # draws of one row that may be given up, because it came out as one before


class Row(NamedTuple):
    """Columns of a labelled row, and the meanings that its texts and its label tell of."""

    columns: dict[str, Any]
    meanings: list[Sentence | Clause]
    sums: tuple = ()  # facts of arithmetic


class Told(Scene):
    """A scene with a language to tell it in. What is told is drawn apart from how: both languages tell the same.

    Args:
        number: of the row; its label depends on nothing else.
        attempt: one more each time that the row was given up.
    """

    def __init__(self, world: World, split: str, task: str, number: int, attempt: int, language: Language) -> None:
        self.purpose = (world.seed, task, split)
        super().__init__(world, Draw(*self.purpose, number, attempt), split)
        self.number = number
        self.language, self.telling = language, Draw(*self.purpose, number, attempt, language.name)

    def label(self, labels: Sequence) -> Any:
        """The label that the row gets: in every block of as many rows each one comes once, in no telling order."""
        block, place = divmod(self.number, len(labels))
        return Draw(*self.purpose, "labels", block).shuffled(labels)[place]

    def say(self, meaning: Sentence | Clause) -> str:
        """One of the ways to tell it."""
        return self.language.say(meaning, self.telling)

    def ask(self, clause: Clause, role: str) -> str:
        """One of the ways to ask for a part of it."""
        return self.language.text(self.language.ask(clause, role, self.telling))


Maker = Callable[[Told], Row | None]


def rows(maker: Maker, language: Language, seed: int, split: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` different rows of a task.

    Besides the columns of the task, a row has `facts` (what it tells, see `lmlab.microworld.world`) and `meaning`.

    Raises:
        UserError: so many different rows cannot be made.
    """
    world, seen = World(seed), set()
    for number in range(count):
        for attempt in range(PATIENCE):
            row = maker(Told(world, split, maker.__name__, number, attempt, language))
            key = row and str([value for name, value in row.columns.items() if name != "label"])
            if row and key not in seen:
                break
        else:
            raise UserError(f"the world has no more than {number:,} different {split} rows of {maker.__name__}")
        seen.add(key)
        yield {"id": f"{split}-{number}", **row.columns, **gold(row, split)}


def gold(row: Row, split: str) -> dict[str, Any]:
    """The facts and the meaning of a row; a fact of another split is a fault of the maker."""
    pairs = sorted({pair for meaning in row.meanings for pair in facts(meaning)})
    assert all(partition()[pair] == split for pair in pairs), (row, split)
    told = [f"{name}/{sphere}" for name, sphere in pairs] + [f"{one}+{other}" for one, other in row.sums]
    return {"facts": told, "meaning": "; ".join(map(formula, row.meanings))}
