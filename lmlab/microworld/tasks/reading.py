"""Tasks of reading: does a sentence answer a question (as QNLI), where is the answer (SQuAD), what is the gist."""

from typing import NamedTuple

from lmlab.microworld import ontology
from lmlab.microworld.changes import changed, converse, new_person, rich_clause, roles, swapped, without
from lmlab.microworld.language import OBJECT, OTHERS, SECOND, SUBJECT, TIME, Word
from lmlab.microworld.meaning import Clause, Phrase, Sentence, clauses
from lmlab.microworld.scenes import done_by
from lmlab.microworld.stories import Event, Teller, happenings, story
from lmlab.microworld.tasks.rows import Row, Told


def question_answered(scene: Told) -> Row | None:
    """Does the sentence answer the question? If not, it lacks what is asked, or tells of something else."""
    draw = scene.draw
    clause = rich_clause(scene, timed=0.7, social=0.7)
    role = draw.choice(roles(clause))
    is_answered = scene.label((True, False))
    told = asked = clause
    if not is_answered and draw.chance(0.3) and role not in ("subject", "object"):
        told = without(clause, role)
    elif not is_answered:
        asked = changed(scene, clause)
        if role not in roles(asked) or without(asked, role) == without(clause, role):
            return None  # the question would not show the change
    row = {"question": scene.ask(asked, role), "sentence": scene.say(told)}
    return Row({**row, "label": "answered" if is_answered else "not_answered"}, [told, asked])


# --- answers in a text ------------------------------------------------------------------------------------------


ALIKE = 2  # clauses much like the one asked about that a story gets


class Passage(NamedTuple):
    """A told story, and where it tells what.

    Attributes:
        clauses: what it tells, in the order of the sentences.
        mentions: noun, or time expression -> all its mentions: the number of the clause, and the (start, end) in
            characters of the text; pronouns are none.
    """

    text: str
    clauses: list[Clause]
    mentions: dict[str, list[tuple[int, int, int]]]


def told(scene: Told, sentences: list[Sentence]) -> Passage:
    """Tell sentences one after the other and note where persons, things, places and times are mentioned."""
    passage = Passage("", [], {})
    for sentence in sentences:
        words = scene.language.tell(sentence, scene.telling)
        text = passage.text + " " * bool(passage.text)
        starts = [len(text) + start for start in offsets(words, scene)]
        for clause, base in ((sentence.first, 0), (sentence.second, SECOND)):
            if clause:
                note(passage, clause, base, words, starts)
                passage.clauses.append(clause)
        passage = passage._replace(text=text + scene.language.text(words))
    return passage


def offsets(words: list[Word], scene: Told) -> list[int]:
    """Where each word begins in the written text."""
    starts, place, text = [], 0, scene.language.text(words)
    for word in words:
        place = text.index(word.text, place)
        starts.append(place)
        place += len(word.text)
    return starts


def note(passage: Passage, clause: Clause, base: int, words: list[Word], starts: list[int]) -> None:
    """Enter the mentions of one clause."""
    places = [(SUBJECT, clause.subject), (OBJECT, clause.object)]
    places += [(OTHERS + 8 * number, phrase) for number, (_, phrase) in enumerate(clause.others)]
    told = [(phrase.noun, key, key + 8) for key, phrase in places if phrase and phrase.form not in ("pronoun", "gap")]
    told += [(clause.time, TIME, TIME + 1)] if clause.time else []
    for name, low, high in told:
        place = extent(words, starts, base + low, base + high)
        passage.mentions.setdefault(name, []).append((len(passage.clauses), *place))


def extent(words: list[Word], starts: list[int], low: int, high: int) -> tuple[int, int]:
    """From the first to the last word whose key lies in a range."""
    chosen = [i for i, word in enumerate(words) if low <= word.key < high]
    return starts[chosen[0]], starts[chosen[-1]] + len(words[chosen[-1]].text)


def question(scene: Told) -> Row | None:
    """A question about a story, and the stretch of it that answers."""
    return asked(scene, has_answer=True)


def question_or_none(scene: Told) -> Row | None:
    """The same, but of some questions the story does not tell the answer (SQuAD 2.0)."""
    return asked(scene, has_answer=scene.label((True, True, True, False, False)))


def asked(scene: Told, has_answer: bool) -> Row | None:
    """A story, and a question about one of its events; or about one that did not happen, in the same words.

    Two things like one of the events happen besides, so that the words of a sentence do not tell whether it answers.
    """
    draw = scene.draw
    events = happenings(scene, scene.people(3))
    model = draw.choice([event.clause for event in events if event.clause.subject.noun in ontology.GENDER])
    for _ in range(ALIKE):
        events = inserted(events, draw.below(len(events) + 1), like(scene, model))
    sentences = Teller(draw).sentences(events)
    passage = told(scene, sentences)
    questions = [(each, role) for each in passage.clauses for role in answerable(each, passage)]
    near = [each for each in questions if each[0].verb == model.verb]
    if not questions:
        return None
    clause, role = draw.choice(near or questions)
    query = named(clause)
    if not has_answer:
        query = swapped(query) or changed(scene, query) if clause.verb != "be" else like(scene, query)
        query = query._replace(negated=False)
        if role not in roles(query) or any(answers(each, query, role) for each in everything(passage)):
            return None
    start, end = answer(clause, role, passage)
    found = {"text": [passage.text[start:end]], "answer_start": [start]}
    none = {"text": [], "answer_start": []}
    row = {"question": scene.ask(query, role), "context": passage.text, "answers": found if has_answer else none}
    return Row(row, [*sentences, query])


