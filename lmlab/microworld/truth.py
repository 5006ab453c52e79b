"""What follows from what, and pairs of clauses of which it is known.

Truth is existential: "Anna did not buy a lamp" means that there is no lamp that she bought. So leaving out or widening
a part keeps a sentence true, and adding or narrowing one keeps a denied sentence true (monotonicity; van Benthem 1986).
"""

from lmlab.microworld import ontology, tables
from lmlab.microworld.changes import changed, converse, rich_clause
from lmlab.microworld.meaning import Clause, Phrase
from lmlab.microworld.scenes import Scene, attributes_of, known_by

LABELS = ("entailment", "neutral", "contradiction")


def relation(premise: Clause, hypothesis: Clause) -> str:
    """The label of a pair, from its meanings alone."""
    if entails(premise, hypothesis):
        return "entailment"
    return "contradiction" if entails(premise, denied(hypothesis)) else "neutral"


def entails(premise: Clause, hypothesis: Clause) -> bool:
    """Whether the hypothesis is true wherever the premise is."""
    if premise.negated != hypothesis.negated:
        return not premise.negated and excludes(premise, hypothesis)
    return says_all(hypothesis, premise) if premise.negated else says_all(premise, hypothesis)


def excludes(one: Clause, other: Clause) -> bool:
    """Whether two values of one attribute are said of the same thing."""
    if one.verb != "be" or other.verb != "be" or one.complement == other.complement:
        return False
    kinds = [ontology.ATTRIBUTE_OF.get(clause.complement) for clause in (one, other)]
    return one.subject == other.subject and one.tense == other.tense and kinds[0] is not None and kinds[0] == kinds[1]


def says_all(strong: Clause, weak: Clause) -> bool:
    """Whether the first, taken as true, says all that the second says."""
    (verb, roles), (weak_verb, weak_roles) = roles_of(strong), roles_of(weak)
    if (verb, strong.tense, strong.complement) != (weak_verb, weak.tense, weak.complement):
        return False
    is_there = weak.time in (None, strong.time)
    return is_there and all(role in roles and is_kind_of(roles[role], each) for role, each in weak_roles.items())


def roles_of(clause: Clause) -> tuple[str, dict[str, Phrase]]:
    """The event behind a clause: to sell is told as to buy, with the roles of buying."""
    others = dict(clause.others)
    roles = {"subject": clause.subject} | ({"object": clause.object} if clause.object else {})
    if clause.verb in ("sell", "receive", "borrow"):
        verb, partner, own = ontology.CONVERSE[clause.verb]
        roles = {"object": clause.object, own: clause.subject}
        roles |= {"subject": others.pop(partner)} if partner in others else {}
        return verb, roles | others
    return clause.verb, roles | others


def is_kind_of(phrase: Phrase, other: Phrase) -> bool:
    """Whether whatever is the first is the second: a red dog is a dog and an animal."""
    name = tables.NAMES_OF_KINDS.get(ontology.KIND_OF.get(phrase.noun, ""))
    return other.noun in (phrase.noun, name) and set(other.adjectives) <= set(phrase.adjectives)


# --- pairs ------------------------------------------------------------------------------------------------------


def events(scene: Scene, label: str) -> tuple[Clause, Clause]:
    """Two clauses about one event, of which one says more than the other."""
    draw = scene.draw
    strong, weak = strong_and_weak(scene)
    premise, hypothesis = (denied(weak), denied(strong)) if draw.chance(0.5) else (strong, weak)
    if label == "contradiction":
        hypothesis = denied(hypothesis)
    elif label == "neutral":
        if draw.chance(0.5):
            premise, hypothesis = hypothesis, premise  # the wrong way round: the stronger does not follow
        else:
            hypothesis = changed(scene, hypothesis)
        hypothesis = denied(hypothesis) if draw.chance(0.5) else hypothesis
    if draw.chance(0.3):
        hypothesis = converse(hypothesis) or hypothesis
    return premise, hypothesis


def states(scene: Scene, label: str) -> tuple[Clause, Clause]:
    """What a thing is like: red excludes blue, and leaves open whether it is old.

    So what is true may be denied ("it was red": "it was not blue") and what is false may not ("it was blue").
    """
    draw = scene.draw
    while True:
        inner = scene.clause(scene.verb(needs_object=True), tense="past", timed=0)
        attributes = attributes_of(inner.object.noun)
        if inner.object.form in ("a", "the") and len(attributes) > 1:
            break
    head = known_by(inner, Phrase(inner.object.noun))
    one, two = (ontology.ATTRIBUTES[each] for each in draw.sample(attributes, 2))
    first, second = draw.sample(one, 2)
    premise = Clause("be", head, complement=first, negated=draw.chance(0.4))
    if label == "neutral":
        value = draw.choice(two) if not premise.negated or draw.chance(0.5) else second
        return premise, premise._replace(complement=value, negated=draw.chance(0.5))
    is_other = not premise.negated and draw.chance(0.6)
    is_denied = premise.negated == (label == "entailment") if not is_other else label == "entailment"
    return premise, premise._replace(complement=second if is_other else first, negated=is_denied)


def strong_and_weak(scene: Scene) -> tuple[Clause, Clause]:
    """Two positive clauses of which the first implies the second, but not the other way round."""
    while True:
        strong = rich_clause(scene)
        kind = ontology.KIND_OF.get(strong.object.noun, tables.PLACES[0])
        if strong.object.form == "the" and kind not in tables.PLACES:
            strong = strong._replace(object=strong.object._replace(form="a"))
        ways = [way for way in (without_time, without_other, without_adjective, widened) if way(scene, strong)]
        if ways:
            break
    weak = strong
    for way in scene.draw.sample(ways, 1 + scene.draw.below(2)):
        weak = way(scene, weak) or weak
    return strong, weak


def denied(clause: Clause) -> Clause:
    """The opposite."""
    return clause._replace(negated=not clause.negated)


def without_time(scene: Scene, clause: Clause) -> Clause | None:
    """Without saying when."""
    return clause._replace(time=None) if clause.time else None


def without_other(scene: Scene, clause: Clause) -> Clause | None:
    """Without one of the others."""
    if not clause.others:
        return None
    left = scene.draw.below(len(clause.others))
    return clause._replace(others=clause.others[:left] + clause.others[left + 1 :])


def without_adjective(scene: Scene, clause: Clause) -> Clause | None:
    """With one adjective less on its object."""
    thing = clause.object
    return clause._replace(object=thing._replace(adjectives=thing.adjectives[1:])) if thing.adjectives else None


def widened(scene: Scene, clause: Clause) -> Clause | None:
    """A dog becomes an animal, where the language has a name for the kind."""
    kind = ontology.KIND_OF.get(clause.object.noun)
    if kind not in tables.NAMES_OF_KINDS or clause.object.form != "a":
        return None
    return clause._replace(object=clause.object._replace(noun=tables.NAMES_OF_KINDS[kind]))
