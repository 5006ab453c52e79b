"""The unigram language model of SentencePiece (Kudo, arXiv:1804.10959; arXiv:1808.06226), trained deterministically.

Pieces are pruned from many frequent substrings down to the vocabulary size. The package's trainer adds
probabilities in the order of a hash table, so that its result differs from run to run. Here each word counts with
its best cut only (hard EM) in place of all cuts by their probability: counts are whole numbers, whose sum knows no
order, and the vocabularies code text as short as those of the package.
"""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from math import inf, log

from tokenizers import Regex, normalizers, pre_tokenizers

from lmlab.text.words import frequent_first

LONGEST_WORD = 64  # characters; longer ones (text without spaces) are cut
MOST_CHARACTERS = 2_000_000  # of all distinct words together: the most frequent ones count, which bounds the time
KEPT = 0.75  # share of the pieces that a round of pruning leaves, as in SentencePiece


def unigram_normalizer(lowercase: bool) -> normalizers.Normalizer:
    """Unicode's compatible forms (NFKC), no control characters, single spaces."""
    parts = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    return normalizers.Sequence(parts + [normalizers.Lowercase()] * lowercase)


def unigram_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """`▁` for spaces, and words apart from punctuation."""
    words_or_marks = Regex(r"▁?[\p{L}\p{M}\p{N}]+|▁?[^\p{L}\p{M}\p{N}▁]+|▁")
    spaces = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    return pre_tokenizers.Sequence([spaces, pre_tokenizers.Split(words_or_marks, "isolated")])


def learn_pieces(
    words: Mapping[str, int], alphabet: set[str], size: int, seed_size: int, max_length: int
) -> list[tuple[str, float]]:
    """The `size` pieces (fewer where the text gives no more) and their log probabilities, the likeliest first.

    Args:
        words: how often each word occurs.
        alphabet: characters that are pieces whatever happens, at most `size`; words are cut at all others.
        size: number of pieces.
        seed_size: number of frequent substrings from which to prune.
        max_length: characters of the longest piece.
    """
    words = _known_parts(words, alphabet)
    scores = dict.fromkeys(_seed_pieces(words, alphabet, seed_size, max_length), -1.0)
    while True:
        counts = _count_pieces(words, scores, max_length)
        total = sum(counts.values())
        scores = {piece: round(log(times / total), 9) for piece, times in counts.items()}
        if len(scores) <= size:
            return [(piece, scores[piece]) for piece in frequent_first(scores)]
        scores = _prune(scores, counts, max(size, int(KEPT * len(scores))))


def _known_parts(words: Mapping[str, int], alphabet: set[str]) -> dict[str, int]:
    """Words cut where the alphabet lacks a character and where they are too long; the most frequent ones."""
    parts: Counter[str] = Counter()
    for word, times in words.items():
        known = "".join(character if character in alphabet else " " for character in word)
        for part in re.findall(rf"\S{{1,{LONGEST_WORD}}}", known):
            parts[part] += times
    frequent = frequent_first(parts)
    lengths = accumulate(map(len, frequent))
    return {part: parts[part] for part, length in zip(frequent, lengths, strict=True) if length <= MOST_CHARACTERS}


def _seed_pieces(words: Mapping[str, int], alphabet: set[str], seed_size: int, max_length: int) -> list[str]:
    """All characters, and the substrings with the largest frequency × length.

    A substring can only be as frequent as the one that lacks its last character.
    """
    frequent = alphabet
    candidates: list[tuple[int, str]] = []
    for length in range(2, max_length + 1):
        counts: Counter[str] = Counter()
        for word, times in words.items():
            for start in range(len(word) - length + 1):
                if word[start : start + length - 1] in frequent:
                    counts[word[start : start + length]] += times
        frequent = {piece for piece, times in counts.items() if times >= 2}
        candidates = sorted(candidates + [(-counts[piece] * length, piece) for piece in frequent])[:seed_size]
    return sorted(alphabet) + [piece for _, piece in candidates[: max(seed_size - len(alphabet), 0)]]


def _count_pieces(words: Mapping[str, int], scores: Mapping[str, float], max_length: int) -> dict[str, float]:
    """How often each piece occurs in the best cuts of the words; one half for the pieces that do not."""
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for piece in _best_cut(word, scores, max_length):
            counts[piece] += times
    return {piece: counts[piece] or 0.5 for piece in scores}


def _prune(scores: Mapping[str, float], counts: Mapping[str, float], size: int) -> dict[str, float]:
    """The characters, and the pieces whose next best cut would cost the text the most probability."""

    def loss(piece: str) -> float:
        if len(piece) == 1:
            return inf
        parts = _best_cut(piece, scores, len(piece) - 1)
        return counts[piece] * (scores[piece] - sum(scores[part] for part in parts))

    return {piece: scores[piece] for piece in sorted(scores, key=loss, reverse=True)[:size]}


def _best_cut(word: str, scores: Mapping[str, float], max_length: int) -> list[str]:
    """The likeliest pieces of a word, the last one first (Viterbi)."""
    values, starts = [0.0], [0]  # of the best cut of word[:end]: its score, and where its last piece begins
    for end in range(1, len(word) + 1):
        value, best = -inf, end
        for start in range(max(0, end - max_length), end):
            score = scores.get(word[start:end])
            if score is not None and values[start] + score > value:
                value, best = values[start] + score, start
        values.append(value)
        starts.append(best)
    pieces, end = [], len(word)
    while end:
        pieces.append(word[starts[end] : end])
        end = starts[end]
    return pieces
