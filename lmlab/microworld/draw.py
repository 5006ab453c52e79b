"""Seeded draws that give the same values on every machine and version of Python.

Only `random.Random(int).random()` is used, the one method whose sequence Python promises to keep; everything else is
derived from it here. A seed is a hash of what the draw is for, so that document 7 never depends on document 6.
"""

import hashlib
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Any


class Ranked(tuple):
    """Items from the most to the least frequent: the one of rank r is drawn with weight 1/r (Zipf 1935)."""

    def __init__(self, items: Sequence) -> None:
        self.steps = list(accumulate(1 / rank for rank in range(1, len(self) + 1)))


class Draw:
    """A stream of draws, known by what it is for: `Draw(seed, "story", 7)`."""

    def __init__(self, *purpose: Any) -> None:
        digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
        self.random = Random(int.from_bytes(digest, "big")).random

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        return int(self.random() * limit)

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.random() < probability

    def choice(self, items: Sequence) -> Any:
        """One of the items, each as likely."""
        return items[int(self.random() * len(items))]

    def ranked(self, items: Ranked) -> Any:
        """One of the items, the first ones most likely."""
        return items[bisect(items.steps, self.random() * items.steps[-1])]

    def sample(self, items: Sequence, count: int) -> list:
        """Different items, in the order drawn."""
        return self.shuffled(items)[:count]

    def shuffled(self, items: Sequence) -> list:
        """The items in another order (Fisher and Yates)."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = int(self.random() * (last + 1))
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
