"""What there is in the world: kinds of things, attributes, predicates and their spheres, read from `tables`."""

from functools import cache
from typing import NamedTuple

from lmlab.microworld import tables
from lmlab.microworld.draw import Ranked

SPHERES = ("market", "house", "workshop", "journey", "social", "life")
NOTHING = "nothing"  # the sphere of predicates that say nothing about a person


class Verb(NamedTuple):
    """A predicate: who can do it, to what, and with which others.

    `subjects` and `objects` are kinds or single concepts; no objects: intransitive. `others`: relation -> kinds.
    """

    concept: str
    sphere: str
    subjects: tuple[str, ...]
    objects: tuple[str, ...]
    others: dict[str, tuple[str, ...]]
    is_dative: bool
    is_state: bool


def rows(table: str) -> dict[str, str]:
    """`key: cells` of a table; a line that begins with a space goes on with the row before."""
    lines = table.strip().replace("\n ", " ").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def concept_of(cell: str) -> str:
    """`goose>geese/gander` is the concept goose."""
    return cell.split("/")[0].split(">")[0]


def _concepts(table: str) -> dict[str, Ranked]:
    return {key: Ranked(map(concept_of, cells.split())) for key, cells in rows(table).items()}


KINDS = _concepts(tables.NOUNS)
KIND_OF = {noun: kind for kind, nouns in KINDS.items() for noun in nouns}
ATTRIBUTES = _concepts(tables.ATTRIBUTES)
ATTRIBUTE_OF = {value: attribute for attribute, values in ATTRIBUTES.items() for value in values}
STATES = _concepts(tables.STATES)
JOBS = Ranked(map(concept_of, tables.JOBS.split()))
TIMES = {tense: Ranked(cells.split()) for tense, cells in rows(tables.TIMES).items()}
MANNERS = Ranked(tables.MANNERS.split())
TOWNS = Ranked(tables.TOWNS.split())
COMPANIES = Ranked(tables.COMPANIES.split())
WOMEN, MEN = tables.WOMEN.split(), tables.MEN.split()
GENDER = dict.fromkeys(WOMEN, "f") | dict.fromkeys(MEN, "m")
PERSONS = [name for pair in zip(WOMEN, MEN, strict=True) for name in pair]


def _kinds(cell: str) -> tuple[str, ...]:
    if cell.strip() == "-":
        return ()
    return tuple(kind for word in cell.split() for kind in tables.GROUPS.get(word, (word,)))


def _verbs() -> dict[str, Verb]:
    verbs, sphere = {}, ""
    for line in tables.VERBS.strip().splitlines():
        if "|" not in line:
            sphere = line
            continue
        forms, subjects, objects, others, marks = (cell.strip() for cell in line.split("|"))
        relations = {} if others == "-" else _relations(others)
        concept = forms.split("/")[0].split()[0]
        flags = "dative" in marks, "state" in marks
        verbs[concept] = Verb(concept, sphere, _kinds(subjects), _kinds(objects), relations, *flags)
    return verbs


def _relations(cell: str) -> dict[str, tuple[str, ...]]:
    """`near:bank.river island` -> {"near": ("bank.river", "island")}."""
    found: dict[str, str] = {}
    for word in cell.split():
        relation, colon, kind = word.partition(":")
        if colon:
            found[relation] = kind
        else:
            last = list(found)[-1]
            found[last] += f" {word}"
    return {relation: _kinds(kinds) for relation, kinds in found.items()}


VERBS = _verbs()
SPHERE_OF_STATE = {state: sphere for sphere, states in STATES.items() for state in states}
VERBS_OF = {sphere: Ranked(v.concept for v in VERBS.values() if v.sphere == sphere) for sphere in SPHERES}
# telling the same event from the other side; the relation changes with the verb
CONVERSE = {
    "buy": ("sell", "from", "to"),
    "sell": ("buy", "to", "from"),
    "give": ("receive", "to", "from"),
    "receive": ("give", "from", "to"),
    "lend": ("borrow", "to", "from"),
    "borrow": ("lend", "from", "to"),
}


@cache
def nouns_of(kinds: tuple[str, ...]) -> Ranked:
    """The nouns of some kinds (a single noun is its own kind), the frequent ones of each first."""
    lists = [KINDS.get(kind, (kind,)) for kind in kinds]
    longest = max(map(len, lists))
    return Ranked(nouns[rank] for rank in range(longest) for nouns in lists if rank < len(nouns))


def fits(noun: str, kinds: tuple[str, ...]) -> bool:
    """Whether a noun is among the kinds."""
    return noun in kinds or KIND_OF.get(noun) in kinds


def sphere_of(verb: str, complement: str | None) -> str:
    """The sphere of a predicate; jobs belong to life."""
    if verb != "be":
        return VERBS[verb].sphere
    return "life" if complement in JOBS else SPHERE_OF_STATE.get(complement or "", NOTHING)
