"""Tasks of form: acceptability (as CoLA), parts of speech, names."""

from lmlab.microworld import ontology
from lmlab.microworld.language import Word
from lmlab.microworld.lexicon_a import of_two_parts_of_speech
from lmlab.microworld.meaning import Clause, Sentence
from lmlab.microworld.scenes import Scene, known_by
from lmlab.microworld.stories import story
from lmlab.microworld.tasks.rows import Row, Told

TRIES = 8  # sentences drawn to find one with a word of two parts of speech
OF_ONE_TENSE = ("yesterday", "last_week", "long_ago", "tomorrow", "next_week", "soon")  # "on Monday" may be either
RIGHT = "none"  # told as carefully as a clause with a fault is, but without one


# --- acceptability: each fault is shown in clauses that are as often right --------------------------------------


def acceptability(scene: Told) -> Row | None:
    """Is the sentence grammatical? The kind of clause is drawn before it is decided whether it gets its fault."""
    kinds = [agreement, time, number, order] + [form] * (scene.language.name == "a")
    right, wrong = scene.draw.choice(kinds)(scene)
    is_right = scene.label((True, False))
    chosen = right if is_right else wrong
    text = scene.say(chosen)
    if scene.language.say(right) == scene.language.say(wrong):
        return None  # "has cut" cannot be wrong; so it would always be right
    return Row({"sentence": text, "label": "acceptable" if is_right else "unacceptable"}, [chosen])


def agreement(scene: Scene) -> tuple[Clause, Clause]:
    """The lamps that Anna bought were (was) old: the verb agrees with a noun further off."""
    inner = scene.clause(scene.verb(needs_object=True), timed=0, tense="past")
    while inner.object.noun not in ontology.KIND_OF or inner.object.form in ("her", "his"):
        inner = scene.clause(scene.verb(needs_object=True), timed=0, tense="past")
    head = known_by(inner._replace(fault=RIGHT), inner.object._replace(plural=scene.draw.chance(0.5)))
    tense = scene.draw.choice(("past", "present", "perfect"))
    main = Clause("be", head, complement=scene.draw.ranked(ontology.STATES["nothing"]), tense=tense, fault=RIGHT)
    return main, main._replace(fault="agreement")


def time(scene: Scene) -> tuple[Clause, Clause]:
    """Tomorrow Anna will buy (bought) a lamp."""
    while True:
        clause = scene.clause(tense=scene.draw.choice(("past", "future")), timed=1)._replace(fault=RIGHT)
        if clause.time in OF_ONE_TENSE:
            break
    other = "future" if clause.tense == "past" else "past"
    return clause, clause._replace(tense=other)


def number(scene: Told) -> tuple[Clause, Clause]:
    """Two red lamps (lamp), a red lamp (lamps); in B a number word wants the singular."""
    while True:
        clause = scene.clause(scene.verb(needs_object=True))
        if clause.object.adjectives:
            break
    count = scene.draw.below(4) + 2 if scene.language.name == "b" or scene.draw.chance(0.5) else 0
    thing = clause.object._replace(form="a", plural=bool(count), count=count)
    clause = clause._replace(object=thing, fault=RIGHT)
    return clause, clause._replace(object=thing._replace(fault=True))


def form(scene: Scene) -> tuple[Clause, Clause]:
    """Anna will often buy (bought) a lamp, has never bought (buy) one: A only, B has no auxiliaries."""
    clause = scene.clause(tense=scene.draw.choice(("future", "perfect")))
    clause = clause._replace(manner=scene.draw.ranked(ontology.MANNERS), fault=RIGHT)
    return clause, clause._replace(fault="form")


def order(scene: Scene) -> tuple[Clause, Clause]:
    """The verb on the wrong side of the object: after it in A, before it in B."""
    clause = scene.clause(scene.verb(needs_object=True))._replace(fault=RIGHT)
    return clause, clause._replace(fault="order")


# --- tags -----------------------------------------------------------------------------------------------------


def pos(scene: Told) -> Row:
    """The part of speech of each word. Mostly there is one that in A is another part of speech elsewhere."""
    for _ in range(TRIES):
        sentence = scene.draw.choice(story(scene).sentences)
        if scene.draw.chance(0.6):
            sentence = Sentence(scene.related(scene.clause()))
        words = scene.language.tell(sentence, scene.telling)
        if of_two_parts_of_speech() & {word.concept for word in words}:
            break
    if not any(word.concept in ontology.GENDER for word in words):
        return None  # "It was broken." says nothing that belongs to one split
    return Row({"tokens": [word.text for word in words], "label": [word.pos for word in words]}, [sentence])


def ner(scene: Told) -> Row:
    """Persons, places and companies in a sentence; "Dorn Mills" is a company, Dorn a town."""
    scene.sphere = scene.draw.choice(("life", "life", "journey", scene.sphere))
    first, second = named(scene), named(scene)
    sentence = Sentence(first, "and", second) if scene.draw.chance(0.5) else Sentence(first)
    words = scene.language.tell(sentence, scene.telling)
    return Row({"tokens": [word.text for word in words], "label": entities(words)}, [sentence])


def named(scene: Scene) -> Clause:
    """A clause, more often than not with a town or a company."""
    if scene.sphere == "life":
        verb = ontology.VERBS[scene.draw.choice(("live", "work", "come"))]
        return scene.clause(verb, tense=scene.draw.choice(("past", "present", "future")))
    if scene.sphere == "journey" and scene.draw.chance(0.7):
        return scene.clause(ontology.VERBS[scene.draw.choice(("travel", "ride", "drive", "visit"))], all_others=True)
    return scene.clause()


def entities(words: list[Word]) -> list[str]:
    """The tags of a telling: B-, I- and O (Ramshaw and Marcus 1995)."""
    groups = {"PER": ontology.GENDER, "LOC": set(ontology.TOWNS), "ORG": set(ontology.COMPANIES)}
    tags, last = [], 0
    for word in words:
        kind = next((kind for kind, names in groups.items() if word.concept in names), None)
        begin = "I" if word.key == last else "B"
        tags.append(f"{begin}-{kind}" if kind else "O")
        last = word.key if kind else 0
    return tags
