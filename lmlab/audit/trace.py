"""Where each token of a text went: what stands for it in what the model sees, and whether it is asked for.

Nothing here believes what a corruption says of itself. An encoder is asked in place, so its row is held against the
text, token by token. Elsewhere tokens move, and the text is *dyed*: the same question is made once more, with the same
draws, of a text in which every token is a number that tells its place. Corruptions look at places, not at what tokens
say, so the same happens to it; that it did is checked, since the dyed sequence must translate into the real one.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from lmlab.audit.rows import Row
from lmlab.text.passage import Pair, Passage, join

HIDDEN = -1  # nothing of its own stands for a token


@dataclass(frozen=True)
class Trace:
    """What became of T tokens.

    Attributes:
        text: what the corruption was handed: the unit, with special tokens around it for an encoder, and without any
            where the objective leaves them out.
        special: bool (T,), tokens that stand for no text.
        shown: (T,), the token that stands for each one; itself, HIDDEN, or what it was replaced by in its place.
        asked: bool (T,), whether it is asked for.
        in_place: each token is asked for where it stands; else the model writes what is asked for.
        num_wrong: tokens asked for that are not those of the text, or not in its order.
        in_order: what is seen of the text stands in the order of the text.
        gaps: (K, 2), begin and end of each stretch that one mask, or nothing, stands for; empty ones are masks that
            stand for nothing. None where replaced tokens keep their places, or what is seen has another order.
        num_marks: mask tokens and sentinels that are seen.
        num_left_out: tokens of text in the unit that were not handed on.
        swapped: the segments of a pair stand in reverse order; None where there are none.
    """

    text: Passage
    special: np.ndarray
    shown: np.ndarray
    asked: np.ndarray
    in_place: bool
    num_wrong: int = 0
    in_order: bool = True
    gaps: np.ndarray | None = None
    num_marks: int = 0
    num_left_out: int = 0
    swapped: bool | None = None

    @property
    def changed(self) -> np.ndarray:
        """Bool (T,): the model does not see the token itself."""
        return self.shown != self.text.tokens


class Tracer:
    """Traces units through the questions made of them.

    Args:
        vocab_size: dyes are numbers from here on.
        special_ids: of tokens that stand for no text.
        mark_ids: the mask token and the sentinels, which stand for hidden tokens.
        cls_id, sep_id: what an encoder's sequence is wrapped in.
    """

    def __init__(
        self,
        vocab_size: int,
        special_ids: Collection[int],
        mark_ids: Collection[int],
        cls_id: int | None,
        sep_id: int | None,
    ):
        self.first_dye, self.cls_id, self.sep_id = vocab_size, cls_id, sep_id
        self.special_ids, self.mark_ids = (np.array(sorted(ids), dtype=np.int64) for ids in (special_ids, mark_ids))

    def dyed(self, unit: Passage | Pair) -> Passage | Pair:
        """The unit with a number that tells its place for every token."""
        if isinstance(unit, Passage):
            return replace(unit, tokens=self.first_dye + np.arange(len(unit)))
        a = self.dyed(unit.a)
        b = self.dyed(unit.b)
        return replace(unit, a=a, b=replace(b, tokens=b.tokens + len(a)))

    def in_place(self, unit: Passage | Pair, row: Row) -> Trace | None:
        """Trace a unit through the row of an encoder; None where the row is not the unit, wrapped."""
        orders = [unit] if isinstance(unit, Passage) else [unit, replace(unit, a=unit.b, b=unit.a)]
        texts = [self._wrapped(each) for each in orders]
        if len(texts[0]) != len(row.inputs):
            return None
        agreements = [
            np.count_nonzero(text.tokens == row.inputs) + np.count_nonzero(text.tokens[row.places] == row.asked)
            for text in texts
        ]
        swapped = len(texts) > 1 and bool(agreements[1] > agreements[0])
        text = texts[swapped]
        asked = np.zeros(len(text), dtype=bool)
        asked[row.places] = True
        num_wrong = np.count_nonzero(text.tokens[row.places] != row.asked)
        is_pair = len(texts) > 1
        return Trace(
            text,
            self.is_special(text.tokens),
            row.inputs,
            asked,
            in_place=True,
            num_wrong=num_wrong,
            swapped=swapped if is_pair else None,
        )

    def moved(self, unit: Passage, row: Row, dyed: Row) -> Trace | None:
        """Trace a unit through inputs and targets; None where the dyed ones do not translate into the real ones."""
        if not (self._translates(dyed.inputs, row.inputs, unit) and self._translates(dyed.asked, row.asked, unit)):
            return None
        asked_places = self._places(dyed.asked)
        visible, asked = np.zeros((2, len(unit)), dtype=bool)
        visible[self._places(dyed.inputs)] = True
        asked[asked_places] = True
        special = self.is_special(unit.tokens)
        left_out = ~unit.ordinary & ~visible & ~asked  # the objective asks about text alone
        handed = np.flatnonzero(~left_out)
        seen = self._seen(dyed.inputs, handed)
        text, shown = unit.at(handed), np.where(visible, unit.tokens, HIDDEN)[handed]
        in_order = bool((np.diff(seen[seen >= 0]) > 0).all())
        keeps_places = _keeps_places(seen, len(text))
        marks = np.isin(dyed.inputs, self.mark_ids)
        return Trace(
            text,
            special[handed],
            row.inputs[: len(text)] if keeps_places else shown,
            asked[handed],
            in_place=False,
            num_wrong=np.count_nonzero(np.diff(asked_places) <= 0),
            in_order=in_order,
            gaps=_gaps(seen, marks, len(text)) if in_order and not keeps_places else None,
            num_marks=np.count_nonzero(marks),
            num_left_out=np.count_nonzero(left_out & ~special),
        )

    def is_special(self, tokens: np.ndarray) -> np.ndarray:
        """Which tokens stand for no text."""
        return np.isin(tokens, self.special_ids)

    def _wrapped(self, unit: Passage | Pair) -> Passage:
        if isinstance(unit, Passage):
            return join(self.cls_id, unit, self.sep_id)
        return join(self.cls_id, unit.a, self.sep_id, unit.b, self.sep_id)

    def _places(self, dyed: np.ndarray) -> np.ndarray:
        """Places in the unit of the tokens that come from it."""
        return dyed[dyed >= self.first_dye] - self.first_dye

    def _seen(self, dyed: np.ndarray, handed: np.ndarray) -> np.ndarray:
        """For each token of the inputs its number among the `handed` ones, -1 for those that come from elsewhere."""
        seen = np.full(len(dyed), -1)
        seen[dyed >= self.first_dye] = np.searchsorted(handed, self._places(dyed))
        return seen

    def _translates(self, dyed: np.ndarray, real: np.ndarray, unit: Passage) -> bool:
        if len(dyed) != len(real):
            return False
        translated = dyed.copy()
        translated[dyed >= self.first_dye] = unit.tokens[self._places(dyed)]
        return np.array_equal(translated, real)


def _keeps_places(seen: np.ndarray, length: int) -> bool:
    """Whether every token that is seen stands where it stood, and for each that is not there is one in its place."""
    if len(seen) not in (length, length + 1):  # with an end token
        return False
    own = np.arange(len(seen))
    return bool(((seen == own) | (seen == -1)).all()) and (seen[length:] == -1).all()


def _gaps(seen: np.ndarray, marks: np.ndarray, length: int) -> np.ndarray:
    """Begin and end of each stretch of text that is not seen, and of the empty ones that have a mark all the same."""
    visible = np.flatnonzero(seen >= 0)
    places = np.concatenate([[-1], seen[visible], [length]])
    marks_before = np.concatenate([[0], marks.cumsum()])
    num_marks = np.diff(marks_before[np.concatenate([[0], visible, [len(seen)]])])
    begin, end = places[:-1] + 1, places[1:]
    empty = begin.repeat(np.maximum(num_marks - (end > begin), 0))
    return np.concatenate([np.stack([begin, end], 1)[end > begin], np.stack([empty, empty], 1)])
