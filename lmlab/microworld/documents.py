"""The documents of the corpus: lives, laws, news, talks, stories, and lines of arithmetic."""

from collections.abc import Sequence

from lmlab.microworld import arithmetic, ontology, tables
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import Language
from lmlab.microworld.meaning import Clause, Phrase, Sentence
from lmlab.microworld.scenes import ACTIVE, Scene
from lmlab.microworld.stories import PRONOUN, as_pronoun, story
from lmlab.microworld.talks import Said, talk
from lmlab.microworld.world import World, partition

SUMS, TALKS = 0.03, 0.45  # shares: lines of arithmetic of all documents, and talks of the others
LIVES, LAWS, NEWS = 0.09, 0.04, 0.27  # shares of what is left; the rest are stories
EPISODES = (1, 2, 2, 3, 3, 4)


def document(world: World, number: int, talks: float = TALKS, exchanges: Sequence[str] | None = None) -> list[Said]:
    """The paragraphs of a document, a pure function of the world's seed and the others. Training facts only."""
    draw = Draw(world.seed, "document", number)
    if draw.chance(talks):
        return talk(world, draw, exchanges)
    chance = draw.random()
    if chance < LIVES:
        return lives(world, draw)
    if chance < LIVES + LAWS:
        return [laws(draw)]
    if chance < LIVES + LAWS + NEWS:
        return [news(world, draw)]
    return episodes(world, draw)


def episodes(world: World, draw: Draw) -> list[list[Sentence]]:
    """A few stories about the same persons."""
    while True:
        people = Scene(world, draw, "train").people(3)
        if open_spheres := [each for each in ACTIVE if all(partition()[p.noun, each] == "train" for p in people)]:
            break
    scenes = [Scene(world, draw, "train", draw.choice(open_spheres)) for _ in range(draw.choice(EPISODES))]
    paragraphs = []
    for scene in scenes:
        paragraphs.append(story(scene, people).sentences)
        people = draw.shuffled(people) if draw.chance(0.5) else people
    if partition()[people[0].noun, "life"] == "train" and draw.chance(0.15):
        paragraphs[0] = [Sentence(draw.choice(world.life_of(people[0].noun))), *paragraphs[0]]
    return paragraphs


def lives(world: World, draw: Draw) -> list[list[Sentence]]:
    """What is always true of a few persons, in no fixed order."""
    told = []
    for who in Scene(world, draw, "train", "life").people(3):
        facts = draw.sample(world.life_of(who.noun), 2 + draw.below(4))
        told.append([Sentence(facts[0])])
        told[-1] += [Sentence(f._replace(subject=as_pronoun(who)) if draw.chance(PRONOUN) else f) for f in facts[1:]]
    return told


def news(world: World, draw: Draw) -> list[Sentence]:
    """Single events of any tense about anybody, some with a reason; there a pronoun is whose the state can be."""
    told = []
    for _ in range(3 + draw.below(4)):
        if draw.chance(0.6):
            scene = Scene(world, draw, "train", draw.choice(tables.REASON_SPHERES))
            event, state, _ = scene.reason()
            if draw.chance(0.4):
                state = state._replace(subject=as_pronoun(state.subject))
            told.append(Sentence(event, "because", state))
        else:
            scene = Scene(world, draw, "train")
            clause = scene.clause()
            clause = clause._replace(negated=draw.chance(0.2))
            clause = clause if clause.negated else clause._replace(manner=scene.manner(clause.verb))
            told.append(Sentence(scene.related(clause) if draw.chance(0.3) else clause))
    return told


def laws(draw: Draw) -> list[Sentence]:
    """What holds for all kinds of things: every dog is an animal. No person has a part, so all splits share it."""
    told = []
    for kind in draw.sample(list(tables.NAMES_OF_KINDS), 3):
        for noun in draw.sample(ontology.KINDS[kind], 3):
            name = tables.NAMES_OF_KINDS[kind]
            if noun != name:
                form = draw.choice(("a", "every"))
                told.append(Sentence(Clause("be", Phrase(noun, form), complement=name, tense="present")))
    return told


def told(
    world: World,
    number: int,
    language: Language,
    sums: float = SUMS,
    talks: float = TALKS,
    exchanges: Sequence[str] | None = None,
) -> str:
    """The text of a document, a paragraph a line. Lines of arithmetic are the same in all languages.

    Args:
        sums: share of the documents that are lines of arithmetic.
        talks: share of the others that are talks.
        exchanges: what kinds of them there are, see `lmlab.microworld.talks`; None: all.
    """
    draw = Draw(world.seed, "telling", number, language.name)
    if draw.chance(sums):
        return "\n".join(arithmetic.line(draw, "train") for _ in range(4 + draw.below(8)))
    paragraphs = document(world, number, talks, exchanges)
    return "\n".join(" ".join(language.say(sentence, draw) for sentence in each) for each in paragraphs)
