"""Tasks of inference: three-way (as MNLI), two-way over a passage (RTE), pronouns (WNLI), and the order of events.

What follows from what is in `lmlab.microworld.truth`.
"""

from lmlab.microworld import tables
from lmlab.microworld.changes import changed, converse, other_of
from lmlab.microworld.meaning import Clause, Phrase, Sentence, phrases
from lmlab.microworld.scenes import done_by
from lmlab.microworld.tasks.rows import Row, Told
from lmlab.microworld.truth import LABELS, denied, entails, events, relation, states, strong_and_weak
from lmlab.microworld.world import person

SAME_GENDER = 0.2  # share of the pronouns whose gender does not tell whom they mean


def nli(scene: Told) -> Row | None:
    """Is the hypothesis true, open, or false when the premise is true? Both are as often denied under each label."""
    draw = scene.draw
    premise, hypothesis = (states if draw.chance(0.4) else events)(scene, label := scene.label(LABELS))
    if relation(premise, hypothesis) != label:
        return None
    row = {"premise": scene.say(premise), "hypothesis": scene.say(hypothesis), "label": label}
    return Row(row, [premise, hypothesis])


def rte(scene: Told) -> Row | None:
    """Does the hypothesis follow from a passage of three sentences? All of them are as often denied as not."""
    draw = scene.draw
    strong, weak = strong_and_weak(scene)
    follows, way = scene.label((True, False)), draw.below(3)
    others = [scene.clause()._replace(negated=draw.chance(0.5)) for _ in range(2)]
    premise, hypothesis = (denied(weak), denied(strong)) if draw.chance(0.5) else (strong, weak)
    if not follows and way == 0:
        hypothesis = denied(hypothesis)
    elif not follows and way == 1:
        hypothesis = changed(scene, hypothesis)
    elif not follows:  # what one did is said of another
        hypothesis = done_by(hypothesis, others[0].subject)
    if draw.chance(0.3):
        hypothesis = converse(hypothesis) or hypothesis
    passage = draw.shuffled([premise, *others])
    if any(entails(each, hypothesis) for each in passage) != follows or is_done_to_oneself(hypothesis):
        return None
    label = "entailment" if follows else "not_entailment"
    row = {"sentence1": " ".join(map(scene.say, passage)), "sentence2": scene.say(hypothesis), "label": label}
    return Row(row, [*passage, hypothesis])


def is_done_to_oneself(clause: Clause) -> bool:
    """Whether somebody has two parts in an event."""
    nouns = [phrase.noun for phrase in phrases(clause)]
    return len(set(nouns)) < len(nouns)


def coreference(scene: Told) -> Row:
    """Whose state explains it? "Anna gave a cup to Mary because she was poor": Mary was (Levesque et al. 2012).

    Of some pairs the pronouns of A tell the gender; the others, and all in B, are decided by what explains what.
    """
    scene.sphere = scene.draw.choice(tables.REASON_SPHERES)
    event, state, whose = scene.reason(same_gender=scene.draw.chance(SAME_GENDER))
    people = event.subject, person(other_of(event))
    guess = whose if scene.label((True, False)) else 1 - whose
    pronoun = Phrase(state.subject.noun, "pronoun", state.subject.gender)
    sentence = Sentence(event, "because", state._replace(subject=pronoun))
    claim = state._replace(subject=people[guess])
    label = "true" if guess == whose else "false"
    return Row({"sentence1": scene.say(sentence), "sentence2": scene.say(claim), "label": label}, [sentence, claim])


def order(scene: Told) -> Row | None:
    """Did one event come before another? The passage tells three, in their order or not; nothing else tells when."""
    draw = scene.draw
    events = [scene.clause(tense="past", timed=0) for _ in range(3)]
    if len({event.verb for event in events}) < 3:
        return None
    passage = draw.choice(TELLINGS)(*events)
    early, late = draw.choice(((0, 1), (1, 2), (0, 2)))
    is_true = scene.label((True, False))
    first, second = (events[early], events[late]) if is_true else (events[late], events[early])
    claim = Sentence(first, "before", second) if draw.chance(0.5) else Sentence(second, "after", first)
    row = {"passage": " ".join(map(scene.say, passage)), "statement": scene.say(claim)}
    return Row({**row, "label": "true" if is_true else "false"}, [*passage, claim])


# Ways to tell that x came first, then y, then z.
TELLINGS = (
    lambda x, y, z: [Sentence(x), Sentence(y, opener="then"), Sentence(z, opener="later")],
    lambda x, y, z: [Sentence(y), Sentence(x, opener="before_that"), Sentence(z, "after", y)],
    lambda x, y, z: [Sentence(x, "before", y), Sentence(z, opener="after_that")],
    lambda x, y, z: [Sentence(y, "after", x), Sentence(z, opener="later")],
    lambda x, y, z: [Sentence(z), Sentence(y, opener="before_that"), Sentence(x, "before", y)],
)
