"""A piece of text in token ids, with what corruptions may want to know of it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Passage:
    """A run of tokens.

    Attributes:
        tokens: ids, (T,) int64.
        ordinary: bool (T,), false at special tokens, which must stay as they are.
        word_starts: bool (T,), true where a word begins; None unless a corruption reads it (`Corruption.reads`).
        sentence_starts: bool (T,), true where a sentence begins; None as above.
    """

    tokens: np.ndarray
    ordinary: np.ndarray
    word_starts: np.ndarray | None = None
    sentence_starts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def at(self, places: np.ndarray | slice) -> "Passage":
        """The tokens at `places` (indices, a mask or a slice), with what is known of them."""
        known = (self.ordinary, self.word_starts, self.sentence_starts)
        return Passage(self.tokens[places], *(None if each is None else each[places] for each in known))

    def text_alone(self) -> "Passage":
        """Without special tokens."""
        return self if self.ordinary.all() else self.at(self.ordinary)


@dataclass(frozen=True)
class Pair:
    """Two segments of text.

    Attributes:
        a, b: neither is empty.
        is_random: b does not follow a.
        documents: numbers of the documents from which a and b come.
    """

    a: Passage
    b: Passage
    is_random: bool
    documents: tuple[int, int]


@dataclass(frozen=True)
class Record:
    """The fields of a document, or as much of them as fits into a sequence.

    Attributes:
        fields: in the order of the corpus; empty where the document has no such field. One that is there to its end
            closes with the end token.
    """

    fields: tuple[Passage, ...]


def join(*parts: Passage | int) -> Passage:
    """Passages and the special tokens between them as one; a special token counts as a word and as a sentence."""

    def joined(name: str, of_special: object, dtype: type) -> np.ndarray | None:
        arrays = [
            np.array([of_special], dtype) if not isinstance(each, Passage) else getattr(each, name) for each in parts
        ]
        return None if any(each is None for each in arrays) else np.concatenate(arrays)

    ids = [each.tokens if isinstance(each, Passage) else np.array([each]) for each in parts]
    known = (joined("ordinary", False, bool), joined("word_starts", True, bool), joined("sentence_starts", True, bool))
    return Passage(np.concatenate(ids), *known)


def plain(tokens: np.ndarray) -> Passage:
    """A passage of ordinary tokens of which nothing more is known."""
    return Passage(tokens, np.ones(len(tokens), dtype=bool))
