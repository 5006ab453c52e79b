"""Several corruptions, one after another: BART's own recipe (Lewis et al. 2019, arXiv:1910.13461, section 3.1)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.text.passage import Passage
from lmlab.text.store import TokenStore
from lmlab.text.tokenizer import Tokenizer


class Chain(Corruption):
    """Apply corruptions in their order, each to what the ones before it have left.

    What one has changed, the next ones leave as it is and, when they move tokens, in its place: the ones that move
    tokens come first. Noise is what any of them has touched.

    Args:
        parts: the corruptions by name, in their order.
    """

    def __init__(self, parts: Mapping[str, Corruption]):
        if not parts:
            raise ValueError("parts is empty: name at least one corruption")
        self.parts, corruptions = parts, parts.values()
        self.keeps_length = all(part.keeps_length for part in corruptions)
        self.selects = all(part.selects for part in corruptions)
        self.hides = any(part.hides for part in corruptions)
        self.whole_words = self.selects and all(part.whole_words for part in corruptions if part.hides)
        self.reads = tuple(dict.fromkeys(mark for part in corruptions for mark in part.reads))
        self.learns = any(part.learns for part in corruptions)

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        origin, noise = np.arange(len(text)), np.zeros(len(text), dtype=bool)
        left = text
        for part in self.parts.values():
            corrupted = part(left, generator)
            touched = origin[corrupted.noise]
            noise[touched[touched >= 0]] = True
            if corrupted.origin is not None:
                origin = np.append(origin, -1)[corrupted.origin]
            left = corrupted.passage(left)
        return Corrupted(left.tokens, noise, origin)

    def learn(self, store: TokenStore, tokenizer: Tokenizer, cache_dir: str | Path | None = None) -> str:
        return "".join(part.learn(store, tokenizer, cache_dir) for part in self.parts.values() if part.learns)
