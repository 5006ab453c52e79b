"""Language B: another grammar over the same meanings, in words of its own, written in Georgian letters.

Subject object verb. No articles: a definite object carries a case ending. Postpositions. Adjectives and number words
after the noun, a relative clause before it, closed by a particle. A topic particle after a known subject. Verbs carry
tense and plural endings; "not" stands before the verb. One pronoun for she, he and it. A question ends in a particle,
with the question word where the answer would be. Word forms are generated (as the fake English of K et al. 2020,
arXiv:1912.07840, but with a grammar of its own, so that order and alignment are not those of language A).
"""

from lmlab.microworld import ontology, tables
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import (
    ADJECTIVES,
    COMPLEMENT,
    COORDINATING,
    COUNT,
    INNER,
    LINK,
    LINKS,
    MANNER,
    NOT,
    NOUN,
    NUMBERS,
    OBJECT,
    OPENER,
    OPENERS,
    OTHERS,
    SECOND,
    SUBJECT,
    TIME,
    VERB,
    Language,
    Word,
    asked,
    is_place,
    pick,
)
from lmlab.microworld.meaning import Clause, Phrase, Sentence, refers_back

CONSONANTS, VOWELS = "ბგდზთკლმნპრსტფქღშჩცძხჯ", "აეიოუ"
FINALS = "ნრლმსშდ"
OBJECT_FIRST, TIME_LATER = 0.15, 0.4  # how often the object stands before the subject, the time after it
TWO_WORDS = 0.25  # share of the concepts that have two words

DEFINITE = ("name", "the", "pronoun", "her", "his")
PLURAL, ACCUSATIVE = "ები", "ხო"
TENSES = {"past": "და", "present": "ი", "future": "მუ", "perfect": "დარა"}
PLURAL_VERB = "თენ"
GRAMMAR = """
topic:ვა relative:ჭე question:ყა not:არ every:ყოვ pronoun:ის pronouns:ისენ who:ვინ what:რა where:სად when:როს
to:კენ from:გან at:ში with:თან for:თვის in:შიდ near:ახლ
"""
PARTICLES = dict(pair.split(":") for pair in GRAMMAR.split())
SHARED = {two: one for one, two in (pair.split(":") for pair in tables.SHARED_IN_B.split())}


class Words:
    """The generated words of B, shorter for frequent concepts (Zipf); those of `SHARED_IN_B` alone share one."""

    def __init__(self) -> None:
        self.used = set(PARTICLES.values())
        self.of: dict[str, list[str]] = {}
        self.add((*LINKS, *OPENERS, "be"), 1)
        self.add(SHARED.values(), 2, synonyms=False)
        for table in (ontology.KINDS, ontology.ATTRIBUTES, ontology.STATES, ontology.TIMES):
            for concepts in table.values():
                self.add(concepts, 2)
        for concepts in (ontology.VERBS, ontology.JOBS, ontology.MANNERS, NUMBERS[1:]):
            self.add(concepts, 2)
        parts = [part for name in ontology.COMPANIES for part in name.split("_")]
        for names in (ontology.PERSONS, ontology.TOWNS, parts):
            self.add(names, 3, synonyms=False)

    def add(self, concepts, syllables: int, synonyms: bool = True) -> None:
        for rank, concept in enumerate(concepts):
            if concept in SHARED:
                self.of[concept] = self.of[SHARED[concept]][:1]
            elif concept not in self.of:
                draw = Draw("language b", concept)
                count = 1 + (synonyms and syllables > 1 and draw.chance(TWO_WORDS))
                length = syllables + (rank > 8 and syllables == 2)
                self.of[concept] = [self.new(draw, length) for _ in range(count)]

    def new(self, draw: Draw, syllables: int) -> str:
        while True:
            word = "".join(draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(syllables))
            word += draw.choice(FINALS) if draw.chance(0.5) or syllables == 1 else ""
            if word not in self.used:
                self.used.add(word)
                return word


WORDS = Words().of


