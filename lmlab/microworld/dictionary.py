"""The dictionary of the two languages."""

from collections.abc import Iterator

from lmlab.microworld import language_b, lexicon_a, ontology
from lmlab.microworld.language import NUMBERS


def entries() -> Iterator[dict[str, str | list[str]]]:
    """concept, its part of speech, and its words in A and in B, the usual one of each first."""
    words_of_a = {
        **{concept: ("NOUN", [one for one, _ in words]) for concept, words in lexicon_a.NOUNS.items()},
        **{concept: ("VERB", [forms["base"] for forms in words]) for concept, words in lexicon_a.VERBS.items()},
        **{concept: ("ADJ", words) for concept, words in lexicon_a.ADJECTIVE_WORDS.items()},
        **{time: ("ADV", [" ".join(words)]) for time, words in lexicon_a.TIME_WORDS.items()},
        **{manner: ("ADV", [manner]) for manner in ontology.MANNERS},
        **{number: ("NUM", [number]) for number in NUMBERS[1:]},
        **{name: ("PROPN", [name]) for name in (*ontology.PERSONS, *ontology.TOWNS)},
    }
    for concept, (pos, words) in words_of_a.items():
        yield {"concept": concept, "pos": pos, "a": words, "b": language_b.WORDS[concept]}
