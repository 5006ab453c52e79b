"""The words around a task: how its rows read as text, for the formulations that put tasks in words.

One option of the group `template` holds all texts of one task; each formulation takes its own part of it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from lmlab.errors import UserError, nearest

SLOT = re.compile(r"\{(\w+(?::\w+)?)\}")
BLANK = "blank"  # the slot that a model is to fill
FINAL = ".,;:!?"  # what `bare` leaves out at the end
FORMS: dict[str, Callable[[str], str]] = {
    "bare": lambda text: text.rstrip().rstrip(FINAL),
    "inner": lambda text: text[:1].lower() + text[1:].rstrip().rstrip(FINAL),
}  # in which a column may stand in a slot
HOW_TO = "take another with template=..., or write one: conf/template/ shows how"


@dataclass(kw_only=True)
class Template:
    """The texts of a task. A pattern is a text with slots: `{sentence1}` stands for that column of a row.

    Of a task with choices `{choice1}`, `{choice2}`, ... are slots, too, and `{choices}` is all, with commas.
    `{premise:bare}` is without the punctuation at its end, `{choice1:inner}` also with a small first letter: inside
    another sentence, as PET and GPT-3 have them.

    Args:
        source: text_to_text: the pattern of what is read; None: `name column: {column} ...`, as T5 has it.
        targets: text_to_text: what is written for each label, in the task's order; of a task with choices for each
            choice by its place (None: the choice itself). None: the labels.
        patterns: cloze: patterns with one `{blank}`; ` || ` separates two segments.
        verbalizers: cloze: the word, or words, in the blank for each label, in the task's order; one list for all
            patterns, or one for each of them. A task with choices needs none: they stand in the blank themselves.
        prompts: in_context: patterns of a row, up to its answer; None: a line `column: {column}` for each column.
        answers: in_context: what stands after the prompt for each label, in the task's order. None: the labels.
        instruction: in_context: said once, before all examples.
        between: in_context: what stands between two examples, and after the instruction.
        slots: further slots, each the words that stand for the values of a column, as
            `connective: {column: question, words: {cause: because, effect: so}}`.
        placeholder: what marks the blank inside a column, as `@placeholder` in ReCoRD's queries; in cloze it is the
            blank itself.
    """

    source: str | None = None
    targets: list[str] | None = None
    patterns: list[str] = field(default_factory=list)
    verbalizers: list[Any] | None = None
    prompts: list[str] | None = None
    answers: list[str] | None = None
    instruction: str = ""
    between: str = "\n\n"
    slots: dict[str, dict] = field(default_factory=dict)
    placeholder: str | None = None

    def __post_init__(self) -> None:
        for name, slot in self.slots.items():
            if not isinstance(slot, Mapping) or set(slot) != {"column", "words"} or not isinstance(slot["words"], dict):
                raise UserError(f"template.slots.{name} must say column: NAME, words: {{VALUE: WORD, ...}}, not {slot}")

    def pattern(self, text: str, key: str, task: Any, blanks: int = 0) -> "Pattern":
        """A pattern whose slots are known to exist in the rows of a task.

        Args:
            key: where it stands in the config, for messages.
            blanks: how many `{blank}` it must have.

        Raises:
            UserError: a slot that the task does not have, or another number of blanks.
        """
        slots = SLOT.findall(text)
        known = {*task.fields, *self.slots}
        for name, _, form in (slot.partition(":") for slot in sorted(set(slots) - {BLANK})):
            if form and form not in FORMS:
                raise UserError(f"{key}: {{{name}:{form}}} is no form{nearest(form, FORMS)}; forms: {', '.join(FORMS)}")
            if name not in known and not (task.kind == "choice" and re.fullmatch(r"choice(s|\d+)", name)):
                listed = ", ".join(sorted(known))
                raise UserError(
                    f"{key}: {{{name}}} is no slot of task '{task.name}'{nearest(name, known)}; slots: {listed}"
                )
        in_column = blanks and self.placeholder is not None and BLANK not in slots
        if slots.count(BLANK) != blanks and not in_column:
            raise UserError(f"{key}: {text!r} must have {blanks or 'no'} {{blank}}, and has {slots.count(BLANK)}")
        return Pattern(text, self.slots, self.placeholder if blanks else None)


class Rendered(NamedTuple):
    """A text in which a row was written.

    Attributes:
        text: without the blank.
        fields: (begin, end) of what comes from the row, in characters: this may be cut where a text is too long.
        blank: where in the text the blank stands, or None.
        segment: where the second segment begins, or None.
        blank_is_second: whether the blank stands in the second segment.
    """

    text: str
    fields: list[tuple[int, int]]
    blank: int | None = None
    segment: int | None = None
    blank_is_second: bool = False


@dataclass(frozen=True)
class Pattern:
    """A text with slots; see `Template.pattern`."""

    text: str
    slots: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    placeholder: str | None = None

    def render(self, row: Mapping[str, Any]) -> Rendered:
        """A parsed row written into the pattern.

        Raises:
            UserError: a slot has no word for the value of its column.
        """
        inputs, parts = row["inputs"], SLOT.split(self.text)
        pieces: list[tuple[str, str]] = []  # (what it is, text)
        for literal, name in zip(parts[::2], [*parts[1::2], None], strict=True):
            pieces += self._literals(literal)
            if name == BLANK:
                pieces.append(("blank", ""))
            elif name is not None:
                pieces += self._fill(name, inputs, row)
        return put_together(pieces)

    def _literals(self, text: str) -> Iterable[tuple[str, str]]:
        first, *second = text.split("||")
        return [("literal", first.rstrip() if second else first)] + [
            piece for each in second for piece in (("segment", ""), ("literal", each.lstrip()))
        ]

    def _fill(self, name: str, inputs: Mapping[str, Any], row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        if name in self.slots:
            return [("literal", self._word(name, inputs, row))]
        name, _, form = name.partition(":")
        text = FORMS.get(form, str)(value_of(name, inputs))
        if self.placeholder is None or self.placeholder not in text:
            return [("field", text)]
        before, after = text.split(self.placeholder, 1)
        return [("field", before), ("blank", ""), ("field", after)]

    def _word(self, name: str, inputs: Mapping[str, Any], row: Mapping[str, Any]) -> str:
        slot = self.slots[name]
        value = inputs.get(slot["column"])
        if value not in slot["words"]:
            known = ", ".join(map(str, slot["words"]))
            raise UserError(f"template.slots.{name}: none for {value!r} (row {row['id']}), but for {known}")
        return slot["words"][value]


def value_of(name: str, inputs: Mapping[str, Any]) -> str:
    """What stands for a slot: a column, a choice by its place from 1 (empty where there are fewer), or all choices."""
    if name in inputs and isinstance(inputs[name], str):
        return inputs[name]
    choices = inputs["choices"]
    if name == "choices":
        return ", ".join(choices)
    place = int(name.removeprefix("choice")) - 1
    return choices[place] if place < len(choices) else ""


def put_together(pieces: Sequence[tuple[str, str]]) -> Rendered:
    """The text of pieces, and where they stand in it."""
    text, fields, blank, segment, blank_is_second = "", [], None, None, False
    for what, piece in pieces:
        if what == "field" and piece:
            fields.append((len(text), len(text) + len(piece)))
        elif what == "blank":
            blank, blank_is_second = len(text), segment is not None
        elif what == "segment":
            segment = len(text)
        text += piece
    return Rendered(text, fields, blank, segment, blank_is_second)


def usual_source(task: Any) -> str:
    """The pattern of a task that brings none: T5's, name and columns."""
    return " ".join([task.name, *(f"{name}: {{{name}}}" for name in slots_of(task))])


def usual_prompt(task: Any) -> str:
    """The prompt of a task that brings none: a line for each column, and one for the answer."""
    return "\n".join([*(f"{name}: {{{name}}}" for name in task.fields), "answer:"])


def slots_of(task: Any) -> list[str]:
    """The columns of a task, and its choices."""
    return [*task.fields, *(["choices"] if task.kind == "choice" else [])]


def refuse_twins(key: str, words: Sequence[Any], labels: Sequence[str]) -> None:
    """Raise UserError unless there is one text for each label, all of them different."""
    if len(words) != len(labels):
        raise UserError(f"{key} has {len(words)} texts for {len(labels)} labels: {', '.join(labels)}")
    for (word, label), (other, other_label) in pairwise(sorted(zip(map(str, words), labels, strict=True))):
        if word == other:
            raise UserError(f"{key}: labels {label!r} and {other_label!r} have the same word {word!r}; {HOW_TO}")
