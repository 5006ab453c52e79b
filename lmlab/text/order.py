"""A shuffled order that needs no memory: a permutation that is computed, index by index, from a key.

A Feistel network permutes the numbers of 2h bits whatever its round function is; numbers that fall outside
`range(size)` are sent through again until they fall inside ("cycle walking": Black and Rogaway 2002, "Ciphers
with arbitrary finite domains"), which leaves a permutation of `range(size)`. So the order of an epoch is a
pure function of (seed, epoch), and jumping to any place in it costs nothing.
"""

import hashlib
from functools import lru_cache
from typing import TypeVar

import numpy as np

Index = TypeVar("Index", int, np.ndarray)

ROUNDS = 6
BITS_64 = (1 << 64) - 1


def shuffled(index: Index, size: int, seed: int, epoch: int = 0) -> Index:
    """Return the element that stands at place `index` of the shuffled `range(size)`.

    Args:
        index: a number, or an array of numbers of any shape, within `range(size)`.
        size: how many elements are shuffled.
        seed, epoch: every pair of them gives another order, the same on every machine.

    Returns:
        A number, or an int64 array of the shape of `index`. Different indices give different elements.

    Raises:
        IndexError: an index lies outside `range(size)`.
    """
    keys, half = _round_keys(seed, epoch), max(1, ((size - 1).bit_length() + 1) // 2)
    if isinstance(index, np.ndarray):
        return _shuffled_array(index, size, keys, half)
    if not 0 <= index < size:
        raise IndexError(f"index {index} is outside of range({size})")
    element = _feistel(int(index), keys, half)
    while element >= size:
        element = _feistel(element, keys, half)
    return element


def _shuffled_array(index: np.ndarray, size: int, keys: tuple[int, ...], half: int) -> np.ndarray:
    if index.size and not (index.min() >= 0 and index.max() < size):
        raise IndexError(f"an index is outside of range({size})")
    elements = _feistel(index.astype(np.uint64).ravel(), keys, half)
    while len(outside := np.flatnonzero(elements >= size)):
        elements[outside] = _feistel(elements[outside], keys, half)
    return elements.astype(np.int64).reshape(index.shape)


def _feistel(number: Index, keys: tuple[int, ...], half: int) -> Index:
    """Permute the numbers of 2 * `half` bits; for a Python integer or a uint64 array alike."""
    mask = (1 << half) - 1
    left, right = number >> half, number & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << half) | right


def _mixed(number: Index) -> Index:
    """The finaliser of splitmix64: every bit of the result depends on every bit of the number."""
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & BITS_64
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & BITS_64
    return number ^ (number >> 31)


@lru_cache(maxsize=64)
def _round_keys(seed: int, epoch: int) -> tuple[int, ...]:
    digest = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8 * ROUNDS).digest()
    return tuple(int.from_bytes(digest[8 * i : 8 * i + 8], "little") for i in range(ROUNDS))
