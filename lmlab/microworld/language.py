"""What both languages share: a telling is a list of annotated words."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lmlab.errors import UserError, nearest
from lmlab.microworld import ontology, tables
from lmlab.microworld.draw import Draw
from lmlab.microworld.meaning import Clause, Phrase, Question, Sentence


class Word(NamedTuple):
    """A word of a telling.

    Attributes:
        text: as written.
        pos: its part of speech (Universal Dependencies).
        concept: its sense, "" for a word of grammar alone.
        key: what of the meaning it tells; words of two tellings with the same key are translations. 0: nothing.
    """

    text: str
    pos: str
    concept: str = ""
    key: int = 0


# Keys: a clause has 128 of them, a phrase in it 8 (its noun, number word, and adjectives).
VERB, NOT, TIME, COMPLEMENT, MANNER, LINK, OPENER = range(1, 8)
SUBJECT, OBJECT, OTHERS = 16, 24, 32
NOUN, COUNT, ADJECTIVES = 0, 1, 2
SECOND, INNER = 128, 256  # where the second clause of a sentence begins; how far inside a relative clause lies

NAMES = ("a", "b")
COORDINATING = ("and", "but", "so")
LINKS = (*COORDINATING, "because", "before", "after", "although")
OPENERS = {  # how a sentence follows the one before it, in words of A with their parts of speech
    "then": "then/ADV",
    "later": "later/ADV",
    "after_that": "after/ADP that/PRON",
    "before_that": "before/ADP that/PRON",
    "again": "in/ADP other/ADJ words/NOUN ,/PUNCT",
    "perhaps": "perhaps/ADV ,/PUNCT",
    "yes": "yes/INTJ ,/PUNCT",
    "no": "no/INTJ ,/PUNCT",
    "true": "it/PRON is/AUX true/ADJ that/SCONJ",
    "false": "it/PRON is/AUX false/ADJ that/SCONJ",
    "possible": "it/PRON is/AUX possible/ADJ that/SCONJ",
}
NUMBERS = ["", *tables.NUMBERS.split()]
USUAL = 0.6  # how often the usual word is taken where there are several


class Language:
    """A grammar: it tells meanings and asks questions about them.

    Told with a `Draw`, the words and the order are one of the several ways that mean the same; with None, they are the
    usual way, the same each time.
    """

    name: str

    def tell(self, sentence: Sentence | Clause, draw: Draw | None = None) -> list[Word]:
        """A sentence with its full stop."""
        raise NotImplementedError

    def ask(self, clause: Clause, role: str, draw: Draw | None = None) -> list[Word]:
        """A question for a part of a clause: subject, object, a relation (from, to, at ...), time, or "" (whether)."""
        raise NotImplementedError

    def text(self, words: Sequence[Word]) -> str:
        """The words as written text."""
        return " ".join(word[0] for word in words).replace(" .", ".").replace(" ,", ",").replace(" ?", "?")

    def words(self, meaning: Sentence | Question | Clause, draw: Draw | None = None) -> list[Word]:
        """What is told, or asked."""
        if isinstance(meaning, Question):
            return self.ask(meaning.clause, meaning.role, draw)
        return self.tell(meaning, draw)

    def say(self, meaning: Sentence | Question | Clause, draw: Draw | None = None) -> str:
        """The text of it."""
        return self.text(self.words(meaning, draw))


def pick(words: list, draw: Draw | None) -> Any:
    """One of the words of a concept."""
    if draw is None or len(words) == 1 or (chance := draw.random()) < USUAL:
        return words[0]
    return words[1 + int((chance - USUAL) / (1 - USUAL) * (len(words) - 1))]


def asked(phrase: Phrase) -> Phrase:
    """What stands for a phrase in a question."""
    return Phrase(phrase.noun, "ask", phrase.gender)


def is_place(clause: Clause, role: str) -> bool:
    """Whether the question for a part of a clause is "where"; who reaches a place is asked "what" he reaches."""
    phrase = dict(clause.others).get(role)
    if phrase is None:
        return False
    return role in ("at", "in", "near") or phrase.noun in ontology.TOWNS or ontology.fits(phrase.noun, tables.PLACES)


def check(name: Any, key: str) -> None:
    """See that the language that an option names is there.

    Raises:
        UserError: it is not.
    """
    if name not in NAMES:
        raise UserError(f"{key}: no language {name!r} in this world; known are a, b{nearest(str(name), NAMES)}")


def alignment(one: Sequence[Word], other: Sequence[Word]) -> list[tuple[int, int]]:
    """The pairs of positions at which two tellings of one meaning say the same part of it."""
    places: dict[int, list[int]] = {}
    for place, word in enumerate(other):
        if word.key:
            places.setdefault(word.key, []).append(place)
    return [(i, j) for i, word in enumerate(one) for j in places.get(word.key, ())]


def languages() -> dict[str, Language]:
    """The languages of the world by name."""
    from lmlab.microworld.language_a import LanguageA
    from lmlab.microworld.language_b import LanguageB

    return {"a": LanguageA(), "b": LanguageB()}
