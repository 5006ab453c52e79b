"""The corpus: the same bytes everywhere, its size, its order, and the facts that it may tell."""

import hashlib
import re
from collections import Counter

import pytest

from lmlab.errors import UserError
from lmlab.microworld import ontology, talks, truth
from lmlab.microworld.documents import document, told
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import SECOND, languages
from lmlab.microworld.meaning import clauses, phrases
from lmlab.microworld.scenes import ACTIVE, Scene, possessive
from lmlab.microworld.stories import scripts, story
from lmlab.microworld.world import SPLITS, World, facts, partition
from lmlab.text.microworld import MicroWorld


@pytest.mark.parametrize("language, digest", [("a", "89d42c54727df4be"), ("b", "bf5286c63e8394f2")])
def test_the_same_bytes_on_every_machine(language, digest):
    """Raise GENERATOR_VERSION of the corpus when these change."""
    text = "\n\n".join(MicroWorld([language], 0.1).documents("train"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_a_document_depends_on_its_number_alone():
    spoken = languages()["a"]
    late = told(World(), 7, spoken)
    for number in (3, 9, 1):
        told(World(), number, spoken)
    assert told(World(), 7, languages()["a"]) == late
    assert told(World(1), 7, spoken) != late


@pytest.mark.parametrize("spoken", [["a"], ["b"], ["a", "b"]])
def test_the_corpus_has_the_size_asked_for(spoken):
    corpus = MicroWorld(spoken, 0.05)
    for split, size in (("train", 50_000), ("validation", 2_500)):
        length = sum(len(text.encode()) + 1 for text in corpus.documents(split))
        assert size <= length < size + 10_000
    train, validation = (set(corpus.documents(split)) for split in ("train", "validation"))
    assert not train & validation
    georgian = sum("ა" <= text[-2] <= "ჰ" for text in train) / len(train)
    assert georgian == pytest.approx({"a": 0, "b": 1, "ab": 0.5}["".join(spoken)], abs=0.15)


def test_the_fingerprint_knows_the_settings():
    corpora = [MicroWorld(), MicroWorld(["b"]), MicroWorld(megabytes=1), MicroWorld(seed=1)]
    assert len({corpus.fingerprint() for corpus in corpora}) == 4
    assert MicroWorld().fingerprint() == MicroWorld("a").fingerprint()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"megabytes": 0}, "corpus.megabytes=0 must be above 0"),
        ({"megabytes": -3}, "corpus.megabytes=-3 must be above 0"),
        ({"megabytes": float("inf")}, "corpus.megabytes=inf must be above 0"),
        ({"megabytes": "much"}, "corpus.megabytes=much must be above 0"),
        ({"sums": 2}, "corpus.sums=2 must lie between 0 and 1"),
        ({"talks": -0.1}, "corpus.talks=-0.1 must lie between 0 and 1"),
        ({"exchanges": ["claimd"]}, "corpus.exchanges: no exchange 'claimd' in this world.*did you mean 'claimed'"),
        ({"languages": None}, "one language, or both"),
        ({"languages": ["c"]}, "no language 'c' in this world"),
        ({"languages": []}, "one language, or both"),
        ({"languages": ["a", "a"]}, "one language, or both"),
    ],
)
def test_mistakes_are_told(settings, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        MicroWorld(**settings)


def test_the_partition_has_every_person_and_sphere_once_in_its_shares():
    pairs = partition()
    assert len(pairs) == len(ontology.PERSONS) * len(ontology.SPHERES)
    for split, share in SPLITS.items():
        for gender in "fm":
            found = sum(s == split and ontology.GENDER[name] == gender for (name, _), s in pairs.items())
            assert found == pytest.approx(share * len(pairs) / 2, rel=0.06)


def test_the_corpus_tells_training_facts_only():
    for number in range(-100, 300):
        for paragraph in document(World(), number):
            for sentence in paragraph:
                assert {partition()[pair] for pair in facts(sentence)} <= {"train"}


def test_causes_come_before_effects_and_every_script_can_be_played():
    for sphere in ACTIVE:
        assert len(scripts(sphere)) >= 6
        for number in range(60):
            played = story(Scene(World(), Draw("test", number), "train", sphere))
            assert [event.clock for event in played.events] == list(range(len(played.events)))
            assert not played.events[0].is_caused
            assert any(event.is_gist for event in played.events)


def in_the_order_told(sentence, words):
    """The clauses of a sentence as its text has them; in both languages some come the other way round."""
    places = [
        next(i for i, word in enumerate(words) if base < word.key < base + SECOND)
        for base in (0, SECOND)[: 1 + bool(sentence.second)]
    ]
    parts = [sentence.first, sentence.second][: len(places)]
    return [part for _, part in sorted(zip(places, parts, strict=True), key=lambda pair: pair[0])]


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_pronoun_means_the_subject_told_before_and_a_thing_is_new_once(name):
    for number in range(300):
        played = story(Scene(World(), Draw("pronouns", number), "train"))
        draw = Draw("telling", number)
        told = [in_the_order_told(each, languages()[name].tell(each, draw)) for each in played.sentences]
        told = [part for each in told for part in each]
        new = []
        for before, clause in zip([None, *told], told, strict=False):
            if clause.subject.form == "pronoun":
                assert clause.subject.noun == before.subject.noun
            if clause.object and clause.object.form == "pronoun":
                assert clause.object.noun == before.object.noun
            if clause.object and clause.object.form == "a" and clause.object.noun != "coin":
                new.append(clause.object.noun)
        assert len(set(new)) == len(new)


def test_nobody_does_something_to_himself():
    for number in range(1, 400):
        for clause in (each for part in document(World(), number) for sentence in part for each in clauses(sentence)):
            nouns = [phrase.noun for phrase in phrases(clause)]
            assert len(set(nouns)) == len(nouns)
            if clause.object and clause.object.form in ("her", "his"):
                assert clause.object.form == possessive(clause.subject)


def test_what_is_said_in_talks_follows_from_what_was_told():
    """True, yes: it is entailed; false: it is excluded; no: its denial is entailed; perhaps, possible: neither."""
    openers = Counter()
    for number in range(400):
        (told, *_), said = talks.EXCHANGES[number % len(talks.EXCHANGES)](Scene(World(), Draw(number), "train"))
        if not said:
            continue  # appraised: the judgement and the verdict are told together
        answer = said[-1]
        openers[answer.opener] += 1
        if told.link is None:
            expected = {"perhaps": "neutral", "possible": "neutral", "false": "contradiction"}
            assert truth.relation(told.first, answer.first) == expected.get(answer.opener, "entailment")
        if answer.opener in ("yes", "no"):
            assert answer.first.negated == (answer.opener == "no") and not said[0].clause.negated
        if told.link in ("before", "after"):
            is_same = (answer.first, answer.second) == (told.first, told.second)
            assert (is_same == (told.link == answer.link)) == (answer.opener == "true")
    assert min(openers[each] for each in ("again", "yes", "no", "perhaps", "true", "false", "possible", None)) > 5


def test_talks_hold_the_exchanges_that_are_named():
    corpus = MicroWorld(["a"], 0.05, sums=0, talks=1, exchanges=["appraised", "claimed_order"])
    said = [line for text in corpus.documents("train") for line in text.splitlines()]
    assert all(re.search("It was |before|after", line, re.IGNORECASE) for line in said)
    assert not any(word in line for line in said for word in ("?", "In other words", "possible"))
