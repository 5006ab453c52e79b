"""Tasks of meaning between two texts: paraphrase (as MRPC), similarity (STS-B), questions (QQP), word sense (WiC)."""

from lmlab.microworld import ontology, senses
from lmlab.microworld.changes import (
    changed,
    converse,
    new_person,
    other_thing,
    other_verb,
    rich_clause,
    roles,
    swapped,
    without,
)
from lmlab.microworld.meaning import Clause, Phrase
from lmlab.microworld.scenes import Scene, done_by
from lmlab.microworld.tasks.rows import Row, Told


def paraphrase(scene: Told) -> Row | None:
    """Do two sentences mean the same? If so they differ in words or order; if not, in two parts or in who did it."""
    clause = other = rich_clause(scene, social=0.6)
    is_same = scene.label((True, False))
    for _ in range(0 if is_same else 2):
        other = changed(scene, other, swap=0.1)
    if not is_same and other == clause:
        return None
    if scene.draw.chance(0.5):
        other = converse(other) or other
    texts = scene.say(clause), scene.say(other)
    if texts[0] == texts[1]:
        return None
    label = "equivalent" if is_same else "not_equivalent"
    return Row({"sentence1": texts[0], "sentence2": texts[1], "label": label}, [clause, other])


Question = tuple[Clause, str]  # what is asked about, and the role that is asked for


def duplicate(scene: Told) -> Row | None:
    """Do two questions ask the same? If not, they ask for another part of it, or about something else."""
    clause = rich_clause(scene, social=0.8)
    about_things = [role for role in roles(clause) if role in ("object", "at", "time")]
    role = scene.draw.choice(about_things if about_things and scene.draw.chance(0.75) else roles(clause))
    is_same = scene.label((True, False))
    other = turned(clause, role) if scene.draw.chance(0.5) else (clause, role)
    texts = in_other_words(scene, (clause, role), other)
    if texts and not is_same:  # what can be asked in one way only is left out under both labels
        other = another_question(scene, clause, role)
        texts = other and in_other_words(scene, (clause, role), other)
    if not texts:
        return None
    label = "duplicate" if is_same else "not_duplicate"
    return Row({"question1": texts[0], "question2": texts[1], "label": label}, [clause, other[0]])


def another_question(scene: Told, clause: Clause, role: str) -> Question | None:
    """For another part of it, or about something else; None where what differs would be what is asked."""
    if scene.draw.chance(0.2):
        return clause, scene.draw.choice([each for each in roles(clause) if each != role])
    other = swapped(clause) if scene.draw.chance(0.7) else changed(scene, clause)
    if other is None or without(other, role) == without(clause, role):
        return None
    return turned(other, role) if scene.draw.chance(0.5) else (other, role)


def in_other_words(scene: Told, one: Question, other: Question) -> tuple[str, str] | None:
    """Two questions that differ in their words, not in the order alone; None where the language has no others."""
    for _ in range(8):
        texts = scene.ask(*one), scene.ask(*other)
        if set(texts[0].split()) != set(texts[1].split()):
            return texts
    return None


def turned(clause: Clause, role: str) -> Question:
    """The same question from the other side: who sold Anna the lamp, who did Anna buy the lamp from."""
    other = converse(clause)
    if other is None:
        return clause, role
    _, relation, theirs = ontology.CONVERSE[clause.verb]
    return other, {"subject": theirs, relation: "subject"}.get(role, role)


def similarity(scene: Told) -> Row:
    """How similar are two sentences? None to five of their parts are changed; `alike` counts what is left."""
    draw = scene.draw
    social = 0.7 * draw.chance(0.7)
    clause = rich_clause(scene, 1, social)
    while clause.time is None or clause.object.noun not in ontology.KIND_OF or clause.object.form in ("her", "his"):
        clause = rich_clause(scene, 1, social)
    clause = other = clause._replace(others=clause.others[:1])
    if draw.chance(0.3):
        other = swapped(clause) or clause
    changes = (other_subject, other_verb, other_object, other_first, other_time)
    for change in draw.sample(changes, draw.below(6)):
        other = change(scene, other) or other
    if other.object == clause.object and draw.chance(0.5):
        other = other_thing(scene, other) or other
    told = converse(other) or other if draw.chance(0.5) else other
    row = {"sentence1": scene.say(clause), "sentence2": scene.say(told), "label": alike(clause, other)}
    return Row(row, [clause, other])


def alike(one: Clause, other: Clause) -> float:
    """From 0 to 5: a point for each part that is the same: who, did what, to what, where or with whom, and when.

    A thing of the same kind (a cup for a bowl) is half a point.
    """
    same = [one.subject == other.subject, one.verb == other.verb, one.others == other.others, one.time == other.time]
    kinds = [ontology.KIND_OF.get(clause.object.noun) for clause in (one, other)]
    return float(sum(same)) + (1.0 if one.object == other.object else 0.5 * (kinds[0] == kinds[1]))


def other_subject(scene: Scene, clause: Clause) -> Clause:
    """Somebody else."""
    return done_by(clause, new_person(scene, clause))


def other_object(scene: Scene, clause: Clause) -> Clause | None:
    """Something of another kind."""
    kind, verb = ontology.KIND_OF[clause.object.noun], ontology.VERBS[clause.verb]
    for _ in range(10):
        thing = scene.participant(tuple(k for k in verb.objects if k != "person"), clause.object.form, [clause.subject])
        if ontology.KIND_OF[thing.noun] != kind:
            return clause._replace(object=thing)
    return None


def other_first(scene: Scene, clause: Clause) -> Clause:
    """Another place, or another person in it."""
    ((relation, phrase),) = clause.others
    if phrase.noun in ontology.GENDER:
        return clause._replace(others=((relation, new_person(scene, clause)),))
    kinds = ontology.VERBS[clause.verb].others[relation]
    return clause._replace(others=((relation, scene.participant(kinds, "the", [clause.subject])),))


def other_time(scene: Scene, clause: Clause) -> Clause:
    """Another time of the same tense."""
    return clause._replace(time=scene.draw.ranked(ontology.TIMES[clause.tense]))


# --- words in context -------------------------------------------------------------------------------------------


def word_in_context(scene: Told) -> Row:
    """Has a word the same sense in two sentences (Pilehvar and Camacho-Collados 2019)? The verbs decide it."""
    draw, language = scene.draw, scene.language.name
    deciding = senses.deciding(language)
    words = [word for word, pair in senses.ambiguous(language).items() if pair[0] in deciding]
    word = draw.choice(words)
    one = draw.choice(senses.ambiguous(language)[word])
    is_same = scene.label((True, False))
    other = one if is_same else senses.rivals(language)[one]
    first = with_sense(scene, one)
    second = with_sense(scene, other, besides=first.verb)
    row = {"word": word, "sentence1": scene.say(first), "sentence2": scene.say(second)}
    return Row({**row, "label": "same" if is_same else "different"}, [first, second])


def with_sense(scene: Told, sense: str, besides: str = "") -> Clause:
    """A clause whose verb, another one than `besides`, decides that the word has this sense."""
    ways = [way for way in senses.deciding(scene.language.name)[sense] if way[0] != besides]
    verb, place = scene.draw.choice(ways)
    scene.sphere = ontology.VERBS[verb].sphere
    clause = scene.clause(ontology.VERBS[verb], timed=0.2)
    phrase = Phrase(sense, "the")
    if place == "object":
        old = clause.object
        form = old.form if old.form not in ("name",) else "the"
        return clause._replace(object=phrase._replace(form=form))
    others = {**dict(clause.others), place: phrase}
    return clause._replace(others=tuple(others.items()))
