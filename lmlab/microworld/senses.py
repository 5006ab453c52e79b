"""Words with two senses: which there are in each language, and which predicates decide between the senses."""

from functools import cache

from lmlab.microworld import ontology, tables
from lmlab.microworld.language_b import WORDS
from lmlab.microworld.meaning import Clause, Sentence, clauses

SAID_ONLY_OF_KINDS = "kind"  # "plant" as the name of a kind is no thing that somebody buys


@cache
def ambiguous(language: str) -> dict[str, tuple[str, str]]:
    """word -> its two senses. In A the words that two concepts share, in B those of `tables.SHARED_IN_B`."""
    if language == "b":
        pairs = [tuple(pair.split(":")) for pair in tables.SHARED_IN_B.split()]
        return {WORDS[one][0]: (one, two) for one, two in pairs}
    found: dict[str, list[str]] = {}
    for noun, kind in ontology.KIND_OF.items():
        if "." in noun and kind != SAID_ONLY_OF_KINDS:
            found.setdefault(noun.split(".")[0], []).append(noun)
    return {word: (senses[0], senses[1]) for word, senses in found.items() if len(senses) == 2}


@cache
def rivals(language: str) -> dict[str, str]:
    """sense -> the other sense of its word."""
    pairs = ambiguous(language).values()
    return {one: two for pair in pairs for one, two in (pair, pair[::-1])}


@cache
def deciding(language: str) -> dict[str, list[tuple[str, str]]]:
    """sense -> (verb, place of the noun: "object" or a relation) where only this sense of its word makes sense.

    Both senses of a word have two verbs at least: "she hurt her nail" can be compared with nothing of the same sense.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for sense, rival in rivals(language).items():
        for verb in ontology.VERBS.values():
            if "person" not in verb.subjects:
                continue
            for place, kinds in {"object": verb.objects, **verb.others}.items():
                if ontology.fits(sense, kinds) and not ontology.fits(rival, kinds):
                    found.setdefault(sense, []).append((verb.concept, place))
    counts = {sense: len({verb for verb, _ in places}) for sense, places in found.items()}
    return {s: places for s, places in found.items() if min(counts[s], counts.get(rivals(language)[s], 0)) > 1}


def is_decided(meaning: Sentence | Clause, language: str) -> bool:
    """Whether the verbs decide the sense of every ambiguous noun of a sentence."""
    for clause in clauses(meaning):
        verb = ontology.VERBS[clause.verb]
        places = [(clause.subject, ()), (clause.object, verb.objects)]
        places += [(phrase, verb.others.get(relation, ())) for relation, phrase in clause.others]
        for phrase, kinds in places:
            rival = phrase and rivals(language).get(phrase.noun)
            if rival and phrase.form != "gap" and (not kinds or ontology.fits(rival, kinds)):
                return False
    return True
