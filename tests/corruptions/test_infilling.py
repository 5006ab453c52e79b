"""BART's infilling: its lengths, its rate, and that all that is left of a text is in its place."""

import numpy as np
import pytest
from example_passages import MASK, assert_lengths_as_expected, passage, random_passages, runs, word_runs, words_of

from lmlab.corruptions.base import Corrupted
from lmlab.corruptions.infilling import Infilling
from lmlab.text.passage import Passage

TEXTS = {
    "block": passage(128, (0, 127), np.random.default_rng(0).random(128) < 0.7),
    "pair": passage(90, (0, 40, 89), np.random.default_rng(1).random(90) < 0.7),
    "short": passage(9, (0, 8)),
}


def num_inserts(corrupted: Corrupted, text: Passage) -> int:
    """Masks that stand for nothing: all masks without the runs of noise."""
    return int((corrupted.origin < 0).sum()) - len(runs(corrupted.noise))


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("mean", [3.0, 0.8])
@pytest.mark.parametrize("name", TEXTS)
def test_lengths_of_spans_and_number_of_inserts(name, mean, whole_words):
    text = TEXTS[name]
    if not whole_words:
        text = Passage(text.tokens, text.ordinary, np.ones(len(text), dtype=bool))

    in_words = word_runs(text)

    def measure(corrupted: Corrupted) -> np.ndarray:
        inserts = np.zeros(num_inserts(corrupted, text), dtype=int)
        return np.concatenate([inserts, in_words(corrupted.noise)])

    infilling = Infilling(MASK, mean_length=mean, whole_words=whole_words)
    assert_lengths_as_expected(infilling, text, measure, 2000)


def test_the_rate_is_met():
    infilling, rng = Infilling(MASK), np.random.default_rng(0)
    assert all(infilling(TEXTS["block"], rng).noise.sum() == 38 for _ in range(20))  # round(0.3 * 126)
    words = Infilling(MASK, whole_words=True)
    found = np.mean([words(TEXTS["block"], rng).noise.sum() for _ in range(2000)])
    assert found == pytest.approx(words.expected_noise(TEXTS["block"]), rel=0.02)


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize(("rate", "mean"), [(0.3, 3.0), (0.3, 0.2), (0.9, 1.0), (1.0, 50.0)])
def test_what_is_left_is_in_its_place(rate, mean, whole_words):
    infilling = Infilling(MASK, rate, mean, whole_words)
    for i, text in enumerate(random_passages(150)):
        before = text.tokens.copy()
        corrupted, again = (infilling(text, np.random.default_rng(i)) for _ in range(2))
        assert np.array_equal(corrupted.tokens, again.tokens) and np.array_equal(text.tokens, before)
        assert len(corrupted.tokens) <= len(text)
        assert not corrupted.noise[~text.ordinary].any() and corrupted.noise.any() == text.ordinary.any()
        if not text.ordinary.any():
            assert np.array_equal(corrupted.tokens, before)
            continue
        origin, kept = corrupted.origin, corrupted.origin[corrupted.origin >= 0]
        assert np.array_equal(kept, np.flatnonzero(~corrupted.noise))
        assert np.array_equal(corrupted.tokens[origin >= 0], before[kept])
        assert (corrupted.tokens[origin < 0] == MASK).all()
        if not text.ordinary[0]:
            assert origin[0] == 0  # no mask before the first special token
        if not text.ordinary[-1]:
            assert origin[-1] == len(text) - 1
        assert num_inserts(corrupted, text) >= 0
        if whole_words:
            assert all(len(set(corrupted.noise[word])) == 1 for word in words_of(text))


def test_a_separator_cuts_a_span():
    text = passage(9, (0, 4, 8))
    corrupted = Infilling(MASK, rate=1.0, mean_length=100.0)(text, np.random.default_rng(0))
    assert corrupted.tokens.tolist() in (
        [2, MASK, 2, MASK, 2],
        [2, MASK, MASK, 2, MASK, 2],
        [2, MASK, 2, MASK, MASK, 2],
    )


def test_masks_are_inserted_between_any_two_tokens_that_are_seen():
    """Of the places, two lie beside each hidden span: before its mask and after it."""
    infilling, text, beside, expected = Infilling(MASK, mean_length=2.0), passage(60), 0, []
    at_ends = np.zeros(2)
    for seed in range(4000):
        corrupted = infilling(text, np.random.default_rng(seed))
        if num_inserts(corrupted, text) == 1:
            masks = corrupted.origin < 0
            at_ends += masks[[0, -1]] & ~corrupted.noise[[0, -1]]
            beside += (masks[1:] & masks[:-1]).any()
            spans = masks.sum() - 1
            expected.append(2 * spans / ((~masks).sum() + spans + 1))
    assert len(expected) > 500 and at_ends.all()
    assert beside == pytest.approx(np.sum(expected), abs=4 * np.sqrt(len(expected)) / 2)


def test_an_inserted_mask_is_a_word_of_its_own():
    text = passage(8, (0, 7), np.array([1, 1, 0, 1, 0, 1, 0, 1], dtype=bool))
    infilling = Infilling(MASK, rate=0.6, mean_length=0.1, whole_words=True)
    for seed in range(50):
        corrupted = infilling(text, np.random.default_rng(seed))
        left = corrupted.passage(text)
        assert left.word_starts[corrupted.origin < 0].all() and not left.ordinary[corrupted.origin < 0].any()


@pytest.mark.parametrize("settings", [{"rate": 0}, {"rate": 1.1}, {"mean_length": 0}, {"mean_length": 1e9}])
def test_nonsense_is_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}="):
        Infilling(MASK, **settings)
    with pytest.raises(ValueError, match="no mask token"):
        Infilling(None)
