"""Both grammars: forms of words, agreement of annotations with text, one meaning in two languages, alignment."""

import pytest

from lmlab.microworld import lexicon_a, ontology, senses, tables
from lmlab.microworld.dictionary import entries
from lmlab.microworld.documents import document
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import alignment, languages
from lmlab.microworld.language_b import ACCUSATIVE, PARTICLES, PLURAL, TENSES, WORDS
from lmlab.microworld.meaning import Clause, Phrase, Sentence, clauses
from lmlab.microworld.world import World, person

LANGUAGES = languages()
A, B = LANGUAGES["a"], LANGUAGES["b"]
LAMP = Phrase("table", "the", adjectives=("red",))
GIFT = Clause("give", person("Anna"), LAMP, (("to", person("Tom")),), time="yesterday")


def sentences(count):
    return [each for number in range(1, count + 1) for part in document(World(), number) for each in part]


@pytest.mark.parametrize(
    "change, told",
    [
        ({}, "Anna gave the red table to Tom yesterday."),
        ({"negated": True}, "Anna did not give the red table to Tom yesterday."),
        ({"tense": "present", "time": None}, "Anna gives the red table to Tom."),
        ({"tense": "future", "time": "tomorrow"}, "Anna will give the red table to Tom tomorrow."),
        ({"tense": "perfect", "time": None, "manner": "never"}, "Anna has never given the red table to Tom."),
        ({"subject": Phrase("dog", "the", plural=True)}, "The dogs gave the red table to Tom yesterday."),
        ({"object": Phrase("egg", "a")}, "Anna gave an egg to Tom yesterday."),
        ({"object": Phrase("egg", "a", adjectives=("red",))}, "Anna gave a red egg to Tom yesterday."),
        ({"fault": "order"}, "Anna the red table gave to Tom yesterday."),
    ],
)
def test_the_usual_english(change, told):
    assert A.say(GIFT._replace(**change)) == told


def test_the_ways_to_tell_one_meaning():
    told = {A.say(GIFT, Draw("ways", number)) for number in range(100)}
    assert "Anna gave Tom the red table yesterday." in told
    assert "Yesterday the red table was handed by Anna to Tom." in told
    assert len({B.say(GIFT, Draw("ways", number)) for number in range(100)}) >= 4


def test_b_has_an_order_and_endings_of_its_own():
    words = [word.text for word in B.tell(GIFT)]
    anna, tom, table, red = WORDS["Anna"][0], WORDS["Tom"][0], WORDS["table"][0], WORDS["red"][0]
    give = WORDS["give"][0] + TENSES["past"]
    time = WORDS["yesterday"][0]
    assert words == [time, anna, PARTICLES["topic"], tom, PARTICLES["to"], table + ACCUSATIVE, red, give, "."]
    many = Clause("be", Phrase("dog", "the", plural=True), complement="sick")
    assert B.tell(many)[0].text == WORDS["dog"][0] + PLURAL


def test_questions():
    assert A.text(A.ask(GIFT, "subject")) == "Who gave the red table to Tom yesterday?"
    assert A.text(A.ask(GIFT, "object")) == "What did Anna give to Tom yesterday?"
    assert A.text(A.ask(GIFT, "to")) == "Who did Anna give the red table to yesterday?"
    ride = Clause("ride", person("Anna"), Phrase("bike"), (("to", Phrase("Velby", "name")),))
    assert A.text(A.ask(ride, "to")) == "Where did Anna ride the bike?"
    come = Clause("come", person("Anna"), None, (("from", Phrase("Velby", "name")),), tense="present")
    assert A.text(A.ask(come, "from")) == "Where does Anna come from?"
    assert A.text(A.ask(GIFT, "time")) == "When did Anna give the red table to Tom?"
    for role in ("subject", "object", "to", "time", ""):
        assert B.text(B.ask(GIFT, role)).endswith(f"{PARTICLES['question']}?")


def test_the_closed_form_of_an_alignment():
    """Anna(0) gave(1) the(2) red(3) table(4) to(5) Tom(6) yesterday(7), beside the order of the test above."""
    expected = [(0, 1), (1, 7), (3, 6), (4, 5), (6, 3), (7, 0)]
    assert alignment(A.tell(GIFT), B.tell(GIFT)) == expected


