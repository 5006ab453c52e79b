"""What a sentence means, apart from how any language tells it."""

from collections.abc import Iterator
from typing import NamedTuple


class Phrase(NamedTuple):
    """Somebody or something that takes part.

    Attributes:
        noun: a concept ("bank.river"), or the name of a person, town or company.
        form: how it is mentioned: name, a, the, every, her or his (that of the subject), pronoun, ask (what a question
            asks for), gap (the head of the relative clause around it).
        gender: f, m or n.
        plural: more than one.
        count: a number word before the noun; 0: none.
        adjectives: concepts.
        relative: what else is known of it; its own place in there is a `gap`.
        fault: a mistake that is made on purpose: the noun's number is not that of its article or number word.
    """

    noun: str
    form: str = "the"
    gender: str = "n"
    plural: bool = False
    count: int = 0
    adjectives: tuple[str, ...] = ()
    relative: "Clause | None" = None
    fault: bool = False


class Clause(NamedTuple):
    """Something that happens, or is so.

    Attributes:
        verb: a concept; "be" has a `complement`.
        others: (relation, phrase): to, from, at, with, for, in, near.
        complement: after "be": the concept of a state, a job, or a kind.
        tense: past, present, future or perfect.
        time: a time expression, or None.
        fault: a mistake of grammar that is made on purpose when it is told; "": none.
    """

    verb: str
    subject: Phrase
    object: Phrase | None = None
    others: tuple[tuple[str, Phrase], ...] = ()
    complement: str | None = None
    tense: str = "past"
    negated: bool = False
    time: str | None = None
    manner: str | None = None
    fault: str = ""


class Sentence(NamedTuple):
    """One clause, or two: `first` because (or so, before, after, and, but) `second`.

    `opener` is how it follows the sentence before it: then, later, after_that; again (in other words), yes, no,
    perhaps; true, false, possible (it is true that ...).
    """

    first: Clause
    link: str | None = None
    second: Clause | None = None
    opener: str | None = None


class Question(NamedTuple):
    """A question for a part of a clause (`role`: subject, object, a relation, time), or "" whether it is so."""

    clause: Clause
    role: str = ""


def refers_back(sentence: Sentence) -> bool:
    """Whether one of its two clauses has a pronoun, so that the first must be told first.

    A pronoun means somebody of the clause before: of the first clause, or of the sentence before for the first one.
    """
    return any(phrase.form == "pronoun" for part in (sentence.first, sentence.second) for phrase in phrases(part))


def clauses(meaning: Sentence | Question | Clause) -> Iterator[Clause]:
    """All clauses of a sentence, relative ones included."""
    if isinstance(meaning, Question):
        meaning = meaning.clause
    if isinstance(meaning, Sentence):
        for part in (meaning.first, meaning.second):
            if part:
                yield from clauses(part)
        return
    yield meaning
    for phrase in phrases(meaning):
        if phrase.relative:
            yield from clauses(phrase.relative)


def phrases(clause: Clause) -> Iterator[Phrase]:
    """Subject, object, and the others."""
    yield clause.subject
    if clause.object:
        yield clause.object
    for _, phrase in clause.others:
        yield phrase


def formula(meaning: Sentence | Question | Clause) -> str:
    """The meaning as text, the same for all ways to tell it: `buy(Anna, lamp[red], from Tom) past`."""
    if isinstance(meaning, Question):
        return f"ask {meaning.role or 'whether'}({formula(meaning.clause)})"
    if isinstance(meaning, Sentence):
        first = formula(meaning.first)
        return f"{meaning.link}({first}; {formula(meaning.second)})" if meaning.second else first
    parts = [_phrase_formula(meaning.subject)]
    parts += [_phrase_formula(meaning.object)] if meaning.object else []
    parts += [f"{relation} {_phrase_formula(phrase)}" for relation, phrase in meaning.others]
    parts += [meaning.complement] if meaning.complement else []
    marks = [meaning.tense, meaning.time or "", meaning.manner or ""]
    return f"{'not ' * meaning.negated}{meaning.verb}({', '.join(parts)}) {' '.join(filter(None, marks))}"


def _phrase_formula(phrase: Phrase) -> str:
    if phrase.form == "gap":
        return "_"
    inner = [str(phrase.count)] * bool(phrase.count) + [*phrase.adjectives]
    inner += [formula(phrase.relative)] if phrase.relative else []
    return phrase.noun + "*" * phrase.plural + (f"[{', '.join(inner)}]" if inner else "")
