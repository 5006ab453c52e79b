"""Lines of arithmetic, the same in both languages: what in-context learning can be measured on (Brown et al. 2020)."""

import hashlib

from lmlab.microworld.draw import Draw
from lmlab.microworld.world import SPLITS

LARGEST = 99


def split_of(one: int, other: int) -> str:
    """The split of a sum. Its fact is the pair of numbers: 3 + 5, 5 + 3, 8 - 3 and 8 - 5 are all known from one."""
    pair = f"{min(one, other)} {max(one, other)}"
    share = int.from_bytes(hashlib.blake2b(pair.encode(), digest_size=8).digest(), "big") / 2**64
    for split, size in SPLITS.items():
        if (share := share - size) < 0:
            return split
    return split


def sum_of(draw: Draw, split: str) -> tuple[str, str, tuple[int, int]]:
    """A question ("12 + 7 ="), its answer, and its fact."""
    while True:
        one, other = draw.below(LARGEST + 1), draw.below(LARGEST + 1)
        if split_of(one, other) == split:
            break
    if draw.chance(0.5):
        return f"{one} + {other} =", str(one + other), (min(one, other), max(one, other))
    return f"{one + other} - {other} =", str(one), (min(one, other), max(one, other))


def line(draw: Draw, split: str) -> str:
    """A line of the corpus."""
    question, answer, _ = sum_of(draw, split)
    return f"{question} {answer}"
