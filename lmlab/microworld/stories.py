"""Stories: scripts played by persons of the world and told in order, with what a reader can follow.

A thing is new ("a red lamp") when first mentioned and known ("the lamp") afterwards. In both languages a pronoun for
the subject means the subject of the clause before (whoever did it, also where that is told in the passive), and one for
the object the object of the clause before, so that what it refers to is always decided.
"""

from functools import cache
from typing import NamedTuple

from lmlab.microworld import ontology, tables
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import COORDINATING
from lmlab.microworld.meaning import Clause, Phrase, Sentence, phrases, refers_back
from lmlab.microworld.scenes import SWIMMING, Scene, possessive
from lmlab.microworld.scripts import SCRIPTS
from lmlab.microworld.world import person

PRONOUN, OBJECT_PRONOUN, RELATIVE, OPENER = 0.65, 0.5, 0.15, 0.2
JOINED_CAUSE, JOINED, ASIDE = 0.4, 0.2, 0.12
OPENERS = ("then", "later", "after_that")
STORY_TENSES = ("past",) * 8 + ("present", "future")


class Step(NamedTuple):
    """A line of a script. `words`: subject, "not" or "", verb, object or "", complements; `others`: relation, slot."""

    subject: str
    negated: bool
    verb: str
    object: str
    complements: tuple[str, ...]
    others: tuple[tuple[str, str], ...]
    is_caused: bool
    is_optional: bool
    is_gist: bool


class Script(NamedTuple):
    """What usually happens, one step after the other, in a sphere of life; `kinds`: who or what may fill each slot."""

    sphere: str
    kinds: dict[str, tuple[str, ...]]
    steps: tuple[Step, ...]


class Event(NamedTuple):
    """Something that happened in a story, at `clock`, perhaps because of the event before; `gist`: worth a summary."""

    clause: Clause
    clock: int
    is_caused: bool
    is_gist: bool


class Story(NamedTuple):
    """Events in their order in time, and the sentences that tell them."""

    sphere: str
    events: list[Event]
    sentences: list[Sentence]


# --- reading the scripts ------------------------------------------------------------------------------------


@cache
def scripts(sphere: str) -> list[Script]:
    """The scripts of a sphere."""
    return [script for block in SCRIPTS.strip().split("\n\n") if (script := _script(block)).sphere == sphere]


def _script(block: str) -> Script:
    heading, *lines = block.splitlines()
    sphere, *slots = heading.split()
    groups = tables.GROUPS | {"SWIM": SWIMMING}
    kinds = {slot: groups.get(cell) or tuple(cell.split("+")) for slot, cell in (each.split("=") for each in slots)}
    return Script(sphere, kinds, tuple(map(_step, lines)))


def _step(line: str) -> Step:
    marks = line[: len(line) - len(line.lstrip("?>*"))]
    subject, *words = line[len(marks) :].split()
    negated = words[0] == "not"
    verb, *words = words[negated:]
    complements, target = (), ""
    if verb == "be":
        complements, words = tuple(words[0].split("|")), []
        assert all(each in ontology.SPHERE_OF_STATE or each in ontology.ATTRIBUTE_OF for each in complements), line
    elif words and (words[0].isupper() or words[0] == "coins"):
        target, *words = words
    others = tuple(zip(words[::2], words[1::2], strict=True))
    return Step(subject, negated, verb, target, complements, others, ">" in marks, "?" in marks, "*" in marks)


# --- what happens -------------------------------------------------------------------------------------------


def happenings(scene: Scene, people: list[Phrase]) -> list[Event]:
    """Play a script of the scene's sphere with these persons (three at least)."""
    draw = scene.draw
    script = draw.choice(scripts(scene.sphere))
    cast = dict(zip("ABC", people, strict=False)) | _props(scene, script.kinds)
    tense = draw.choice(STORY_TENSES)
    time = draw.ranked(ontology.TIMES[tense]) if draw.chance(0.5) else None
    events: list[Event] = []
    left_out = False
    for step in script.steps:
        if not step.is_caused and draw.chance(ASIDE):
            events.append(Event(aside(scene, people, cast, tense), len(events), False, False))
            left_out = True
        if step.is_optional and draw.chance(0.5):
            left_out = True
            continue
        clause = _played(step, cast, tense, None if events else time, draw)
        events.append(Event(clause, len(events), step.is_caused and not left_out, step.is_gist))
        left_out = False
    return events


def aside(scene: Scene, people: list[Phrase], cast: dict[str, Phrase], tense: str) -> Clause:
    """Something that has nothing to do with the script, and changes nothing in it."""
    nouns = [phrase.noun for phrase in cast.values()]
    while True:
        clause = scene.clause(asides(scene), scene.draw.choice(people), tense, timed=0)
        if all(each.noun not in nouns for each in phrases(clause) if each.form != "name"):
            break
    clause = clause._replace(manner=scene.manner(clause.verb))
    return scene.related(clause._replace(object=clause.object._replace(form="a")))


def asides(scene: Scene) -> ontology.Verb:
    """A predicate that an aside may have: done to a thing, in passing."""
    while True:
        verb = scene.verb(needs_object=True)
        if not verb.is_state and not {"person", "body", *tables.PLACES, "town"} & set(verb.objects):
            return verb


