"""Tasks of telling: is a judgement good or bad (as SST-2), translation, sums."""

from lmlab.microworld import arithmetic, ontology, senses
from lmlab.microworld.language import languages
from lmlab.microworld.meaning import Clause, Sentence
from lmlab.microworld.scenes import Scene, known_by
from lmlab.microworld.tasks.rows import Row, Told

GOOD, BAD = ("lovely", "good", "tasty", "clean", "safe"), ("awful", "bad", "rotten", "dirty", "broken")
LIKED, DISLIKED = ("love", "like"), ("hate",)


def sentiment(scene: Told) -> Row:
    """Is the judgement good or bad? It may be denied ("not bad"), and what comes after "but" weighs more."""
    draw = scene.draw
    is_good = scene.label((True, False))
    judged = judgement(scene, is_good)
    sentence: Sentence = Sentence(judged)
    if draw.chance(0.5):
        other = judgement(scene, not is_good)
        sentence = Sentence(other, "but", judged) if draw.chance(0.5) else Sentence(judged, "although", other)
    return Row({"sentence": scene.say(sentence), "label": "positive" if is_good else "negative"}, [sentence])


def judgement(scene: Scene, is_good: bool) -> Clause:
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


# --- translation --------------------------------------------------------------------------------------------


def translation(scene: Told) -> Row | None:
    """A sentence, and the usual way to tell it in the other language.

    Sentences whose verbs leave open which sense a word has in either language are left out, so that there is one right
    answer.
    """
    clause = plain(scene)
    sentence = Sentence(clause)
    if scene.draw.chance(0.3):
        sentence = Sentence(clause, scene.draw.choice(("and", "but", "so", "because", "before")), plain(scene))
    if not all(senses.is_decided(sentence, name) for name in ("a", "b")):
        return None
    other = next(language for name, language in languages().items() if name != scene.language.name)
    return Row({"source": scene.say(sentence), "target": other.say(sentence)}, [sentence])


def plain(scene: Scene) -> Clause:
    """A clause of any kind without pronouns."""
    clause = scene.clause()
    clause = clause._replace(negated=scene.draw.chance(0.2))
    return scene.related(clause) if scene.draw.chance(0.2) else clause


def sums(scene: Told) -> Row:
    """A sum and its result, the same in both languages."""
    question, answer, fact = arithmetic.sum_of(scene.draw, scene.split)
    return Row({"question": question, "answer": answer}, [], (fact,))
