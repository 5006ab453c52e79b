"""Talks: what was told is said again in other words, asked about, and answered.

Here a reader can learn what the stories leave out: that two tellings mean the same, what follows from what was told,
and whom a pronoun means. As everywhere in the corpus, all of it is about facts of the training split.
"""

from collections.abc import Sequence

from lmlab.errors import UserError, nearest
from lmlab.microworld import tables
from lmlab.microworld.changes import converse, other_of, rich_clause, roles
from lmlab.microworld.draw import Draw
from lmlab.microworld.judgements import judged, verdict
from lmlab.microworld.meaning import Clause, Phrase, Question, Sentence
from lmlab.microworld.scenes import Scene
from lmlab.microworld.truth import LABELS, denied, events, relation, states
from lmlab.microworld.world import World, person

ANSWERS = {"entailment": "yes", "neutral": "perhaps", "contradiction": "no"}
JUDGED = {"entailment": "true", "neutral": "possible", "contradiction": "false"}
SOCIAL = 0.6  # share of the clauses with another person, for whom the same event has another side

AT_ONCE = 0.5  # share of the talks in which each thing is talked about as soon as it is told

Said = list[Sentence | Question]
Exchange = tuple[Said, Said]  # what is told, and what is said about it


def talk(world: World, draw: Draw, kinds: Sequence[str] | None = None) -> list[Said]:
    """Two or three things are told and talked about: each at once, or all in a second paragraph, in another order.

    Args:
        kinds: names of the exchanges that there are, each as likely as in `EXCHANGES`; None: all.
    """
    makers = [maker for maker in EXCHANGES if kinds is None or maker.__name__ in kinds]
    exchanges = [draw.choice(makers)(Scene(world, draw, "train")) for _ in range(2 + draw.below(2))]
    if draw.chance(AT_ONCE):
        return [told + said for told, said in exchanges]
    told = [each for told, _ in exchanges for each in told]
    return [told, [each for _, said in draw.shuffled(exchanges) for each in said]]


def restated(scene: Scene) -> Exchange:
    """The same in other words, perhaps from the other side."""
    clause = rich_clause(scene, social=SOCIAL)
    return [Sentence(clause)], [Sentence(from_a_side(scene, clause), opener="again")]


def asked_for_a_part(scene: Scene) -> Exchange:
    """Who, what, where or when, and the answer in a sentence."""
    clause = rich_clause(scene, social=SOCIAL)
    question = Question(clause, scene.draw.choice(roles(clause)))
    return [Sentence(clause)], [question, Sentence(from_a_side(scene, clause))]


def from_a_side(scene: Scene, clause: Clause) -> Clause:
    """The clause, or the same event from its other side: Anna bought it from Tom, Tom sold it to Anna."""
    return (converse(clause) if scene.draw.chance(0.6) else None) or clause


def asked_whether(scene: Scene) -> Exchange:
    """Whether something is so: yes, no, or perhaps."""
    draw = scene.draw
    told, asked = (states if draw.chance(0.4) else events)(scene, draw.choice(LABELS))
    asked = asked._replace(negated=False)
    label = relation(told, asked)
    answer = denied(asked) if label == "contradiction" else asked
    return [Sentence(told)], [Question(asked), Sentence(answer, opener=ANSWERS[label])]


def claimed(scene: Scene) -> Exchange:
    """A claim, and whether it is true, false, or possible."""
    draw = scene.draw
    told, claim = (states if draw.chance(0.4) else events)(scene, draw.choice(LABELS))
    return [Sentence(told)], [Sentence(claim, opener=JUDGED[relation(told, claim)])]


def claimed_order(scene: Scene) -> Exchange:
    """A claim about what came first."""
    draw = scene.draw
    first, second = (scene.clause(tense="past", timed=0) for _ in range(2))
    told = Sentence(first, "before", second) if draw.chance(0.5) else Sentence(second, "after", first)
    is_true = draw.chance(0.5)
    early, late = (first, second) if is_true else (second, first)
    claim = Sentence(early, "before", late) if draw.chance(0.5) else Sentence(late, "after", early)
    return [told], [claim._replace(opener="true" if is_true else "false")]


def about_the_reason(scene: Scene) -> Exchange:
    """Whose state explains what happened: whom the pronoun means."""
    scene.sphere = scene.draw.choice(tables.REASON_SPHERES)
    event, state, whose = scene.reason()
    pronoun = Phrase(state.subject.noun, "pronoun", state.subject.gender)
    told = Sentence(event, "because", state._replace(subject=pronoun))
    if scene.draw.chance(0.5):
        return [told], [Question(state, "subject"), Sentence(state)]
    other = state._replace(subject=person(other_of(event)) if whose == 0 else event.subject)
    return [told], [Sentence(state, opener="true") if scene.draw.chance(0.5) else Sentence(other, opener="possible")]


def appraised(scene: Scene) -> Exchange:
    """A judgement, and in plain words whether it is good or bad."""
    is_good, draw = scene.draw.chance(0.5), scene.draw
    told = [judged(scene, is_good), verdict(is_good)]
    return (told if draw.chance(0.6) else told[::-1]), []


# Each is as likely as it is often named.
EXCHANGES = (
    restated,
    restated,
    asked_for_a_part,
    asked_whether,
    claimed,
    claimed,
    claimed,
    claimed_order,
    about_the_reason,
    about_the_reason,
    appraised,
    appraised,
)


def check_exchanges(names: Sequence[str], key: str) -> None:
    """See that the exchanges that an option names are there.

    Raises:
        UserError: one is not.
    """
    known = sorted({maker.__name__ for maker in EXCHANGES})
    for name in names:
        if name not in known:
            hint = nearest(str(name), known)
            raise UserError(f"{key}: no exchange {name!r} in this world; known are {', '.join(known)}{hint}")
