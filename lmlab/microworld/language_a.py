"""Language A: English-like. Subject verb object, articles, agreement, tenses, prepositions, relative clauses last."""

from functools import cache

from lmlab.microworld import ontology, tables
from lmlab.microworld.draw import Draw
from lmlab.microworld.language import (
    ADJECTIVES,
    COMPLEMENT,
    COUNT,
    INNER,
    LINK,
    MANNER,
    NOT,
    NOUN,
    OBJECT,
    OPENER,
    OTHERS,
    SECOND,
    SUBJECT,
    TIME,
    VERB,
    Language,
    Word,
)
from lmlab.microworld.meaning import Clause, Phrase, Sentence, refers_back

USUAL = 0.6  # how often the usual word is taken where there are several
PASSIVE, FRONTED, MOVED = 0.15, 0.4, 0.5  # how often a clause is passive, its time comes first, its receiver moves
NEVER_PASSIVE = {"pronoun", "gap", "ask", "her", "his"}
COORDINATING = ("and", "but", "so")
LINKS = (*COORDINATING, "because", "before", "after", "although")
OPENERS = {"then": ["then"], "later": ["later"], "after_that": ["after", "that"], "before_that": ["before", "that"]}
PRONOUNS = {"f": ("she", "her"), "m": ("he", "him"), "n": ("it", "it"), "plural": ("they", "them")}
VOWELS = tuple("aeiou")


# --- forms of words -----------------------------------------------------------------------------------------


def plural_of(noun: str) -> str:
    """The regular plural."""
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in VOWELS else f"{noun}s"


def third_of(verb: str) -> str:
    """The third person singular of the present."""
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return f"{verb}es"
    return plural_of(verb)


def past_of(verb: str) -> str:
    """The regular past; a short last syllable doubles its consonant."""
    if verb.endswith("e"):
        return f"{verb}d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return f"{verb[:-1]}ied"
    doubles = len(verb) < 5 and verb[-1] not in (*VOWELS, "w", "x", "y") and verb[-2] in VOWELS
    return f"{verb}{verb[-1]}ed" if doubles and verb[-3] not in VOWELS else f"{verb}ed"


def _nouns() -> dict[str, list[tuple[str, str]]]:
    """concept -> its words, each singular and plural."""
    found = {}
    for cells in ontology.rows(tables.NOUNS).values():
        for cell in cells.split():
            words = [word.partition(">")[::2] for word in cell.split("/")]
            found[ontology.concept_of(cell)] = [(bare(one), more or plural_of(bare(one))) for one, more in words]
    return found


def _verbs() -> dict[str, list[dict[str, str]]]:
    """concept -> its words, each with all forms."""
    found = {}
    for line in tables.VERBS.strip().splitlines():
        if "|" in line:
            words = [word.split() for word in line.split("|")[0].split("/")]
            found[words[0][0]] = [_forms(*word) for word in words]
    return found


def _forms(base: str, past: str = "", participle: str = "") -> dict[str, str]:
    base = bare(base)
    past = past or past_of(base)
    return {"base": base, "third": third_of(base), "past": past, "participle": participle or past}


def bare(concept: str) -> str:
    """The written word of a concept."""
    return concept.split(".")[0]


def _adjectives() -> dict[str, list[str]]:
    cells = [
        cell
        for table in (tables.ATTRIBUTES, tables.STATES)
        for row in ontology.rows(table).values()
        for cell in row.split()
    ]
    return {ontology.concept_of(cell): [bare(word) for word in cell.split("/")] for cell in cells}


NOUNS, VERBS, ADJECTIVE_WORDS = _nouns(), _verbs(), _adjectives()
JOB_WORDS = {ontology.concept_of(cell): [(w, plural_of(w)) for w in cell.split("/")] for cell in tables.JOBS.split()}
NOUNS |= JOB_WORDS
TIME_WORDS = {time: time.split("_") for times in ontology.TIMES.values() for time in times}
TIME_POS = {
    word: pos
    for pos, words in {
        "ADP": "in on",
        "DET": "this every these",
        "ADV": "yesterday ago long now soon tomorrow tonight",
        "ADJ": "last next",
        "PROPN": "Monday Friday Sundays",
    }.items()
    for word in words.split()
}
NUMBERS = ["", *tables.NUMBERS.split()]
PREPOSITION = {
    noun: kind.split()[1] for kind in tables.PLACES for noun in ontology.KINDS[kind]
}  # English idiom: in the garden, on the hill, at the market


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