def test_both_languages_tell_the_same_and_aligned_words_are_in_the_dictionary():
    known = {entry["concept"]: entry for entry in entries()}
    for sentence in sentences(60):
        told = A.words(sentence, Draw(1)), B.words(sentence, Draw(2))
        keys = [{word.key for word in words if word.key} for words in told]
        assert keys[0] == keys[1]
        for i, j in alignment(*told):
            one, other = told[0][i], told[1][j]
            assert one.concept == other.concept
            if entry := known.get(one.concept):
                assert any(other.text.startswith(word) for word in entry["b"])


def test_annotations_agree_with_the_text():
    for sentence in sentences(60):
        for language in LANGUAGES.values():
            words = language.words(sentence, Draw(3))
            text = language.text(words)
            assert "".join(word.text for word in words) == text.replace(" ", "")
            assert all(word.pos.isupper() for word in words)
            assert {word.pos == "PUNCT" for word in words if word.text in (".", ",")} <= {True}
    saw = Clause("see", person("Anna"), Phrase("saw", "a"), tense="past")
    tags = [(word.text, word.pos, word.concept) for word in A.tell(saw)]
    assert ("saw", "VERB", "see") in tags and ("saw", "NOUN", "saw") in tags


def test_a_word_of_two_senses_in_one_language_is_two_words_in_the_other():
    assert len(senses.ambiguous("a")) >= 10 and len(senses.ambiguous("b")) >= 6
    for one, two in senses.ambiguous("a").values():
        assert lexicon_a.NOUNS[one][0] == lexicon_a.NOUNS[two][0] and WORDS[one][0] != WORDS[two][0]
    for one, two in senses.ambiguous("b").values():
        assert lexicon_a.NOUNS[one][0] != lexicon_a.NOUNS[two][0] and WORDS[one] == WORDS[two]


def test_no_two_concepts_share_a_word_of_b_but_those_named():
    shared = {pair.split(":")[1] for pair in tables.SHARED_IN_B.split()}
    words = [word for concept, found in WORDS.items() if concept not in shared for word in found]
    assert len(set(words)) == len(words)


def test_b_is_written_in_letters_of_another_script():
    text = B.say(GIFT).replace(" ", "").rstrip(".")
    assert all(letter.isalpha() and "ა" <= letter <= "ჰ" for letter in text)


def test_a_pronoun_is_told_after_what_it_means():
    """Whatever comes first by the grammar: a clause that refers back is told second in both languages."""
    late = Clause("be", Phrase("Tom", "pronoun", "m"), complement="poor")
    for number in range(20):
        for language in LANGUAGES.values():
            words = language.tell(Sentence(GIFT, "because", late), Draw(number))
            concepts = [word.concept for word in words]
            assert concepts.index("Tom") < concepts.index("pronoun")


def test_every_verb_and_state_belongs_to_one_sphere():
    verbs = [name for sphere in ontology.SPHERES for name in ontology.VERBS_OF[sphere]]
    states = [state for found in ontology.STATES.values() for state in found]
    assert len(set(verbs)) == len(verbs) and len(set(states)) == len(states)


def test_a_law_never_explains_both_sides_by_the_same_state():
    from lmlab.microworld.scenes import reasons

    laws = [law for sphere in tables.REASON_SPHERES for law in reasons(sphere)]
    assert len(laws) > 15
    own = {state for _, _, (mine, _) in laws for state in mine}
    others = {state for _, _, (_, theirs) in laws for state in theirs}
    assert len(own & others) >= 8  # the state alone tells nothing
    for verb, _, (mine, theirs) in laws:
        assert not set(mine) & set(theirs), verb
        spheres = {ontology.SPHERE_OF_STATE[state] for state in (*mine, *theirs)}
        assert spheres == {ontology.VERBS[verb].sphere}


def test_relative_clauses_are_found():
    inner = Clause("buy", person("Mary"), Phrase("table", "gap"))
    outer = GIFT._replace(object=LAMP._replace(relative=inner))
    assert A.say(outer) == "Anna gave the red table that Mary bought to Tom yesterday."
    assert list(clauses(outer)) == [outer, inner]
