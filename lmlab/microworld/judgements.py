"""Judgements: what is said of a thing, or of what somebody likes, and whether that is good or bad."""

from lmlab.microworld import ontology
from lmlab.microworld.meaning import Clause, Phrase, Sentence
from lmlab.microworld.scenes import Scene, known_by

GOOD, BAD = ("lovely", "good", "tasty", "clean", "safe"), ("awful", "bad", "rotten", "dirty", "broken")
LIKED, DISLIKED = ("love", "like"), ("hate",)


def judged(scene: Scene, is_good: bool) -> Sentence:
    """A judgement; half of them concede the opposite: what comes after "but" weighs more."""
    draw = scene.draw
    judgement = one_judgement(scene, is_good)
    if not draw.chance(0.5):
        return Sentence(judgement)
    other = one_judgement(scene, not is_good)
    return Sentence(other, "but", judgement) if draw.chance(0.5) else Sentence(judgement, "although", other)


def one_judgement(scene: Scene, is_good: bool) -> Clause:
    """The soup that Anna cooked was good; Anna hates the race. With a "not" in half of them."""
    is_denied = scene.draw.chance(0.5)
    sounds_good = is_good != is_denied
    if scene.sphere == "social":
        verb = scene.draw.choice(LIKED if sounds_good else DISLIKED)
        clause = scene.clause(ontology.VERBS[verb], tense=scene.draw.choice(("past", "present")), timed=0)
        return clause._replace(negated=is_denied)
    while True:
        inner = scene.clause(scene.verb(needs_object=True), tense="past", timed=0)
        if inner.object.noun in ontology.KIND_OF and inner.object.form in ("a", "the"):
            break
    state = scene.draw.choice(GOOD if sounds_good else BAD)
    return Clause("be", known_by(inner, inner.object), complement=state, negated=is_denied)


def verdict(is_good: bool) -> Sentence:
    """It was good; it was bad."""
    return Sentence(Clause("be", Phrase("thing", "pronoun"), complement="good" if is_good else "bad"))
