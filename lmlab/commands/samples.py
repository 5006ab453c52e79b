"""What a model has learnt, shown on a few sentences of text that it was not trained on."""

from collections.abc import Iterator
from itertools import islice

from lmlab.errors import UserError
from lmlab.loading import LanguageModel, can
from lmlab.text.corpora import Corpus
from lmlab.text.sentences import split_sentences

NUM_BLANKS = 3
WORDS = range(7, 26)  # in a sentence that is worth showing
PROMPT_WORDS = 6


def samples(model: LanguageModel, corpus: Corpus) -> list[str]:
    """Lines that show three filled blanks, or a continuation, from validation text; none for other abilities."""
    try:
        if can(model.config, "fill"):
            return [line for words in islice(sentences(corpus), NUM_BLANKS) for line in filled(model, words)]
        if can(model.config, "generate"):
            return [continued(model, words) for words in islice(sentences(corpus), 1)]
    except UserError:  # a sentence too long for the model, say: a sample is no reason to fail
        pass
    return []


def sentences(corpus: Corpus) -> Iterator[list[str]]:
    """One sentence of ordinary length a document, in words."""
    for document in corpus.documents("validation"):
        for sentence in split_sentences(document):
            words = sentence.split()
            if len(words) in WORDS and any(is_plain(word) for word in words[2:]):
                yield words
                break


def is_plain(word: str) -> bool:
    """A word worth guessing: letters only, and not a short one."""
    return word.isalpha() and len(word) > 3


def filled(model: LanguageModel, words: list[str]) -> list[str]:
    """The sentence with a blank, and what the model puts there."""
    middle = len(words) // 2
    blank = min((i for i, word in enumerate(words) if i > 1 and is_plain(word)), key=lambda i: abs(i - middle))
    text = " ".join([*words[:blank], "[MASK]", *words[blank + 1 :]])
    guesses = ", ".join(f"{guess.text} {guess.probability:.0%}" for guess in model.fill(text, top_k=3)[0])
    return [f"  {text}", f"    -> {guesses} (was: {words[blank]})"]


def continued(model: LanguageModel, words: list[str]) -> str:
    """The beginning of the sentence, and how the model goes on."""
    prompt = " ".join(words[:PROMPT_WORDS])
    return f"  {prompt} ...{model.generate(prompt, max_new_tokens=40)[0]}"
