"""The world: who lives in it, what is true of them, and which of it is kept for training and which for scoring.

A laboratory for claims about pre-training whose truth must be known, as the synthetic biographies of "Physics of
Language Models" (Allen-Zhu and Li 2023, arXiv:2309.14316) and the fake English of K et al. (2020, arXiv:1912.07840)
and Artetxe et al. (2020, arXiv:1910.11856).

The split. A fact is a predicate said of a named person ("Anna bought a lamp", "Anna was angry", also when negated, in
any tense, and whatever the other words are). Each predicate belongs to one sphere of life (market, house, workshop,
journey, social, life), and each pair (person, sphere) belongs to one split. So no fact of a validation row, true or
false, occurs in a training row or in the corpus; all names, all predicates and all kinds of things do. The partition
is the same for every seed: whatever seeds of corpus and tasks are combined, nothing leaks.
"""

from collections.abc import Iterator
from functools import cache

from lmlab.microworld import ontology
from lmlab.microworld.draw import Draw, Ranked
from lmlab.microworld.meaning import Clause, Phrase, Sentence, clauses, phrases

SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}


@cache
def partition() -> dict[tuple[str, str], str]:
    """(person, sphere) -> split: of each sphere the same share of women and of men in every split."""
    found = {}
    for sphere in ontology.SPHERES:
        for group in (ontology.WOMEN, ontology.MEN):
            mixed = Draw("partition", sphere).shuffled(group)
            ends = round(len(mixed) * SPLITS["train"]), round(len(mixed) * (1 - SPLITS["test"]))
            for place, name in enumerate(mixed):
                split = "train" if place < ends[0] else "validation" if place < ends[1] else "test"
                found[name, sphere] = split
    return found


@cache
def persons_of(split: str, sphere: str) -> Ranked:
    """Who may be spoken of in a split, the frequent names first."""
    return Ranked(name for name in ontology.PERSONS if partition()[name, sphere] == split)


def facts(meaning: Sentence | Clause) -> Iterator[tuple[str, str]]:
    """The (person, sphere) of every predicate that a sentence says of a person, or asks about."""
    for clause in clauses(meaning):
        sphere = ontology.sphere_of(clause.verb, clause.complement)
        if sphere != ontology.NOTHING:
            for phrase in phrases(clause):
                if phrase.noun in ontology.GENDER:
                    yield phrase.noun, sphere


def person(name: str, form: str = "name") -> Phrase:
    """A mention of a person."""
    return Phrase(name, form, ontology.GENDER[name])


class World:
    """What is always true of each person: job, home, origin, employer, and what they are like.

    Args:
        seed: another seed, another world; the words, the grammars and the partition stay.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def life_of(self, name: str) -> list[Clause]:
        """The lasting facts of a person, in the present tense."""
        draw, who = Draw(self.seed, "life", name), person(name)
        home, origin = (Phrase(town, "name") for town in draw.sample(ontology.TOWNS, 2))
        company = Phrase(draw.ranked(ontology.COMPANIES), "name")
        return [
            Clause("be", who, complement=draw.ranked(ontology.JOBS), tense="present"),
            Clause("live", who, others=(("in", home),), tense="present"),
            Clause("come", who, others=(("from", origin),), tense="present"),
            Clause("work", who, others=(("for", company),), tense="present"),
            Clause("be", who, complement=draw.ranked(ontology.STATES["life"]), tense="present"),
        ]
