"""Phrases: the miner counts and scores as one would by hand, finds what was planted, and finds it again in passages."""

from collections import Counter
from itertools import groupby
from math import log

import numpy as np
import pytest

from lmlab.text import phrases as module
from lmlab.text.phrases import PhraseFinder, Vocabulary, frequent_phrases, mine_phrases, phrases_of
from lmlab.text.store import WORD_START, TokenStore
from lmlab.text.tokenizer import Tokenizer
from lmlab.text.tokenizers import BPE, Char, Unigram, WordPiece

PLANTED = ["monte cristo", "new york city"]
KINDS = {
    "wordpiece": WordPiece(vocab_size=400),
    "bpe": BPE(vocab_size=500),
    "unigram": Unigram(vocab_size=300, seed_size=5000),
    "char": Char(),
}


class Documents:
    def __init__(self, texts: list[str]):
        self.texts = texts

    def documents(self, split: str) -> list[str]:
        return self.texts

    def fingerprint(self) -> str:
        return str(hash(tuple(self.texts)))


def planted_texts(seed: int = 0) -> list[str]:
    """Independent words, but for the planted phrases; punctuation and sentence ends stand between some words."""
    rng = np.random.default_rng(seed)
    words = [f"{first}{last}" for first in ["ba", "do", "ki", "lu"] for last in ["ra", "no", "se", "ti", "mu"]]
    texts = []
    for _ in range(150):
        parts = [str(each) for each in rng.choice([*words, *PLANTED], size=60)]
        ends = rng.choice(["", "", "", ",", "."], size=60)
        texts.append(" ".join(part + end for part, end in zip(parts, ends, strict=True)))
    return texts


TEXTS = planted_texts()


def built(tmp_path, name: str, texts: list[str] = TEXTS) -> tuple[Tokenizer, TokenStore]:
    tokenizer = KINDS[name].train(texts)
    return tokenizer, TokenStore.build(Documents(texts), tokenizer, "train", "document", tmp_path, marks=True)


@pytest.mark.parametrize("name", KINDS)
def test_the_miner_finds_what_was_planted_and_nothing_else(tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "CHUNK", 3000)
    found = mine_phrases(*reversed(built(tmp_path, name)), max_words=4, min_count=20, min_score=0.5)
    assert {phrase.text for phrase in found} == {"monte cristo", "new york", "york city", "new york city"}
    assert all(phrase.score > 0.9 for phrase in found)


def by_hand(texts: list[str], max_words: int, min_count: int) -> dict[tuple[str, ...], tuple[int, float]]:
    """Count and lowest normalised mutual information of the n-grams of letters-only words."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        for mark in ",.":
            text = text.replace(mark, f" {mark} ")
        for is_word, run in groupby(text.split(), str.isalpha):
            words = list(run)
            for n in range(1, max_words + 1):
                counts.update(tuple(words[i : i + n]) for i in range(len(words) - n + 1) if is_word)
    total = sum(count for words, count in counts.items() if len(words) == 1)
    found = {}
    for words, count in counts.items():
        if len(words) > 1 and count >= min_count:
            cuts = [(counts[words[:cut]], counts[words[cut:]]) for cut in range(1, len(words))]
            scores = [log(total * count / left / right) / log(total / count) for left, right in cuts]
            found[words] = (count, round(min(scores), 4))
    return found


def test_counts_and_scores_are_those_counted_by_hand(tmp_path):
    tokenizer, store = built(tmp_path, "wordpiece")
    found = {
        tuple(phrase.text.split()): (phrase.count, phrase.score) for phrase in mine_phrases(store, tokenizer, 3, 5, -1)
    }
    assert found == by_hand(TEXTS, 3, 5) and len(found) > 300
    assert mine_phrases(store, tokenizer, 3, 10**6, -1) == []


def test_memory_is_bounded_by_forgetting_what_is_rare(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1000)
    monkeypatch.setattr(module, "MOST_ENTRIES", 60)
    tokenizer, store = built(tmp_path, "wordpiece")
    assert {phrase.text for phrase in mine_phrases(store, tokenizer, 2, 20, 0.5)} >= {"monte cristo", "new york"}


def test_what_was_found_is_kept_in_the_cache(tmp_path, monkeypatch):
    tokenizer, store = built(tmp_path, "bpe")
    first = frequent_phrases(store, tokenizer, tmp_path, 3, 20, 0.5)
    monkeypatch.setattr(module, "mine_phrases", lambda *_: pytest.fail("sought twice"))
    assert frequent_phrases(store, tokenizer, tmp_path, 3, 20, 0.5) == first != []


@pytest.mark.parametrize("name", KINDS)
def test_given_phrases_are_found_wherever_they_stand(tmp_path, name):
    tokenizer, _ = built(tmp_path, name)
    vocabulary = Vocabulary(tokenizer)
    finder = PhraseFinder(
        phrases_of(["monte cristo", "new york", "york  city bara"], tokenizer, vocabulary), vocabulary
    )
    text = "new york, monte cristo bara new york city bara monte cristo. newyork"
    (encoded,) = tokenizer.encode_batch_with_words([text])
    first = encoded.word_starts.nonzero()[0]
    ends = np.append(first[1:], len(encoded.ids))
    units = finder.units(encoded.ids, first, ends, np.zeros(len(first)))
    spans = zip(first[units.cumsum() - units], ends[units.cumsum() - 1], strict=True)
    shown = [tokenizer.decode(encoded.ids[start:end]).strip() for start, end in spans]
    assert shown == [
        "new york",
        ",",
        "monte cristo",
        "bara",
        "new york",
        "city",
        "bara",
        "monte cristo",
        ".",
        "newyork",
    ]


@pytest.mark.parametrize("seed", range(5))
def test_units_are_the_longest_matches_from_left_to_right(seed):
    tokenizer = Char().train(["abc "])
    vocabulary, rng = Vocabulary(tokenizer), np.random.default_rng(seed)
    ids = [tokenizer.id(letter) for letter in "abc"]
    phrases = {tuple((int(rng.choice(ids)),) for _ in range(rng.integers(2, 5))) for _ in range(6)}
    tokens, segments = rng.choice(ids, size=200), np.arange(200) // 50
    units = PhraseFinder(phrases, vocabulary).units(tokens, np.arange(200), np.arange(1, 201), segments)
    expected, place = [], 0
    while place < 200:
        fits = [n for n in (4, 3, 2) if tuple((int(id),) for id in tokens[place : place + n]) in phrases]
        fits = [n for n in fits if segments[place] == segments[min(place + n, 200) - 1]]
        expected.append(max(fits, default=1))
        place += expected[-1]
    assert units.tolist() == expected and max(expected) > 1


def test_words_are_part_of_the_hash(tmp_path):
    tokenizer, store = built(tmp_path, "char", ["to day tod ay"] * 30)
    assert {phrase.text for phrase in mine_phrases(store, tokenizer, 2, 10, -1)} == {"to day", "day tod", "tod ay"}
    assert (store.marks[:14] & WORD_START).sum() == 5  # and the end of the document