@cache
def of_two_parts_of_speech() -> set[str]:
    """Concepts with a written word that is another part of speech elsewhere: a saw and she saw, a ride and to ride."""
    nouns = {concept: {form for word in words for form in word} for concept, words in NOUNS.items()}
    verbs = {concept: {form for word in words for form in word.values()} for concept, words in VERBS.items()}
    adjectives = {concept: set(words) for concept, words in ADJECTIVE_WORDS.items()}
    found = set()
    for group, others in ((nouns, (verbs, adjectives)), (verbs, (nouns, adjectives)), (adjectives, (nouns, verbs))):
        elsewhere = {form for other in others for forms in other.values() for form in forms}
        found |= {concept for concept, forms in group.items() if forms & elsewhere}
    return found


# --- sentences ----------------------------------------------------------------------------------------------


class LanguageA(Language):
    """See the module."""

    name = "a"

    def tell(self, sentence: Sentence | Clause, draw: Draw | None = None) -> list[Word]:
        if isinstance(sentence, Clause):
            sentence = Sentence(sentence)
        out: list[Word] = []
        if sentence.opener:
            words = OPENERS[sentence.opener]  # then; after that
            tags = ("ADV",) if len(words) == 1 else ("ADP", "PRON")
            out += [Word(*pair, sentence.opener, OPENER) for pair in zip(words, tags, strict=True)]
        if sentence.second is None:
            self.clause(out, sentence.first, draw, 0)
        else:
            self.linked(out, sentence, draw)
        return self.finished(out, ".")

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
        """The verb with its auxiliaries; an adverb of manner stands before the main verb."""
        before, form = auxiliaries(c.tense, c.subject.plural != (c.fault == "agreement"), c.negated, False)
        if c.fault == "form":
            form = {"base": "participle", "participle": "base"}[form]
        self.helpers(out, before, base)
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
        if c.manner:
            out.append(Word(c.manner, "ADV", c.manner, base + MANNER))
        out.append(Word(pick(VERBS[c.verb], draw)[form], "VERB", c.verb, base + VERB))
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
            return self.finished(out, "?")
        rest = clause
        if role == "time":
            out.append(Word("when", "ADV", "ask", TIME))
            rest = clause._replace(time=None)
        elif role == "object":
            self.phrase(out, asked(clause.object), 1, draw, OBJECT)
            rest = clause._replace(object=None)
        elif role:
            place = [relation for relation, _ in clause.others].index(role)
            phrase = clause.others[place][1]
            is_place = role in ("at", "in", "near") or ontology.fits(phrase.noun, tables.PLACES)
            wh = Word("where", "ADV", "ask", OTHERS + 8 * place) if is_place else None
            if wh:
                out.append(wh)
            else:
                self.phrase(out, asked(phrase), 1, draw, OTHERS + 8 * place)
            gap = Phrase(phrase.noun, "gap")
            others = clause.others[:place] + (((role, gap),) if not wh else ()) + clause.others[place + 1 :]
            rest = clause._replace(others=others)
        self.inverted(out, rest, draw)
        return self.finished(out, "?")

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
            if c.manner:
                out.append(Word(c.manner, "ADV", c.manner, MANNER))
            out.append(Word(pick(VERBS[c.verb], draw)[form], "VERB", c.verb, VERB))
            if c.object:
                self.phrase(out, c.object, 1, draw, OBJECT)
            self.others(out, c.others, draw, 0)
        if c.time:
            self.time(out, c.time, 0)


def pick(words: list, draw: Draw | None):
    """One of the words of a concept."""
    if draw is None or len(words) == 1 or (chance := draw.random()) < USUAL:
        return words[0]
    return words[1 + int((chance - USUAL) / (1 - USUAL) * (len(words) - 1))]


def article(word: str) -> str:
    """a or an."""
    return "an" if word[0] in VOWELS else "a"


def asked(phrase: Phrase) -> Phrase:
    """What stands for a phrase in a question."""
    return Phrase(phrase.noun, "ask", phrase.gender)