def like(scene: Told, clause: Clause) -> Clause:
    """Something much like an event: another part of it is another, or somebody else did not do it, or was not so."""
    if clause.verb == "be" or scene.draw.chance(0.4):
        other = done_by(clause, new_person(scene, clause))
        return other._replace(negated=not clause.negated, time=None)
    return changed(scene, clause)._replace(time=None)


def inserted(events: list[Event], place: int, clause: Clause) -> list[Event]:
    """The events with one more; it is not what causes the next one."""
    after = [events[place]._replace(is_caused=False), *events[place + 1 :]] if place < len(events) else []
    return [*events[:place], Event(clause, place, False, False), *after]


def answerable(clause: Clause, passage: Passage) -> list[str]:
    """What can be asked about a clause so that the passage has one answer: nothing else happened that fits the rest."""
    if clause.verb in ("cost", "grow") or clause.negated:
        return []
    mine, told = named(clause), everything(passage)
    found = [role for role in roles(clause) if answer(clause, role, passage)]
    return [role for role in found if sum(answers(each, mine, role) for each in told) == 1]


def everything(passage: Passage) -> list[Clause]:
    """All that a passage tells, in relative clauses too, and each event also from its other side."""
    told = [named(each) for clause in passage.clauses for each in clauses(clause)]
    return told + [other for each in told if (other := converse(each))]


def answers(clause: Clause, query: Clause, role: str) -> bool:
    """Whether a clause says all that a question takes for granted, perhaps more, and what it asks for."""
    frames = [(each.verb, each.complement, each.tense, each.negated) for each in (clause, query)]
    parts, wanted = parts_of(clause), parts_of(query)
    return frames[0] == frames[1] and role in parts and all(parts.get(n) == p for n, p in wanted.items() if n != role)


def parts_of(clause: Clause) -> dict[str, Phrase | str]:
    """Everything in a clause that can be asked for."""
    parts = {"subject": clause.subject, "object": clause.object, "time": clause.time} | dict(clause.others)
    return {role: part for role, part in parts.items() if part is not None}


def answer(clause: Clause, role: str, passage: Passage) -> tuple[int, int] | None:
    """Where the passage names what is asked for: in the clause itself, or last before it where there is a pronoun."""
    name = clause.time if role == "time" else parts_of(clause)[role].noun
    number = next(i for i, each in enumerate(passage.clauses) if each is clause)
    places = [place[1:] for place in passage.mentions.get(name, ()) if place[0] <= number]
    return places[-1] if places else None


def named(clause: Clause) -> Clause:
    """The clause with names instead of pronouns, and known things."""
    others = tuple((relation, known(phrase)) for relation, phrase in clause.others)
    return clause._replace(subject=known(clause.subject), object=clause.object and known(clause.object), others=others)


def known(phrase: Phrase) -> Phrase:
    """A phrase as a question mentions it: by its name, or "the lamp"."""
    if phrase.noun in ontology.GENDER or phrase.form == "name":
        return phrase._replace(form="name", relative=None)
    return Phrase(phrase.noun, "the", phrase.gender, phrase.plural)


# --- the gist ---------------------------------------------------------------------------------------------------


def summary(scene: Told) -> Row:
    """A story, and its gist in the usual words, everybody by name: what the script marks as its turns."""
    told_story = story(scene)
    gist, mentioned = [], set()
    for event in told_story.events:
        if event.is_gist:
            target = event.clause.object
            is_new = target is None or target.noun not in mentioned
            mentioned |= {target.noun} if target else set()
            plain = [(r, first_mention(p, mentioned)) for r, p in event.clause.others]
            subject = first_mention(event.clause.subject, mentioned)
            clause = event.clause._replace(subject=subject, others=tuple(plain), time=None)
            gist.append(Sentence(clause if is_new else clause._replace(object=known(target))))
    usual = " ".join(scene.language.say(sentence) for sentence in gist)
    text = " ".join(map(scene.say, told_story.sentences))
    return Row({"document": text, "summary": usual}, [*told_story.sentences, *gist])


def first_mention(phrase: Phrase, mentioned: set[str]) -> Phrase:
    """New things stay new, known ones are "the lamp"."""
    is_new = phrase.form != "a" or phrase.noun not in mentioned
    if phrase.form == "a":
        mentioned.add(phrase.noun)
    return phrase if is_new else known(phrase)