class LanguageB(Language):
    """See the module."""

    name = "b"

    def tell(self, sentence: Sentence | Clause, draw: Draw | None = None) -> list[Word]:
        if isinstance(sentence, Clause):
            sentence = Sentence(sentence)
        out: list[Word] = []
        if sentence.opener:
            pos = "INTJ" if sentence.opener in ("yes", "no") else "ADV"
            out.append(Word(WORDS[sentence.opener][0], pos, sentence.opener, OPENER))
        if sentence.second is None:
            self.clause(out, sentence.first, draw, 0)
        else:
            self.linked(out, sentence, draw)
        out.append(Word(".", "PUNCT"))
        return out

    def linked(self, out: list[Word], sentence: Sentence, draw: Draw | None) -> None:
        """Two clauses. A subordinate one comes first unless it refers back; its conjunction stands at its end."""
        link, comma = sentence.link, Word(",", "PUNCT")
        first, second = (sentence.first, 0), (sentence.second, SECOND)
        if link in COORDINATING:
            self.clause(out, first[0], draw, first[1])
            out += [comma, Word(WORDS[link][0], "CCONJ", link, LINK)]
            self.clause(out, second[0], draw, second[1])
            return
        conjunction = Word(WORDS[link][0], "SCONJ", link, LINK)
        if refers_back(sentence):
            self.clause(out, first[0], draw, first[1])
            out.append(comma)
            self.clause(out, second[0], draw, second[1])
            out.append(conjunction)
        else:
            self.clause(out, second[0], draw, second[1])
            out += [conjunction, comma]
            self.clause(out, first[0], draw, first[1])

    # --- clauses

    def clause(self, out: list[Word], c: Clause, draw: Draw | None, base: int, topic: bool = True) -> None:
        """Append a clause: [time] subject [time] others object [not] [manner] verb."""
        late_time = c.time and draw is not None and draw.chance(TIME_LATER)
        object_first = c.object is not None and draw is not None and draw.chance(OBJECT_FIRST) and not c.fault
        if c.time and not late_time:
            self.time(out, c, base)
        if object_first:
            self.phrase(out, c.object, draw, base + OBJECT, case=True)
        self.phrase(out, c.subject, draw, base + SUBJECT)
        if topic and c.subject.form in DEFINITE:
            out.append(Word(PARTICLES["topic"], "PART"))
        if c.time and late_time:
            self.time(out, c, base)
        if c.fault == "order":  # a mistake: the verb before what should stand before it
            self.verb(out, c, draw, base)
        for number, (relation, phrase) in enumerate(c.others):
            self.phrase(out, phrase, draw, base + OTHERS + 8 * number)
            out.append(Word(PARTICLES[relation], "ADP"))
        if c.object is not None and not object_first:
            self.phrase(out, c.object, draw, base + OBJECT, case=True)
        if c.complement:
            pos = "NOUN" if c.complement in ontology.JOBS or c.complement in ontology.KIND_OF else "ADJ"
            out.append(Word(pick(WORDS[c.complement], draw), pos, c.complement, base + COMPLEMENT))
        if c.fault != "order":
            self.verb(out, c, draw, base)

    def verb(self, out: list[Word], c: Clause, draw: Draw | None, base: int) -> None:
        if c.negated:
            out.append(Word(PARTICLES["not"], "PART", "not", base + NOT))
        if c.manner:
            out.append(Word(WORDS[c.manner][0], "ADV", c.manner, base + MANNER))
        number = PLURAL_VERB if c.subject.plural != (c.fault == "agreement") else ""
        text = pick(WORDS[c.verb], draw) + TENSES[c.tense] + number
        out.append(Word(text, "AUX" if c.verb == "be" else "VERB", c.verb, base + VERB))

    def time(self, out: list[Word], c: Clause, base: int) -> None:
        out.append(Word(WORDS[c.time][0], "ADV", c.time, base + TIME))

    # --- phrases

    def phrase(self, out: list[Word], p: Phrase, draw: Draw | None, base: int, case: bool = False) -> None:
        """Append a phrase: [relative] noun adjectives number; a definite object with its case ending."""
        form, key = p.form, base + NOUN
        ending = ACCUSATIVE if case and form in DEFINITE else ""
        if form == "pronoun":
            word = PARTICLES["pronouns" if p.plural else "pronoun"]
            out.append(Word(word + ending, "PRON", "pronoun", key))
        elif form == "ask":
            out.append(Word(PARTICLES["what" if p.gender == "n" else "who"], "PRON", "ask", key))
        elif form == "name":
            self.relative(out, p, draw, base)
            *parts, last = (WORDS[part][0] for part in p.noun.split("_"))
            out += [Word(text, "PROPN", p.noun, key) for text in (*parts, last + ending)]
        elif form != "gap":
            self.relative(out, p, draw, base)
            if form == "every":
                out.append(Word(PARTICLES["every"], "DET"))
            plural = PLURAL if p.plural and (not p.count) != p.fault else ""
            out.append(Word(pick(WORDS[p.noun], draw) + plural + ending, "NOUN", p.noun, key))
            for number, each in enumerate(p.adjectives):
                out.append(Word(pick(WORDS[each], draw), "ADJ", each, base + ADJECTIVES + number))
            if p.count:
                out.append(Word(WORDS[NUMBERS[p.count]][0], "NUM", NUMBERS[p.count], base + COUNT))

    def relative(self, out: list[Word], p: Phrase, draw: Draw | None, base: int) -> None:
        if p.relative:
            self.clause(out, p.relative, draw, base * INNER, topic=False)
            out.append(Word(PARTICLES["relative"], "PART"))

    # --- questions

    def ask(self, clause: Clause, role: str, draw: Draw | None = None) -> list[Word]:
        out: list[Word] = []
        self.clause(out, asking(clause, role), draw, 0)
        if role == "time":
            place = next(i for i, word in enumerate(out) if word.key == TIME)
            out[place] = Word(PARTICLES["when"], "ADV", "ask", TIME)
        elif is_place(clause, role):
            place = next(i for i, word in enumerate(out) if word.concept == "ask")
            out[place] = Word(PARTICLES["where"], "ADV", "ask", out[place].key)
        out += [Word(PARTICLES["question"], "PART"), Word("?", "PUNCT")]
        return out


def asking(clause: Clause, role: str) -> Clause:
    """The clause with a question word in place of what is asked."""
    if role == "subject":
        return clause._replace(subject=asked(clause.subject))
    if role == "object":
        return clause._replace(object=asked(clause.object))
    return clause._replace(others=tuple((name, asked(p) if name == role else p) for name, p in clause.others))
