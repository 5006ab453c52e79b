"""Tasks of telling: is a judgement good or bad (as SST-2), translation, sums."""

from lmlab.microworld import arithmetic, senses
from lmlab.microworld.judgements import judged
from lmlab.microworld.language import languages
from lmlab.microworld.meaning import Clause, Sentence
from lmlab.microworld.scenes import Scene
from lmlab.microworld.tasks.rows import Row, Told


def sentiment(scene: Told) -> Row:
    """Is the judgement good or bad? It may be denied ("not bad"), and what comes after "but" weighs more."""
    is_good = scene.label((True, False))
    sentence = judged(scene, is_good)
    return Row({"sentence": scene.say(sentence), "label": "positive" if is_good else "negative"}, [sentence])


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
