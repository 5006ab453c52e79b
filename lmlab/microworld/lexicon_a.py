"""The words of language A: concepts with their written words, and the forms that these take."""

from functools import cache

from lmlab.microworld import ontology, tables

VOWELS = tuple("aeiou")


def article(word: str) -> str:
    """a or an."""
    return "an" if word[0] in VOWELS else "a"


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
PREPOSITION = {
    noun: kind.split()[1] for kind in tables.PLACES for noun in ontology.KINDS[kind]
}  # English idiom: in the garden, on the hill, at the market


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