def _props(scene: Scene, kinds: dict[str, tuple[str, ...]]) -> dict[str, Phrase]:
    """The things and places of a script; no noun comes twice."""
    found: dict[str, Phrase] = {}
    for slot, wanted in kinds.items():
        while True:
            prop = scene.participant(wanted, "a", [person("Anna")])
            if all(other.noun != prop.noun for other in found.values()):
                break
        can_be_many = prop.form == "a" and slot not in "VU" and scene.draw.chance(0.15)
        if can_be_many:
            prop = prop._replace(plural=True, count=scene.draw.below(4) + 2 if scene.draw.chance(0.6) else 0)
        found[slot] = prop
    return found


def _played(step: Step, cast: dict[str, Phrase], tense: str, time: str | None, draw: Draw) -> Clause:
    subject = cast[step.subject]
    target = cast.get(step.object)
    if step.object == "coins":
        target = Phrase("coin", "a", plural=True, count=draw.below(11) + 2)
    elif step.verb == "hurt":
        target = target._replace(form=possessive(subject))
    complement = draw.choice(step.complements) if step.complements else None
    others = tuple((relation, cast[slot]) for relation, slot in step.others)
    return Clause(step.verb, subject, target, others, complement, tense, step.negated, time)


# --- how it is told -----------------------------------------------------------------------------------------


class Teller:
    """Turns events into sentences: what is new and what is known, pronouns, reasons, order words."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.known: set[str] = set()  # nouns of the things mentioned before; only looked up, never walked through
        self.history: dict[str, Clause] = {}
        self.last: Clause | None = None

    def sentences(self, events: list[Event]) -> list[Sentence]:
        """Tell all events, one or two in a sentence."""
        draw, told, place = self.draw, [], 0
        while place < len(events):
            event = events[place]
            follower = events[place + 1] if place + 1 < len(events) else None
            link = self.link(event, follower) if follower else None
            if link == "because":  # the effect is told first
                pair = follower.clause, event.clause
            else:
                pair = event.clause, follower.clause if link else None
            opener = draw.choice(OPENERS) if told and not link and not event.is_caused and draw.chance(OPENER) else None
            if opener and event.clause.time:
                opener = None
            told.append(Sentence(self.mention(pair[0]), link, self.mention(pair[1]) if link else None, opener))
            if link and link not in COORDINATING and not refers_back(told[-1]):
                self.last = None  # the language decides which clause comes last, so no pronoun may build on that
            place += 2 if link else 1
        return told

    def link(self, event: Event, follower: Event) -> str | None:
        draw = self.draw
        if follower.is_caused:
            return draw.choice(("so", "because", "so", "and")) if draw.chance(JOINED_CAUSE) else None
        if follower.clause.verb == "be" or not draw.chance(JOINED):
            return None
        is_plain = event.clause.verb != "be" and not (event.clause.negated or follower.clause.negated)
        return draw.choice(("and", "and", "before")) if is_plain else "and"

    def mention(self, clause: Clause) -> Clause:
        """The clause with its phrases in the forms that fit what was told before."""
        last = self.last
        subject = self.subject(clause.subject, last)
        target = clause.object and self.target(clause.object, clause, subject, last)
        others = tuple((relation, self.phrase(phrase)) for relation, phrase in clause.others)
        told = clause._replace(subject=subject, object=target, others=others)
        if clause.object is not None and clause.object.form == "a" and not clause.negated:
            self.history[clause.object.noun] = clause
        self.last = clause
        return told

    def subject(self, phrase: Phrase, last: Clause | None) -> Phrase:
        if last and last.subject.noun == phrase.noun and self.draw.chance(PRONOUN):
            return as_pronoun(phrase)
        return self.phrase(phrase)

    def target(self, phrase: Phrase, clause: Clause, subject: Phrase, last: Clause | None) -> Phrase:
        is_same = last and last.object and last.object.noun == phrase.noun and phrase.form == "a"
        if is_same and subject.noun != phrase.noun and self.draw.chance(OBJECT_PRONOUN):
            return as_pronoun(phrase)
        told = self.phrase(phrase)
        earlier = self.history.get(phrase.noun)
        is_bare = told.form == "the" and not told.adjectives
        if earlier and is_bare and earlier is not last and is_other(earlier, clause) and self.draw.chance(RELATIVE):
            gap = Phrase(phrase.noun, "gap", plural=phrase.plural)
            return told._replace(relative=Clause(earlier.verb, earlier.subject, gap, tense=earlier.tense))
        return told

    def phrase(self, phrase: Phrase) -> Phrase:
        """A thing that is known is "the lamp"; one attribute may come back."""
        if phrase.form != "a" or phrase.noun == "coin":
            return phrase
        if phrase.noun not in self.known:
            self.known.add(phrase.noun)
            return phrase
        adjectives = phrase.adjectives[:1] if self.draw.chance(0.3) else ()
        return phrase._replace(form="the", count=0, adjectives=adjectives)


def is_other(one: Clause, other: Clause) -> bool:
    """Whether somebody else did something else."""
    return one.subject.noun != other.subject.noun and one.verb != other.verb


def as_pronoun(phrase: Phrase) -> Phrase:
    """The pronoun for somebody or something."""
    return Phrase(phrase.noun, "pronoun", phrase.gender, phrase.plural)


def story(scene: Scene, people: list[Phrase] | None = None) -> Story:
    """One episode of the scene's sphere."""
    events = happenings(scene, people or scene.people(3))
    return Story(scene.sphere, events, Teller(scene.draw).sentences(events))
