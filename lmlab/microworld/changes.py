"""Changes of meaning: what several tasks and documents make of a clause."""

from lmlab.microworld import ontology, tables
from lmlab.microworld.meaning import Clause, Phrase
from lmlab.microworld.scenes import Scene, done_by

ASKED = ("subject", "object", "from", "to", "with", "for", "at", "time")


def rich_clause(scene: Scene, timed: float = 0.5, social: float = 0.0) -> Clause:
    """A positive clause with an object and something besides, with another person in it in a share of the cases."""
    if wants_person := scene.draw.chance(social):
        scene.sphere = scene.draw.choice(("market", "market", "house", "journey", "social"))
    while True:
        clause = scene.clause(scene.verb(needs_object=True, needs_other=True), all_others=True, timed=timed)
        if not wants_person or swapped(clause):
            return clause


def converse(clause: Clause) -> Clause | None:
    """The same event from the other side: Anna bought it from Tom, Tom sold it to Anna. None where there is none."""
    verb, relation, other = ontology.CONVERSE.get(clause.verb, ("", "", ""))
    partner = dict(clause.others).get(relation)
    if partner is None:
        return None
    others = tuple((other, clause.subject) if each[0] == relation else each for each in clause.others)
    return clause._replace(verb=verb, subject=partner, others=others)


def swapped(clause: Clause) -> Clause | None:
    """Subject and another person change places. None where there is no other person, or it means the same."""
    if clause.verb in tables.SYMMETRIC:
        return None
    if clause.object and clause.object.noun in ontology.GENDER:
        return clause._replace(subject=clause.object, object=clause.subject)
    for relation, phrase in clause.others:
        if phrase.noun in ontology.GENDER:
            others = tuple((name, clause.subject if name == relation else p) for name, p in clause.others)
            return clause._replace(subject=phrase, others=others)
    return None


def changed(scene: Scene, clause: Clause, swap: float = 0.5) -> Clause:
    """Another meaning in nearly the same words: one part is another one of its kind, or two persons change places.

    Args:
        swap: share of the clauses in which they do, where there are two.
    """
    ways = [other_verb, other_thing, other_person, other_place, other_adjective]
    for way in [swapped_or_none, *scene.draw.shuffled(ways)] if scene.draw.chance(swap) else scene.draw.shuffled(ways):
        if (found := way(scene, clause)) is not None and found != clause:
            return found
    raise AssertionError(clause)


def swapped_or_none(scene: Scene, clause: Clause) -> Clause | None:
    """`swapped`, in the form of the other changes."""
    return swapped(clause)


def other_verb(scene: Scene, clause: Clause) -> Clause | None:
    """Another predicate of the sphere that fits the same participants."""
    old, noun = ontology.VERBS[clause.verb], clause.object.noun if clause.object else ""
    for _ in range(10):
        verb = scene.verb()
        relations = {relation for relation, _ in clause.others}
        is_person = noun in ontology.GENDER
        takes = (
            "person" in verb.objects if is_person else ontology.fits(noun, verb.objects) if noun else not verb.objects
        )
        if verb is not old and takes and relations <= set(verb.others) and "person" in verb.subjects:
            return clause._replace(verb=verb.concept)
    return None


def other_thing(scene: Scene, clause: Clause) -> Clause | None:
    """Another thing of the same kind."""
    thing = clause.object
    if thing is None or thing.noun not in ontology.KIND_OF:
        return None
    kinds = ontology.VERBS[clause.verb].objects
    alike = ontology.KINDS[ontology.KIND_OF[thing.noun]]
    nouns = [noun for noun in alike if noun != thing.noun and ontology.fits(noun, kinds)]
    return clause._replace(object=thing._replace(noun=scene.draw.choice(nouns))) if nouns else None


def other_person(scene: Scene, clause: Clause) -> Clause | None:
    """Another subject."""
    return done_by(clause, new_person(scene, clause))


def new_person(scene: Scene, clause: Clause, gender: str | None = None) -> Phrase:
    """A person who takes no part in the clause."""
    taken = [clause.subject, clause.object, *(phrase for _, phrase in clause.others)]
    while (who := scene.people(1, gender)[0]) in taken:
        pass
    return who


def other_place(scene: Scene, clause: Clause) -> Clause | None:
    """Another place."""
    others = dict(clause.others)
    if "at" not in others:
        return None
    others["at"] = scene.thing(tables.PLACES, plain=True)
    return clause._replace(others=tuple(others.items()))


def other_adjective(scene: Scene, clause: Clause) -> Clause | None:
    """Another value of an attribute."""
    thing = clause.object
    if thing is None or not thing.adjectives:
        return None
    first, *rest = thing.adjectives
    values = [value for value in ontology.ATTRIBUTES[ontology.ATTRIBUTE_OF[first]] if value != first]
    return clause._replace(object=thing._replace(adjectives=(scene.draw.choice(values), *rest)))


def roles(clause: Clause) -> list[str]:
    """What can be asked about a clause."""
    there = {"subject", "object" if clause.object else "", "time" if clause.time else ""} | set(dict(clause.others))
    return [role for role in ASKED if role in there]


def without(clause: Clause, role: str) -> Clause:
    """The clause with anybody, or nothing, in the place of a role."""
    if role == "time":
        return clause._replace(time=None)
    if role in ("subject", "object"):
        return clause._replace(**{role: Phrase("")})
    return clause._replace(others=tuple(each for each in clause.others if each[0] != role))


def other_of(event: Clause) -> str:
    """The name of the other person of an event between two."""
    phrases = [event.object, *(phrase for _, phrase in event.others)]
    return next(p.noun for p in phrases if p and p.noun in ontology.GENDER)
