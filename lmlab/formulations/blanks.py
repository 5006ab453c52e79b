"""How rows become sequences with masks in a blank, and which words may stand there.

A pattern writes a row as a text with a blank; a verbalizer names a word for each label (Schick & Schuetze 2021a,
arXiv:2001.07676, section 3.1). Of a task with choices they stand in the blank themselves.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from lmlab.errors import UserError
from lmlab.formulations.sequences import Example, Frame
from lmlab.formulations.template import BLANK, HOW_TO, Pattern, Rendered, Template, refuse_twins
from lmlab.formulations.wording import Piece, fitted, in_pieces

BLANK_SLOT = f"{{{BLANK}}}"
BORDER = re.compile(r"\s*\|\|\s*|\{[^}]*\}")  # of a pattern's own words: a slot, or the end of a segment


@dataclass
class Blank(Example):
    """A sequence with a blank. `asked` are the places of its masks, `labels` the right ones of the words.

    Attributes:
        words: ids of each word that may stand in the blank: one for each label, or for each choice.
    """

    words: Sequence[np.ndarray] = ()

    def with_masks(self, count: int) -> "Blank":
        """The same text with only so many of its masks."""
        dropped = self.asked[count:]
        begins = [begin - int(np.sum(dropped < begin)) for begin in self.begins]
        segments = None if self.segments is None else np.delete(self.segments, dropped)
        return replace(
            self, ids=np.delete(self.ids, dropped), segments=segments, begins=begins, asked=self.asked[:count]
        )


class Blanks:
    """Rows of a task in a pattern, with as many masks in the blank as the longest of its words has tokens.

    Args:
        task: of kind classification or choice.
        tokenizer: the model's.
        frame: puts special tokens around texts.
        template: its patterns and verbalizers.
        number: which pattern, from 0.
        max_word_tokens: a longer word is refused.

    Attributes:
        words: ids of the labels' words; None: each row has its choices.

    Raises:
        UserError: there is no such pattern, or its words do not tell the labels apart, or share tokens with others.
    """

    def __init__(
        self, task: Any, tokenizer: Any, frame: Frame, template: Template | None, number: int, max_word_tokens: int
    ) -> None:
        self.task, self.tokenizer, self.frame, self.max_word_tokens = task, tokenizer, frame, max_word_tokens
        self.pattern, self.key = chosen_pattern(template, number, task), f"template.patterns[{number}]"
        self.label_words = self.words = None
        if task.kind == "classification":
            self.label_words, key = chosen_words(template, number, task)
            self.words = self._encoded_labels(key)

    def _encoded_labels(self, key: str) -> list[np.ndarray]:
        """Ids of the labels' words, checked."""
        found: dict[tuple[int, ...], str] = {}
        encoded = [in_place(word, *around_blank(self.pattern.text), self.tokenizer) for word in self.label_words]
        for word, ids, label in zip(self.label_words, encoded, self.task.labels, strict=True):
            what = f"{key}: the word {word!r} of label {label!r}"
            if not len(ids) or self.tokenizer.unk_id in ids:
                raise UserError(f"{what} is unknown to the tokenizer, wholly or in part: give one that it knows")
            self._refuse_long(ids, what)
            if (other := found.setdefault(tuple(ids.tolist()), label)) != label:
                raise UserError(f"{what} is to the tokenizer the same as that of label {other!r}: give another")
        return encoded

    def _refuse_long(self, ids: np.ndarray, what: str) -> None:
        if len(ids) > self.max_word_tokens:
            raise UserError(
                f"{what} has {len(ids)} tokens, more than formulation.max_word_tokens={self.max_word_tokens}: give a"
                f" shorter word, or raise that number"
            )

    def examples(self, rows: Sequence[dict]) -> Iterator[Blank]:
        """A sequence for each row; one without a target has no labels.

        Raises:
            UserError: a row has no blank, or a choice that does not fit into it; or there is no room for the row.
        """
        for index, row in enumerate(rows):
            example = self._example(row)
            example.row = index
            yield example

    def _example(self, row: dict) -> Blank:
        written = self.pattern.render(row)
        if written.blank is None:
            raise UserError(
                f"task '{self.task.name}', row {row['id']}: there is no {self.pattern.placeholder!r}"
                f" (template.placeholder) in its columns that stand in {self.key}"
            )
        segments = in_segments(written)
        place = int(written.blank_is_second)
        words = self._choices(row, segments[place]) if self.words is None else self.words
        masks = np.full(max(map(len, words)), self.tokenizer.mask_id, dtype=np.int32)
        shown = (self.label_words or row["inputs"]["choices"])[0].strip()
        pieces = [list(in_pieces(segment, self.tokenizer)) for segment in segments if segment.blank is None]
        pieces.insert(place, with_blank(segments[place], shown, words[0], masks, self.tokenizer))
        texts = fitted(pieces, self.frame.room(len(pieces)), written.text)
        framed = self.frame.join(texts)
        asked = np.flatnonzero(framed.ids == self.tokenizer.mask_id)  # a text that says [MASK] has other tokens
        return Blank(framed.ids, framed.segments, framed.begins, asked=asked, labels=self._labels(row), words=words)

    def _choices(self, row: dict, segment: Rendered) -> list[np.ndarray]:
        """Ids of the choices, as they stand in the blank of this row."""
        before, after = segment.text[: segment.blank], segment.text[segment.blank :]
        encoded = [in_place(choice, before, after, self.tokenizer) for choice in row["inputs"]["choices"]]
        for choice, ids in zip(row["inputs"]["choices"], encoded, strict=True):
            what = f"task '{self.task.name}', row {row['id']}: the choice {choice!r}"
            if not len(ids):
                raise UserError(f"{what} has no token that could stand in the blank")
            self._refuse_long(ids, what)
        return encoded

    def _labels(self, row: dict) -> list[int]:
        if row["target"] is None:
            return []
        return [row["target"]] if self.words is not None else self.task.reference(row)["right"]


