"""A chain is its parts one after another: told by tokens that carry the number of their place."""

import numpy as np
import pytest
from example_passages import MASK, VOCAB

from lmlab.corruptions.chain import Chain
from lmlab.corruptions.deletion import Deletion
from lmlab.corruptions.drop import Drop
from lmlab.corruptions.infilling import Infilling
from lmlab.corruptions.none import NoCorruption
from lmlab.corruptions.rotation import Rotation
from lmlab.corruptions.sentence_permutation import SentencePermutation
from lmlab.corruptions.shuffle import Shuffle
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.corruptions.whole_word import WholeWord
from lmlab.text.passage import Passage

SPECIAL = frozenset(range(10))
PARTS = {
    "none": NoCorruption(),
    "order": SentencePermutation(),
    "rotation": Rotation(),
    "shuffle": Shuffle(window=2),
    "deletion": Deletion(0.2),
    "drop": Drop(0.2),
    "infilling": Infilling(MASK, 0.3, whole_words=True),
    "mask": TokenMask(MASK, VOCAB, SPECIAL, mask_share=1.0, random_share=0.0),
}


def numbered(length: int, seed: int) -> Passage:
    """Token i is 10 + i, so that each tells where it comes from; [CLS] and [SEP] around it and one within."""
    rng = np.random.default_rng(seed)
    ordinary = ~np.isin(np.arange(length), [0, length // 2, length - 1])
    tokens = np.where(ordinary, np.arange(length) + 10, 2)
    words, sentences = rng.random(length) < 0.6, rng.random(length) < 0.2
    words[:1] = sentences[:1] = True
    return Passage(tokens, ordinary, words, sentences)


@pytest.mark.parametrize("seed", range(40))
def test_origin_and_noise_of_a_random_chain_are_those_of_the_tokens(seed):
    rng = np.random.default_rng(seed)
    names = rng.choice(list(PARTS), size=rng.integers(1, 5), replace=False)
    text = numbered(int(rng.integers(0, 40)), seed)
    corrupted = Chain({name: PARTS[name] for name in names})(text, rng)
    shown = corrupted.tokens >= 10  # an ordinary token that is not hidden
    assert np.array_equal(corrupted.origin[shown], corrupted.tokens[shown] - 10)
    special = corrupted.tokens == 2
    assert np.array_equal(corrupted.origin[special], np.flatnonzero(~text.ordinary))
    hidden = text.ordinary & ~np.isin(text.tokens, corrupted.tokens)
    assert not (hidden & ~corrupted.noise).any() and not corrupted.noise[~text.ordinary].any()
    if not set(names) & {"order", "rotation", "shuffle"}:
        assert np.array_equal(hidden, corrupted.noise)


def test_each_part_is_given_what_the_parts_before_have_left():
    text, rng = numbered(60, 0), np.random.default_rng(1)
    first = SentencePermutation()(text, rng)
    left = first.passage(text)
    second = Infilling(MASK, 0.3)(left, rng)
    chain = Chain({"order": SentencePermutation(), "noise": Infilling(MASK, 0.3)})
    whole = chain(text, np.random.default_rng(1))
    assert np.array_equal(whole.tokens, second.tokens)
    masked = second.passage(left)
    assert not masked.ordinary[second.tokens == MASK].any()  # no later part may hide or remove a mask


def test_words_and_sentences_are_found_again_in_what_is_left():
    words = np.array([1, 0, 0, 1, 1, 0], bool)
    text = Passage(np.arange(10, 16), np.ones(6, bool), words, np.array([1, 0, 0, 0, 1, 0], bool))
    left = Rotation()(text, FixedShift(1)).passage(text)
    assert left.tokens.tolist() == [11, 12, 13, 14, 15, 10]
    assert left.word_starts.tolist() == [True, False, True, True, False, True]
    assert left.sentence_starts.tolist() == [True, False, False, True, False, True]


class FixedShift:
    """Draws a known number."""

    def __init__(self, shift: int):
        self.shift = shift

    def integers(self, high: int) -> int:
        return self.shift


def test_a_chain_declares_what_its_parts_do():
    mask = {"mask_id": MASK, "vocab_size": VOCAB}
    bart = Chain({"order": SentencePermutation(), "noise": Infilling(MASK)})
    assert (bart.keeps_length, bart.selects, bart.hides) == (False, False, True)
    assert bart.reads == ("sentence_starts",)
    masks = Chain({"words": WholeWord(**mask), "more": WholeWord(**mask), "none": NoCorruption()})
    assert (masks.keeps_length, masks.selects, masks.whole_words) == (True, True, True)
    assert masks.reads == ("word_starts",) and not masks.learns
    assert not Chain({"words": WholeWord(**mask), "spans": Spans(MASK)}).whole_words
