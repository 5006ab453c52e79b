"""What the rows of a task read as, what is to be written from them, and what a text that was written says."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lmlab.errors import UserError
from lmlab.formulations.sequences import truncate
from lmlab.formulations.template import Rendered


class Wording:
    """A task in words. Here as it is: each column a text, the first reference, and what was written as the answer.

    Args:
        task: whose rows these are.
    """

    def __init__(self, task: Any) -> None:
        self.task = task

    def source(self, row: dict) -> list[Rendered]:
        """The texts that are read, each with what of it may be cut."""
        texts = [row["inputs"][name] for name in self.task.fields]
        return [Rendered(text, [(0, len(text))]) for text in texts]

    def target(self, row: dict) -> str:
        """The text to write."""
        return row["target"][0]

    def prediction(self, row: dict, text: str) -> Any:
        """What a text that was written says, in the words of the task."""
        return text

    def metrics(self, predictions: Sequence[Any]) -> dict[str, float]:
        """What is worth knowing of predictions beside the task's own scores."""
        return {}


def shortened(texts: Sequence[Rendered], tokenizer: Any, room: int) -> list[np.ndarray]:
    """The tokens of texts that do not fit into `room`: what comes from the row is cut, longest first, and nothing else.

    Raises:
        UserError: there is no room beside the words of the template.
    """
    return fitted([list(in_pieces(text, tokenizer)) for text in texts], room, texts[0].text)


Piece = tuple[np.ndarray, int | None]
"""Some tokens of a text, and the number of the field that they are; None: words of the template."""


def fitted(texts: Sequence[Sequence[Piece]], room: int, beginning: str) -> list[np.ndarray]:
    """The tokens of texts in pieces, cut to `room` as `shortened` says; `beginning` is for the message."""
    fields = [ids for text in texts for ids, field in text if field is not None]
    words = sum(len(ids) for text in texts for ids, field in text if field is None)
    if words >= room:
        raise UserError(
            f"the words of the template take {words} tokens, and a source has room for {room}: raise"
            f" formulation.max_length (seq_len), or shorten the template; it begins {beginning[:60]!r}"
        )
    kept = iter(truncate(fields, room - words))
    return [np.concatenate([ids if field is None else next(kept) for ids, field in text]) for text in texts]


def in_pieces(text: Rendered, tokenizer: Any) -> Iterator[Piece]:
    """The tokens of a text, cut where a field begins or ends, and the number of the field that each piece is."""
    ids, offsets = tokenizer.encode_with_offsets(text.text)
    begins, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    owner = np.full(len(ids), -1)  # which field a token belongs to; one that touches the words around it to none
    for number, (begin, end) in enumerate(text.fields):
        owner[(begins >= begin) & (ends <= end)] = number
    borders = np.flatnonzero(np.diff(owner)) + 1
    for piece, owners in zip(np.split(np.asarray(ids, dtype=np.int32), borders), np.split(owner, borders), strict=True):
        yield piece, int(owners[0]) if len(owners) and owners[0] >= 0 else None
