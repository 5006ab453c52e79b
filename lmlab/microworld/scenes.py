"""Draws of things, persons and single clauses: what stories and tasks are made of."""

from functools import cache

from lmlab.microworld import ontology, tables
from lmlab.microworld.draw import Draw
from lmlab.microworld.meaning import Clause, Phrase, phrases
from lmlab.microworld.world import World, person, persons_of

WITH_ADJECTIVES = (0.45, 0.85)  # up to the first: no adjective; up to the second: one; else two
TENSES = ("past",) * 6 + ("present", "future", "future", "perfect")
SWIMMING = ("bank.river", "island", "beach")
MAKING = {"make", "build", "carve", "cook", "bake"}  # what is made is made once
ACTIVE = ("market", "house", "workshop", "journey", "social")  # the spheres of events; "life" holds lasting facts


class Scene:
    """Draws from the world for one story or one row of a task.

    Args:
        world: what is always true.
        draw: the stream of draws.
        split: whose facts may be told.
        sphere: the sphere of life; None draws one.
    """

    def __init__(self, world: World, draw: Draw, split: str, sphere: str | None = None) -> None:
        self.world, self.draw, self.split = world, draw, split
        self.sphere = sphere or draw.choice(ACTIVE)

    def people(self, count: int, gender: str | None = None) -> list[Phrase]:
        """Different persons of whom this split may tell something in this sphere."""
        names, ranked = [], persons_of(self.split, self.sphere)
        while len(names) < count:
            name = self.draw.ranked(ranked)
            if name not in names and gender in (None, ontology.GENDER[name]):
                names.append(name)
        return [person(name) for name in names]

    def thing(self, kinds: tuple[str, ...], form: str = "the", plain: bool = False) -> Phrase:
        """One of a kind of things; `plain`: without adjectives."""
        noun = self.draw.ranked(ontology.nouns_of(kinds))
        adjectives = () if plain else self.adjectives(noun)
        return Phrase(noun, form, adjectives=adjectives)

    def adjectives(self, noun: str) -> tuple[str, ...]:
        """None, one or two attributes that a thing of this kind can have."""
        draw = self.draw
        chance, attributes = draw.random(), attributes_of(noun)
        if chance < WITH_ADJECTIVES[0] or not attributes:
            return ()
        first = draw.below(len(attributes))
        found = [attributes[first]]
        if chance > WITH_ADJECTIVES[1] and first + 1 < len(attributes):
            found.append(attributes[first + 1 + draw.below(len(attributes) - first - 1)])
        return tuple(draw.ranked(ontology.ATTRIBUTES[each]) for each in found)

    def participant(self, kinds: tuple[str, ...], form: str, others: list[Phrase]) -> Phrase:
        """Whoever or whatever fills a place of a predicate; a person is none of `others`."""
        draw = self.draw
        if kinds == ("town",):
            return Phrase(draw.ranked(ontology.TOWNS), "name")
        if kinds == ("company",):
            return Phrase(draw.ranked(ontology.COMPANIES), "name")
        if "person" in kinds and (len(kinds) == 1 or draw.chance(0.3)):
            while (found := self.people(1)[0]) in others:
                pass
            return found
        kinds = tuple(kind for kind in kinds if kind != "person")
        if kinds == ontology.VERBS["hurt"].objects:
            return Phrase(draw.ranked(ontology.nouns_of(kinds)), possessive(others[0]))
        is_place = ontology.KIND_OF.get(kinds[0]) in tables.PLACES or kinds[0] in tables.PLACES
        return self.thing(kinds, "the" if is_place else form, plain=is_place)

    def verb(self, needs_object: bool = False, needs_other: bool = False) -> ontology.Verb:
        """A predicate of the sphere that a person can be the subject of."""
        while True:
            verb = ontology.VERBS[self.draw.ranked(ontology.VERBS_OF[self.sphere])]
            fits = "person" in verb.subjects and not (needs_object and not verb.objects)
            if fits and not (needs_other and not verb.others):
                return verb

    def clause(
        self,
        verb: ontology.Verb | None = None,
        subject: Phrase | None = None,
        tense: str | None = None,
        all_others: bool = False,
        timed: float = 0.3,
    ) -> Clause:
        """An event of the sphere, with a person as its subject."""
        draw = self.draw
        verb = verb or self.verb()
        subject = subject or self.people(1)[0]
        taken = [subject]
        target = self.participant(verb.objects, draw.choice(("a", "the")), taken) if verb.objects else None
        taken += [target] if target else []
        others = []
        for relation, kinds in verb.others.items():
            if all_others or draw.chance(0.5) or (not verb.objects and not others):
                others.append((relation, self.participant(kinds, "the", taken)))
                taken.append(others[-1][1])
        tense = tense or draw.choice(TENSES)
        time = draw.ranked(ontology.TIMES[tense]) if tense in ontology.TIMES and draw.chance(timed) else None
        return Clause(verb.concept, subject, target, tuple(others), None, tense, False, time)

    def manner(self, verb: str) -> str | None:
        """An adverb for some of the events; "quickly owned" is none."""
        is_event = verb != "be" and not ontology.VERBS[verb].is_state
        return self.draw.ranked(ontology.MANNERS) if is_event and self.draw.chance(0.15) else None

    def related(self, clause: Clause) -> Clause:
        """The clause with a relative clause at its object: what somebody else did to it. The same where none fits."""
        thing = clause.object
        if thing is None or thing.form not in ("a", "the") or thing.relative:
            return clause
        names = [phrase.noun for phrase in phrases(clause)]
        for _ in range(4):
            verb, who = self.verb(needs_object=True), self.people(1)[0]
            is_new = verb.concept != clause.verb and not {verb.concept, clause.verb} <= MAKING
            if is_new and ontology.fits(thing.noun, verb.objects) and who.noun not in names:
                inner = Clause(verb.concept, who, Phrase(thing.noun, "gap", plural=thing.plural), tense="past")
                return clause._replace(object=thing._replace(relative=inner))
        return clause

    def reason(self, same_gender: bool | None = None) -> tuple[Clause, Clause, int]:
        """An event between two persons, a state that explains it, and whose it is: 0 the subject's, 1 the other's.

        The laws are those of `tables.REASONS`. `same_gender`: None takes any two persons.
        """
        draw = self.draw
        verb, relation, states = draw.choice(reasons(self.sphere))
        whose = draw.below(2)
        people = self.people(2)
        while same_gender not in (None, people[0].gender == people[1].gender):
            people = self.people(2)
        event = self.clause(ontology.VERBS[verb], people[0], "past", timed=0.2)
        if relation == "object":
            event = event._replace(object=people[1], others=tuple(o for o in event.others if o[0] != "from"))
        else:
            event = event._replace(others=((relation, people[1]),))
        state = Clause("be", people[whose], complement=draw.choice(states[whose]))
        return event, state, whose


