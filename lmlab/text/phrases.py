"""Phrases: frequent ones sought in a text, or given ones, and where they are in a passage.

A phrase is a tuple of words, a word a tuple of ids. White space does not count, so that a phrase is the same whatever
stands after it, also for tokenizers of characters and bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np

from lmlab.files import atomic_write
from lmlab.text.store import SENTENCE_START, WORD_START, TokenStore
from lmlab.text.tokenizer import Tokenizer

Words = tuple[tuple[int, ...], ...]

FORMAT = 1  # raise it when other phrases are found, so that they are sought anew
CHUNK = 1_000_000  # tokens that are looked at at a time
MOST_TOKENS = 50_000_000  # of a longer text, chunks spread evenly over it are read
MOST_ENTRIES = 4_000_000  # of a table; n-grams seen least are forgotten when there are more
BASE = 0x9E3779B97F4A7C15  # of the hashes; odd, so that it has an inverse
BORDER = np.uint64(0xD1B54A32D192ED03)  # stands for the beginning of a word in them


@dataclass(frozen=True)
class MinedPhrase:
    """A phrase of a text, how often it occurs, and how strongly its words belong together (see `mine_phrases`)."""

    text: str
    words: Words
    count: int
    score: float


class Vocabulary:
    """What the tokens are made of, and hashes of runs of tokens.

    Attributes:
        blank: bool (V,), nothing but white space.
        has_letters: bool (V,), with letters or digits, or a part of a character.
        special: bool (V,), stands for no text.
    """

    def __init__(self, tokenizer: Tokenizer):
        texts = [tokenizer.decode([id]) for id in range(tokenizer.vocab_size)]
        self.special = np.zeros(len(texts), dtype=bool)
        self.special[list(tokenizer.special_ids)] = True
        self.blank = np.array([not text.strip() for text in texts]) & ~self.special
        self.has_letters = np.array([any(map(_is_letter, text)) for text in texts])
        self._values = np.where(self.blank, np.uint64(0), _mixed(np.arange(1, len(texts) + 1, dtype=np.uint64)))
        self._powers = np.ones((2, 1), dtype=np.uint64)  # of the base and of its inverse

    def prefixes(self, tokens: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From which `hashes` are computed, for tokens (T,) whose words begin at `first`; both (T + 1,) uint64."""
        if len(tokens) >= self._powers.shape[1]:
            bases = np.array([[BASE], [pow(BASE, -1, 2**64)]], dtype=np.uint64)
            factors = np.repeat(bases, 2 * len(tokens), axis=1)
            self._powers = np.concatenate([self._powers[:, :1], factors.cumprod(axis=1)], axis=1)
        place = np.zeros(len(tokens) + 1, dtype=np.int64)
        np.cumsum(~self.blank[tokens], out=place[1:])
        values = self._values[tokens]
        values[first] += BORDER
        sums = np.zeros(len(tokens) + 1, dtype=np.uint64)
        np.cumsum(values * self._powers[0][place[:-1]], out=sums[1:])
        return sums, self._powers[1][place]

    def visible(self, ids: Iterable[int]) -> tuple[int, ...]:
        """The ids that are not blank."""
        return tuple(id for id in ids if not self.blank[id])