# ---- the template's part


def chosen_pattern(template: Template | None, number: int, task: Any) -> Pattern:
    """A pattern of the template, checked. Raises UserError when there is none, or it has no blank."""
    patterns = [] if template is None else template.patterns
    if not patterns:
        raise UserError(f"formulation=cloze: task '{task.name}' has no patterns (template.patterns); {HOW_TO}")
    if not 0 <= number < len(patterns):
        raise UserError(f"formulation.pattern={number}: the template has the patterns 0 to {len(patterns) - 1}")
    key = f"template.patterns[{number}]"
    if patterns[number].count("||") > 1:
        raise UserError(f"{key}: {patterns[number]!r} has more than two segments: write || once at most")
    return template.pattern(patterns[number], key, task, blanks=1)


def chosen_words(template: Template, number: int, task: Any) -> tuple[list[str], str]:
    """The labels' words for a pattern, and where they stand in the config."""
    words, key = template.verbalizers, "template.verbalizers"
    if not words:
        raise UserError(f"{key}: task '{task.name}' has no words for {', '.join(task.labels)}; {HOW_TO}")
    if isinstance(words[0], list):
        if len(words) != len(template.patterns):
            count = f"{len(words)} lists of words for {len(template.patterns)} patterns"
            raise UserError(f"{key} has {count}: give one for all patterns, or one for each")
        words, key = words[number], f"{key}[{number}]"
    for word in words:
        if not isinstance(word, str):
            raise UserError(f'{key}: {word!r} is no word; in quotes it is: "Yes", "1"')
    refuse_twins(key, words, task.labels)
    return words, key


def around_blank(pattern: str) -> tuple[str, str]:
    """A pattern's own words right before and after its blank; spaces where the blank is in a column of the row."""
    if BLANK_SLOT not in pattern:
        return " ", " "
    before, after = pattern.split(BLANK_SLOT)
    return BORDER.split(before)[-1], BORDER.split(after)[0]


# ---- the tokenizer's part


def in_place(word: str, before: str, after: str, tokenizer: Any) -> np.ndarray:
    """Ids of a word between two texts, of which its neighbours count.

    The space before it belongs to it: of most words of most tokenizers it is a part of the first token.

    Raises:
        UserError: it shares a token with one of them.
    """
    neighbour = before[max(0, len(before.rstrip()) - 1) :]
    begin, word = len(neighbour.rstrip()), word.strip()
    text, end = neighbour + word + after[:1], len(neighbour) + len(word)
    pieces = list(in_pieces(Rendered(text, [(0, begin), (end, len(text)), (begin, end)]), tokenizer))
    if any(field is None for _, field in pieces):
        refuse_shared(before, word, after)
    return np.concatenate([np.empty(0, np.int32), *(ids for ids, field in pieces if field == 2)])


def refuse_shared(before: str, word: str, after: str) -> None:
    """Raise UserError for a word that has not the tokens beside its neighbours that it has alone."""
    place = f"{before[-20:]}{BLANK_SLOT}{after[:20]}"
    raise UserError(
        f"the word {word!r} shares a token with what stands beside the blank in {place!r}: put a space or a sign"
        f" between them (template.patterns)"
    )


def in_segments(written: Rendered) -> list[Rendered]:
    """The segments of a text, each as a text."""
    borders = [0, *([] if written.segment is None else [written.segment]), len(written.text)]
    found = []
    for number, (begin, end) in enumerate(pairwise(borders)):
        fields = [(first - begin, last - begin) for first, last in written.fields if begin <= first < end]
        blank = written.blank - begin if number == int(written.blank_is_second) else None
        found.append(Rendered(written.text[begin:end], fields, blank))
    return found


def with_blank(segment: Rendered, word: str, ids: np.ndarray, masks: np.ndarray, tokenizer: Any) -> list[Piece]:
    """The pieces of a segment with masks in the blank, which are not to be cut.

    The tokens around them are those of running text, with `word` in the blank.

    Raises:
        UserError: the tokens of the word are not `ids` there.
    """
    begin, end = len(segment.text[: segment.blank].rstrip()), segment.blank + len(word)
    moved = [
        (first + len(word), last + len(word)) if first >= segment.blank else (first, last)
        for first, last in segment.fields
    ]
    before, after = segment.text[: segment.blank], segment.text[segment.blank :]
    pieces = list(in_pieces(Rendered(before + word + after, [*moved, (begin, end)]), tokenizer))
    if [each.tolist() for each, field in pieces if field == len(moved)] != [ids.tolist()]:
        refuse_shared(before, word, after)
    return [(masks, None) if field == len(moved) else (each, field) for each, field in pieces]