def possessive(owner: Phrase) -> str:
    """The form of what is somebody's own."""
    return "her" if owner.gender == "f" else "his"


def done_by(clause: Clause, who: Phrase) -> Clause:
    """The clause with another subject, who has a hand of his own: Anna hurt her hand, Tom hurt his."""
    thing = clause.object
    if thing and thing.form in ("her", "his"):
        thing = thing._replace(form=possessive(who))
    return clause._replace(subject=who, object=thing)


@cache
def reasons(sphere: str) -> list[tuple[str, str, tuple[list[str], list[str]]]]:
    """The laws of a sphere: verb, the relation of the other person, the states of subject and other that explain it."""
    found = []
    for line in tables.REASONS.strip().splitlines():
        event, own, other = (cell.split() for cell in line.split("|"))
        if ontology.VERBS[event[0]].sphere == sphere:
            found.append((event[0], event[1], (own, other)))
    return found


def known_by(what: Clause, thing: Phrase) -> Phrase:
    """The thing, told by what somebody did to it: the red lamp that Anna bought from Tom."""
    gap = Phrase(thing.noun, "gap", plural=thing.plural)
    return thing._replace(form="the", relative=what._replace(object=gap, others=what.others[:1]))


def attributes_of(noun: str) -> list[str]:
    """The attributes that a noun can be told with."""
    kind = ontology.KIND_OF.get(noun, "")
    return tables.ATTRIBUTES_OF.get("goods" if kind in tables.GOODS else kind, "").split()