def hashes(prefixes: tuple[np.ndarray, np.ndarray], starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """One number for each of the runs of tokens [start, end), equal for the same words wherever they stand."""
    sums, inverse = prefixes
    return (sums[ends] - sums[starts]) * inverse[starts]


class PhraseFinder:
    """Finds phrases in passages.

    Args:
        phrases: what to look for.
        vocabulary: of the tokenizer.
    """

    def __init__(self, phrases: Iterable[Words], vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        found: dict[int, set[int]] = {}
        for words in phrases:
            ids, ends = np.concatenate(words), np.cumsum([len(word) for word in words])
            prefixes = vocabulary.prefixes(ids, np.append(0, ends[:-1]))
            (key,) = hashes(prefixes, np.array([0]), ends[-1:])
            found.setdefault(len(words), set()).add(int(key))
        self._keys = {n: np.array(sorted(keys), dtype=np.uint64) for n, keys in sorted(found.items())}

    def units(self, tokens: np.ndarray, first: np.ndarray, ends: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """Cut the words of a passage into phrases and single words, from left to right, the longest phrase first.

        Args:
            tokens: the passage, (T,).
            first, ends: where each of its W words begins and ends.
            segments: (W,), equal for words between which no special token stands.

        Returns:
            the number of words of each unit; their sum is W.
        """
        longest = np.ones(len(first), dtype=np.int64)
        prefixes = self.vocabulary.prefixes(tokens, first)
        for n, keys in self._keys.items():
            last = slice(n - 1, None)
            until = len(first) - n + 1
            if until > 0:
                is_phrase = is_among(hashes(prefixes, first[:until], ends[last]), keys)
                longest[:until][is_phrase & (segments[:until] == segments[last])] = n
        starts, free = np.ones(len(first), dtype=bool), 0
        for place in (longest > 1).nonzero()[0].tolist():
            if place >= free:
                free = place + int(longest[place])
                starts[place + 1 : free] = False
        return np.diff(starts.nonzero()[0], append=len(first))


def is_among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which keys are among the sorted `known` ones."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    return known[np.minimum(known.searchsorted(keys), len(known) - 1)] == keys


def phrases_of(texts: Iterable[str], tokenizer: Tokenizer, vocabulary: Vocabulary) -> list[Words]:
    """The given phrases in tokens, as they stand at the beginning of a text and after a space."""
    forms = [form for text in texts for form in (text, f" {text}")]
    found = []
    for encoded in tokenizer.encode_batch_with_words(forms):
        parts = np.split(encoded.ids, encoded.word_starts.nonzero()[0][1:])
        words = tuple(filter(None, (vocabulary.visible(part.tolist()) for part in parts)))
        if words and not any(vocabulary.special[list(word)].any() for word in words):
            found.append(words)
    return list(dict.fromkeys(found))


def frequent_phrases(
    store: TokenStore,
    tokenizer: Tokenizer,
    cache_dir: str | Path,
    max_words: int,
    min_count: int,
    min_score: float,
) -> list[MinedPhrase]:
    """As `mine_phrases`, from the cache where this was done before: `phrases/<hash>.jsonl`, a phrase a line."""
    facts = [FORMAT, store.data_hash, tokenizer.hash, max_words, min_count, min_score]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    path = Path(cache_dir) / "phrases" / f"{key}.jsonl"
    if not path.is_file():
        found = mine_phrases(store, tokenizer, max_words, min_count, min_score)
        atomic_write(path, "".join(json.dumps(asdict(phrase), ensure_ascii=False) + "\n" for phrase in found))
    phrases = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [MinedPhrase(**{**phrase, "words": tuple(map(tuple, phrase["words"]))}) for phrase in phrases]


def mine_phrases(
    store: TokenStore, tokenizer: Tokenizer, max_words: int, min_count: int, min_score: float
) -> list[MinedPhrase]:
    """Phrases of 2 to `max_words` words that occur often and together more often than by chance, frequent ones first.

    The score of two parts is their normalised pointwise mutual information (Bouma 2009), from 0 for parts that are
    independent to 1 for parts that only occur together; that of a phrase is the lowest over all places where it can be
    cut in two. Phrases lie within sentences, and all their words have letters or digits.

    Args:
        store: the text with its marks; memory does not grow with it.
        tokenizer: made its tokens.
        max_words: words of the longest phrase.
        min_count: how often a phrase must occur.
        min_score: the score it must reach.
    """
    vocabulary = Vocabulary(tokenizer)
    counts: dict[Words, int] = {}
    places: dict[Words, slice] = {}  # where each stands in the store for the first time
    frequent = np.zeros(0, dtype=np.uint64)  # hashes of the frequent n-grams, one word shorter than those counted
    total = 0
    for n in range(1, max_words + 1):
        table = _Table()
        for chunk in _chunks(store, vocabulary):
            keys, starts, ends = chunk.ngrams(n)
            if n == 1:
                total += len(keys)
            else:
                shorter = chunk.hashes(n - 1)
                often = is_among(shorter, frequent)
                wanted = (often[:-1] & often[1:])[chunk.whole(n)]
                keys, starts, ends = keys[wanted], starts[wanted], ends[wanted]
            table.add(keys, starts, ends)
        table.keep_more_than(min_count - 1)
        frequent = table.keys
        for count, start, end in zip(table.counts.tolist(), table.starts.tolist(), table.ends.tolist(), strict=True):
            words = _words(store, vocabulary, slice(start, end))
            counts[words], places[words] = count, slice(start, end)
    found = ((words, count, _score(words, counts, total)) for words, count in counts.items() if len(words) > 1)
    strong = sorted((each for each in found if each[2] >= min_score), key=lambda each: (-each[1], each[0]))
    return [
        MinedPhrase(tokenizer.decode(store.ids[places[words]]).strip(), words, count, round(score, 4))
        for words, count, score in strong
    ]


@dataclass
class _Chunk:
    """Some tokens of a store, in words.

    Attributes:
        offset: place of the first token in the store.
        first, ends: where each word begins and ends in the chunk.
        usable: bool, a word that may be part of a phrase.
        runs: equal for words that stand in a row of usable ones.
        prefixes: see `hashes`.
    """

    offset: int
    first: np.ndarray
    ends: np.ndarray
    usable: np.ndarray
    runs: np.ndarray
    prefixes: tuple[np.ndarray, np.ndarray]

    def hashes(self, n: int) -> np.ndarray:
        """Of all runs of n words."""
        until = max(len(self.first) - n + 1, 0)
        return hashes(self.prefixes, self.first[:until], self.ends[n - 1 :])

    def whole(self, n: int) -> np.ndarray:
        """Which runs of n words may be a phrase."""
        until = max(len(self.first) - n + 1, 0)
        return self.usable[:until] & (self.runs[:until] == self.runs[n - 1 :])

    def ngrams(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hash, start and end in the store of each run of n words that may be a phrase."""
        whole, until = self.whole(n), max(len(self.first) - n + 1, 0)
        return self.hashes(n)[whole], self.first[:until][whole] + self.offset, self.ends[n - 1 :][whole] + self.offset


def _chunks(store: TokenStore, vocabulary: Vocabulary) -> Iterator[_Chunk]:
    """The text of a store in parts; a word at the border of two counts in both, cut."""
    borders = [*range(0, len(store.ids), CHUNK), len(store.ids)]
    step = -(-len(store.ids) // MOST_TOKENS)
    for start, end in list(pairwise(borders))[::step]:
        tokens, marks = store.ids[start:end], store.marks[start:end]
        first = np.flatnonzero(marks & WORD_START)
        if not len(first):
            continue
        ends = np.append(first[1:], len(tokens))
        has_letters = np.logical_or.reduceat(vocabulary.has_letters[tokens], first)
        usable = has_letters & ~np.logical_or.reduceat(vocabulary.special[tokens], first)
        runs = np.cumsum(~usable | ((marks[first] & SENTENCE_START) > 0))
        yield _Chunk(start, first, ends, usable, runs, vocabulary.prefixes(tokens, first))


class _Table:
    """How often each n-gram occurs, by its hash, and where it was seen first."""

    def __init__(self):
        self.keys = np.zeros(0, dtype=np.uint64)
        self.counts, self.starts, self.ends = np.zeros((3, 0), dtype=np.int64)

    def add(self, keys: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        """Count further n-grams."""
        keys = np.concatenate([self.keys, keys])
        counts = np.concatenate([self.counts, np.ones(len(starts))])
        self.keys, first, which = np.unique(keys, return_index=True, return_inverse=True)
        self.counts = np.bincount(which, counts, minlength=len(first)).astype(np.int64)
        self.starts = np.concatenate([self.starts, starts])[first]
        self.ends = np.concatenate([self.ends, ends])[first]
        rare = 1
        while len(self.keys) > MOST_ENTRIES:
            self.keep_more_than(rare)
            rare *= 2

    def keep_more_than(self, count: int) -> None:
        """Forget the n-grams that do not occur more often."""
        often = self.counts > count
        self.keys, self.counts = self.keys[often], self.counts[often]
        self.starts, self.ends = self.starts[often], self.ends[often]


def _words(store: TokenStore, vocabulary: Vocabulary, place: slice) -> Words:
    """The phrase that stands somewhere in the store."""
    ids = store.ids[place].tolist()
    begins = np.flatnonzero(store.marks[place] & WORD_START).tolist()
    return tuple(vocabulary.visible(ids[i:j]) for i, j in pairwise([*begins, len(ids)]))


def _score(words: Words, counts: dict[Words, int], total: int) -> float:
    count = counts[words]
    together = log(total / count)
    if not together:  # the text consists of nothing else
        return 1.0
    parts = ((counts[words[:cut]], counts[words[cut:]]) for cut in range(1, len(words)))
    return min(log(total * count / (left * right)) for left, right in parts) / together


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "\ufffd"


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers that look random, always the same ones (SplitMix64: Steele et al. 2014)."""
    mixed = numbers * np.uint64(BASE)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
