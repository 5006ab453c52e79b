"""ERNIE's masking of phrases and entities (Sun et al. 2019, arXiv:1904.09223, section 3.2)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lmlab.corruptions.draws import Items, items_of
from lmlab.corruptions.masking import Masking
from lmlab.corruptions.whole_word import first_that_fit
from lmlab.errors import UserError
from lmlab.files import cache_dir as default_cache_dir
from lmlab.text.passage import Passage
from lmlab.text.phrases import PhraseFinder, Vocabulary, frequent_phrases, phrases_of
from lmlab.text.store import TokenStore
from lmlab.text.tokenizer import Tokenizer


class Phrase(Masking):
    """Choose phrases, and words that belong to none; all tokens of each are shown in the same way.

    ERNIE finds phrases by lexical analysis and entities by named-entity recognition; here they are frequent phrases of
    the training text (see `lmlab.text.phrases.mine_phrases`), or those of a list. In Chinese text each character is a
    word, and words are phrases. The rate is one of tokens; phrases and words are taken in random order unless they
    would exceed the number of tokens to choose.

    Args:
        facts: mask_id, vocab_size, special_ids; see `Masking`.
        phrases: a file with one phrase a line, or the phrases themselves; None: they are sought in the training text.
        max_words: words of the longest phrase that is sought.
        min_count: how often a phrase that is sought must occur.
        min_score: how strongly its words must belong together: 0 as by chance, 1 always.
        others: see `Masking`.
    """

    whole_words = True
    reads = ("word_starts",)
    learns = True

    def __init__(
        self,
        *facts,
        phrases: str | Sequence[str] | None = None,
        max_words: int = 4,
        min_count: int = 10,
        min_score: float = 0.4,
        **others,
    ):
        super().__init__(*facts, **others)
        if max_words < 2:
            raise ValueError(f"max_words={max_words} must be at least 2")
        if min_count < 1:
            raise ValueError(f"min_count={min_count} must be at least 1")
        if not -1 <= min_score <= 1:
            raise ValueError(f"min_score={min_score} must lie in [-1, 1]")
        if not isinstance(phrases, str | None) and not any(map(str.strip, phrases)):
            raise ValueError("phrases is an empty list: give at least one, or null to seek frequent ones in the text")
        self.phrases = phrases
        self.max_words, self.min_count, self.min_score = max_words, min_count, min_score
        self.finder: PhraseFinder | None = None

    def learn(self, store: TokenStore, tokenizer: Tokenizer, cache_dir: str | Path | None = None) -> str:
        vocabulary = Vocabulary(tokenizer)
        if self.phrases is not None:
            phrases = read_phrases(self.phrases) if isinstance(self.phrases, str) else self.phrases
            words = phrases_of([" ".join(phrase.split()) for phrase in phrases], tokenizer, vocabulary)
            if not words:
                raise UserError(f"the tokenizer knows none of the {len(phrases)} phrases of corruption.phrases")
        else:
            limits = (self.max_words, self.min_count, self.min_score)
            mined = frequent_phrases(store, tokenizer, cache_dir or default_cache_dir(), *limits)
            words = [phrase.words for phrase in mined]
            if not words:
                raise UserError(
                    f"the training text has no phrase that occurs {self.min_count} times with a score of"
                    f" {self.min_score}: lower corruption.min_count or corruption.min_score, or give corruption.phrases"
                )
        self.finder = PhraseFinder(words, vocabulary)
        return hashlib.sha256(repr(sorted(words)).encode()).hexdigest()

    def choose(self, text: Passage, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        units = self.units(text)
        order = generator.permutation(len(units))
        chosen = order[first_that_fit(units.lengths[order], self.wanted(text))]
        return units.places(chosen), units.lengths[chosen]

    def units(self, text: Passage) -> Items:
        """The phrases of a passage and the words that belong to none."""
        words = items_of(text, whole_words=True)
        if self.finder is None:  # nothing is learnt yet: no phrase is known
            return words
        segments = np.arange(len(words.segments)).repeat(words.segments)
        sizes = self.finder.units(text.tokens, words.first, words.first + words.lengths, segments)
        begins = sizes.cumsum() - sizes
        return Items(words.first[begins], np.add.reduceat(words.lengths, begins), np.bincount(segments[begins]))

    def expected_noise(self, text: Passage) -> float | None:
        """As in the base class, where that number is met for certain: by enough words of one token."""
        if self.finder is None:
            return None
        wanted, lengths = self.wanted(text), self.units(text).lengths
        return float(wanted) if np.count_nonzero(lengths == 1) >= wanted or wanted == lengths.sum() else None


def read_phrases(file: str) -> list[str]:
    """The phrases of a file, one a line. Raises UserError where it cannot be read or holds none."""
    try:
        lines = Path(file).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"corruption.phrases={file} is no text file with one phrase a line: {error}") from None
    if not (found := [line for line in lines if line.strip()]):
        raise UserError(f"corruption.phrases: {file} holds none; null seeks frequent ones in the training text")
    return found
