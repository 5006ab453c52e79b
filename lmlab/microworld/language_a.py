"""Language A: English-like. Subject verb object, articles, agreement, tenses, prepositions, relative clauses last."""

from functools import cache

from lmlab.microworld import ontology
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import (
    ADJECTIVES,
    COMPLEMENT,
    COORDINATING,
    COUNT,
    INNER,
    LINK,
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
from lmlab.microworld.lexicon_a import ADJECTIVE_WORDS, NOUNS, PREPOSITION, TIME_POS, TIME_WORDS, VERBS, article
from lmlab.microworld.meaning import Clause, Phrase, Sentence, refers_back

PASSIVE, FRONTED, MOVED = 0.15, 0.4, 0.5  # how often a clause is passive, its time comes first, its receiver moves
NEVER_PASSIVE = {"pronoun", "gap", "ask", "her", "his"}
PRONOUNS = {"f": ("she", "her"), "m": ("he", "him"), "n": ("it", "it"), "plural": ("they", "them")}


@cache
def auxiliaries(tense: str, plural: bool, negated: bool, passive: bool) -> tuple[tuple[str, ...], str]:
    """What stands before the main verb, and the form of that: ("did", "not"), "base"."""
    no = ("not",) * negated
    if passive:
        before, after = copula(tense, plural)
        return (before, *no, *after), "participle"
    if tense == "future":
        return ("will", *no), "base"
    if tense == "perfect":
        return ("have" if plural else "has", *no), "participle"
    if tense == "past":
        return (("did", *no), "base") if negated else ((), "past")
    return (("do" if plural else "does", *no), "base") if negated else ((), "base" if plural else "third")


def copula(tense: str, plural: bool) -> tuple[str, tuple[str, ...]]:
    """The forms of "be": the finite one, and what follows."""
    if tense == "future":
        return "will", ("be",)
    if tense == "perfect":
        return ("have" if plural else "has"), ("been",)
    if tense == "past":
        return ("were" if plural else "was"), ()
    return ("are" if plural else "is"), ()


class LanguageA(Language):
    """See the module."""

    name = "a"

    def tell(self, sentence: Sentence | Clause, draw: Draw | None = None) -> list[Word]:
        if isinstance(sentence, Clause):
            sentence = Sentence(sentence)
        out: list[Word] = []
        if sentence.opener:
            self.opener(out, sentence.opener)
        if sentence.second is None:
            self.clause(out, sentence.first, draw, 0)
        else:
            self.linked(out, sentence, draw)
        return self.finished(out, ".")

    def opener(self, out: list[Word], opener: str) -> None:
        """Then; after that; yes, ..."""
        for word, pos in (each.split("/") for each in OPENERS[opener].split()):
            out.append(Word(word, pos) if pos == "PUNCT" else Word(word, pos, opener, OPENER))

    def linked(self, out: list[Word], sentence: Sentence, draw: Draw | None) -> None:
        """Two clauses. A subordinate one may come first: "Because X, Y"."""
        link, first, second = sentence.link, (sentence.first, 0), (sentence.second, SECOND)
        if link in COORDINATING:
            self.joined(out, link, "CCONJ", first, second, draw)
        elif draw is None or sentence.opener or draw.chance(0.6) or refers_back(sentence):
            self.joined(out, link, "SCONJ", first, second, draw)
        else:
            out.append(Word(link, "SCONJ", link, LINK))
            self.clause(out, sentence.second, draw, SECOND)
            out.append(Word(",", "PUNCT"))
            self.clause(out, sentence.first, draw, 0)

    def joined(self, out: list[Word], link: str, pos: str, first: tuple, second: tuple, draw: Draw | None) -> None:
        self.clause(out, first[0], draw, first[1])
        if link in ("but", "so"):
            out.append(Word(",", "PUNCT"))
        out.append(Word(link, pos, link, LINK))
        self.clause(out, second[0], draw, second[1])

    def finished(self, out: list[Word], mark: str) -> list[Word]:
        first = out[0]
        out[0] = Word(first[0][0].upper() + first[0][1:], *first[1:])
        out.append(Word(mark, "PUNCT"))
        return out

    # --- clauses

    def clause(self, out: list[Word], c: Clause, draw: Draw | None, base: int) -> None:
        """Append a clause: [time] subject verb object others [time]."""
        fronted = c.time and draw is not None and draw.chance(FRONTED)
        if fronted:
            self.time(out, c.time, base)
        if c.verb == "be":
            self.state(out, c, draw, base)
        elif self.may_be_passive(c) and draw is not None and draw.chance(PASSIVE):
            self.passive(out, c, draw, base)
        else:
            self.phrase(out, c.subject, 0, draw, base + SUBJECT)
            if c.fault != "order":
                self.verb(out, c, draw, base)
                self.objects(out, c, draw, base)
            else:  # a mistake: the object before the verb
                self.phrase(out, c.object, 1, draw, base + OBJECT)
                self.verb(out, c, draw, base)
                self.others(out, c.others, draw, base)
        if c.time and not fronted:
            self.time(out, c.time, base)

    def state(self, out: list[Word], c: Clause, draw: Draw | None, base: int) -> None:
        self.phrase(out, c.subject, 0, draw, base + SUBJECT)
        finite, rest = copula(c.tense, c.subject.plural != (c.fault == "agreement"))
        out.append(Word(finite, "AUX", "be", base + VERB))
        if c.negated:
            out.append(Word("not", "PART", "not", base + NOT))
        out += [Word(word, "AUX", "be", base + VERB) for word in rest]
        if c.manner:
            out.append(Word(c.manner, "ADV", c.manner, base + MANNER))
        self.complement(out, c, draw, base)
        self.others(out, c.others, draw, base)

    def complement(self, out: list[Word], c: Clause, draw: Draw | None, base: int) -> None:
        if words := ADJECTIVE_WORDS.get(c.complement):
            out.append(Word(pick(words, draw), "ADJ", c.complement, base + COMPLEMENT))
            return
        word = pick(NOUNS[c.complement], draw)[c.subject.plural]
        if not c.subject.plural:
            out.append(Word(article(word), "DET"))
        out.append(Word(word, "NOUN", c.complement, base + COMPLEMENT))

    def verb(self, out: list[Word], c: Clause, draw: Draw | None, base: int) -> None:
        """The verb with its auxiliaries."""
        before, form = auxiliaries(c.tense, c.subject.plural != (c.fault == "agreement"), c.negated, False)
        if c.fault == "form":
            form = {"base": "participle", "participle": "base"}[form]
        self.helpers(out, before, base)
        self.main_verb(out, c, form, draw, base)

    def main_verb(self, out: list[Word], c: Clause, form: str, draw: Draw | None, base: int) -> None:
        """The verb in a form, and before it an adverb of manner."""
        if c.manner:
            out.append(Word(c.manner, "ADV", c.manner, base + MANNER))
        out.append(Word(pick(VERBS[c.verb], draw)[form], "VERB", c.verb, base + VERB))

    def helpers(self, out: list[Word], words: tuple[str, ...], base: int) -> None:
        for word in words:
            out.append(Word("not", "PART", "not", base + NOT) if word == "not" else Word(word, "AUX"))

    def objects(self, out: list[Word], c: Clause, draw: Draw | None, base: int) -> None:
        """gave the cup to Tom, or (where the verb allows it) gave Tom the cup."""
        others = c.others
        if c.object is None:
            self.others(out, others, draw, base)
            return
        moves = others and others[0][0] == "to" and ontology.VERBS[c.verb].is_dative and c.object.form != "pronoun"
        if moves and draw is not None and draw.chance(MOVED):
            self.phrase(out, others[0][1], 1, draw, base + OTHERS)
            self.phrase(out, c.object, 1, draw, base + OBJECT)
            self.others(out, others, draw, base, skip=1)
        else:
            self.phrase(out, c.object, 1, draw, base + OBJECT)
            self.others(out, others, draw, base)

    def others(self, out: list[Word], others, draw: Draw | None, base: int, skip: int = 0) -> None:
        for number in range(skip, len(others)):
            relation, phrase = others[number]
            word = PREPOSITION.get(phrase.noun, relation) if relation == "at" else relation
            out.append(Word(word, "ADP"))
            self.phrase(out, phrase, 1, draw, base + OTHERS + 8 * number)

    def may_be_passive(self, c: Clause) -> bool:
        if c.object is None or c.fault or c.verb == "cost" or (c.negated and c.object.form == "a"):
            return False
        if c.object.noun in PREPOSITION:  # nobody says that the market was reached
            return False
        forms = (c.subject.form, c.object.form)
        return not ontology.VERBS[c.verb].is_state and not NEVER_PASSIVE.intersection(forms)

    def passive(self, out: list[Word], c: Clause, draw: Draw | None, base: int) -> None:
        """The cup was bought by Anna from Tom."""
        self.phrase(out, c.object, 0, draw, base + OBJECT)
        before, form = auxiliaries(c.tense, c.object.plural, c.negated, True)
        self.helpers(out, before, base)
        self.main_verb(out, c, form, draw, base)
        out.append(Word("by", "ADP"))
        self.phrase(out, c.subject, 1, draw, base + SUBJECT)
        self.others(out, c.others, draw, base)

    def time(self, out: list[Word], time: str, base: int) -> None:
        out += [Word(word, TIME_POS.get(word, "NOUN"), time, base + TIME) for word in TIME_WORDS[time]]

    # --- phrases

    def phrase(self, out: list[Word], p: Phrase, case: int, draw: Draw | None, base: int) -> None:
        """Append a phrase; case 0 is a subject, 1 anything else."""
        form = p.form
        if form == "name":
            out += [Word(word, "PROPN", p.noun, base + NOUN) for word in p.noun.split("_")]
            if p.relative:
                self.relative(out, p, draw, base)
        elif form == "pronoun":
            out.append(Word(PRONOUNS["plural" if p.plural else p.gender][case], "PRON", "pronoun", base + NOUN))
        elif form == "ask":
            out.append(Word("what" if p.gender == "n" else "who", "PRON", "ask", base + NOUN))
        elif form != "gap":
            self.noun_phrase(out, p, draw, base)

    def noun_phrase(self, out: list[Word], p: Phrase, draw: Draw | None, base: int) -> None:
        noun = pick(NOUNS[p.noun], draw)[p.plural != p.fault]
        adjectives = [pick(ADJECTIVE_WORDS[each], draw) for each in p.adjectives]
        if p.form == "the":
            out.append(Word("the", "DET"))
        elif p.form in ("every", "her", "his"):
            out.append(Word(p.form, "DET"))
        elif p.form == "a" and not p.count and not p.plural:
            out.append(Word(article((adjectives or [noun])[0]), "DET"))
        if p.count:
            out.append(Word(NUMBERS[p.count], "NUM", NUMBERS[p.count], base + COUNT))
        for number, word in enumerate(adjectives):
            out.append(Word(word, "ADJ", p.adjectives[number], base + ADJECTIVES + number))
        out.append(Word(noun, "NOUN", p.noun, base + NOUN))
        if p.relative:
            self.relative(out, p, draw, base)

    def relative(self, out: list[Word], p: Phrase, draw: Draw | None, base: int) -> None:
        out.append(Word("who" if p.gender != "n" else "that", "PRON"))
        self.clause(out, p.relative, draw, base * INNER)

    # --- questions

    def ask(self, clause: Clause, role: str, draw: Draw | None = None) -> list[Word]:
        out: list[Word] = []
        if role == "subject":
            self.clause(out, clause._replace(subject=asked(clause.subject)), draw, 0)
        else:
            self.inverted(out, self.question_word(out, clause, role, draw), draw)
        return self.finished(out, "?")

    def question_word(self, out: list[Word], c: Clause, role: str, draw: Draw | None) -> Clause:
        """Append what asks for a part of the clause, and return what is left: what / did Anna buy from Tom."""
        if not role:
            return c
        if role == "time":
            out.append(Word("when", "ADV", "ask", TIME))
            return c._replace(time=None)
        if role == "object":
            self.phrase(out, asked(c.object), 1, draw, OBJECT)
            return c._replace(object=None)
        place = [relation for relation, _ in c.others].index(role)
        phrase = c.others[place][1]
        gap = ((role, Phrase(phrase.noun, "gap")),)  # who did Anna buy it from
        if is_place(c, role):
            out.append(Word("where", "ADV", "ask", OTHERS + 8 * place))
            gap = gap if role == "from" else ()  # where did Anna go, but: where does Anna come from
        else:
            self.phrase(out, asked(phrase), 1, draw, OTHERS + 8 * place)
        return c._replace(others=c.others[:place] + gap + c.others[place + 1 :])

    def inverted(self, out: list[Word], c: Clause, draw: Draw | None) -> None:
        """did Anna (not) buy the cup from Tom yesterday"""
        if c.verb == "be":
            finite, rest = copula(c.tense, c.subject.plural)
            out.append(Word(finite, "AUX", "be", VERB))
            self.phrase(out, c.subject, 0, draw, SUBJECT)
            self.helpers(out, ("not",) * c.negated, 0)
            out += [Word(word, "AUX", "be", VERB) for word in rest]
            self.complement(out, c, draw, 0)
        else:
            before, form = auxiliaries(c.tense, c.subject.plural, c.negated, False)
            if not before:  # bought -> did buy, buys -> does buy
                before = ("did",) if c.tense == "past" else ("do",) if c.subject.plural else ("does",)
                form = "base"
            self.helpers(out, before[:1], 0)
            self.phrase(out, c.subject, 0, draw, SUBJECT)
            self.helpers(out, before[1:], 0)
            self.main_verb(out, c, form, draw, 0)
            if c.object:
                self.phrase(out, c.object, 1, draw, OBJECT)
            self.others(out, c.others, draw, 0)
        if c.time:
            self.time(out, c.time, 0)
