"""Masks: exact counts, closed forms, distributions by chi-square, and what must never be touched."""

import numpy as np
import pytest
from example_passages import (
    MASK,
    SPECIAL,
    VOCAB,
    assert_lengths_as_expected,
    passage,
    random_passages,
    runs,
    word_runs,
    words_of,
)
from scipy import stats

from lmlab.corruptions.fragment import Fragment
from lmlab.corruptions.geometric_spans import GeometricSpans
from lmlab.corruptions.masking import Masking
from lmlab.corruptions.ngram import NGram
from lmlab.corruptions.token_mask import TokenMask
from lmlab.corruptions.whole_word import WholeWord, first_that_fit
from lmlab.text.passage import Passage

FACTS = (MASK, VOCAB, SPECIAL)
KINDS = [TokenMask, WholeWord, NGram, GeometricSpans, Fragment]
WORD_KINDS = [WholeWord, NGram, GeometricSpans]


def words(length: int, seed: int = 0) -> Passage:
    """A block between two special tokens, three of four tokens beginning a word."""
    return passage(length, (0, length - 1), np.random.default_rng(seed).random(length) < 0.75)


@pytest.mark.parametrize(("length", "limit", "expected"), [(128, 20, 19), (512, 77, 77), (512, 20, 20), (3, None, 1)])
def test_bert_chooses_a_fixed_number(length, limit, expected):
    mask, text = TokenMask(*FACTS, max_predictions=limit), passage(length)
    assert mask(text, np.random.default_rng(0)).noise.sum() == expected == mask.expected_noise(text)


@pytest.mark.parametrize("kind", KINDS)
def test_of_all_tokens_12_percent_are_masked_1_5_random_and_1_5_kept(kind):
    mask, text, number = kind(*FACTS, rate=0.15), passage(512), 600
    seen, noise = (np.empty((number, 512), dtype=int) for _ in range(2))
    for i in range(number):
        corrupted = mask(text, np.random.default_rng(i))
        seen[i], noise[i] = corrupted.tokens, corrupted.noise
    assert (noise.sum(axis=1) == 77).all()
    random, kept = ((seen != MASK) & (seen != text.tokens)).mean(), ((seen == text.tokens) & (noise == 1)).mean()
    assert (seen == MASK).mean() == pytest.approx(0.12, rel=0.02)
    assert (random, kept) == pytest.approx((0.015, 0.015), rel=0.1)
    assert np.array_equal(seen[noise == 0], np.broadcast_to(text.tokens, seen.shape)[noise == 0])


def test_shares_of_token_mask_by_chi_square():
    mask, text, rng = TokenMask(*FACTS), passage(512), np.random.default_rng(0)
    draws = [mask(text, rng) for _ in range(400)]
    shown = np.concatenate([each.tokens[each.noise] for each in draws])
    original = np.concatenate([text.tokens[each.noise] for each in draws])
    counts = [(shown == MASK).sum(), (shown == original).sum()]
    kept = 0.1 + 0.1 / (VOCAB - 5)
    expected = np.array([0.8, kept, 0.2 - kept]) * len(shown)
    assert stats.chisquare([*counts, len(shown) - sum(counts)], expected).pvalue > 1e-4


def test_random_replacement_draws_all_ordinary_tokens_alike_and_needs_no_mask():
    mask, text, rng = (
        TokenMask(None, VOCAB, SPECIAL, mask_share=0.0, random_share=1.0),
        passage(40),
        np.random.default_rng(1),
    )
    places, drawn = np.zeros(40), np.zeros(VOCAB)
    for _ in range(8000):
        corrupted = mask(text, rng)
        places += corrupted.noise
        np.add.at(drawn, corrupted.tokens[corrupted.noise], 1)
    assert drawn[:5].sum() == 0
    assert stats.chisquare(drawn[5:]).pvalue > 1e-4
    assert stats.chisquare(places).pvalue > 1e-4


def test_bernoulli_chooses_each_token_by_itself():
    mask, text, rng = TokenMask(*FACTS, count="bernoulli"), passage(30, (0, 9, 29)), np.random.default_rng(0)
    noise = np.stack([mask(text, rng).noise for _ in range(6000)])
    numbers = np.bincount(noise.sum(axis=1), minlength=12)[:12]
    expected = 6000 * stats.binom.pmf(range(12), 27, 0.15)
    assert stats.chisquare(numbers, expected * numbers.sum() / expected.sum()).pvalue > 1e-4
    assert stats.chisquare(noise.sum(axis=0)[text.ordinary]).pvalue > 1e-4
    assert mask.expected_noise(text) == pytest.approx(27 * 0.15)


@pytest.mark.parametrize("count", ["fixed", "bernoulli"])
@pytest.mark.parametrize("specials", [(), (0, 9, 29), (3, 5)])
def test_runs_of_token_mask(count, specials):
    mask = TokenMask(*FACTS, rate=0.4, count=count)
    assert_lengths_as_expected(mask, passage(30, specials), lambda corrupted: runs(corrupted.noise))


@pytest.mark.parametrize("specials", [(0, 9, 29), (0, 3, 6, 25, 28, 29)])
def test_runs_of_fragment(specials):
    mask, text = Fragment(*FACTS), passage(30, specials)
    assert_lengths_as_expected(mask, text, lambda corrupted: runs(corrupted.noise))
    assert runs(mask(text, np.random.default_rng(0)).noise[text.ordinary]).tolist() == [15]


@pytest.mark.parametrize("kind", [NGram, GeometricSpans])
@pytest.mark.parametrize("text", [words(60), words(300), passage(50, (0, 20, 49)), passage(7)], ids=len)
def test_lengths_of_spans(kind, text):
    rate = 0.15 if len(text) > 7 else 0.4
    in_words = word_runs(text)
    assert_lengths_as_expected(kind(*FACTS, rate=rate), text, lambda corrupted: in_words(corrupted.noise))


@pytest.mark.parametrize("kind", [NGram, GeometricSpans])
def test_every_word_is_equally_likely_to_be_in_a_span(kind):
    text, rng, mask = words(40), np.random.default_rng(0), kind(*FACTS)
    noise = np.stack([mask(text, rng).noise for _ in range(8000)])
    first = [word[0] for word in words_of(text)]
    chance = noise[:, first].mean()
    assert noise[:, first].mean(axis=0) == pytest.approx(chance, abs=5 * np.sqrt(chance / 8000))
    assert noise.sum() / 8000 == pytest.approx(mask.expected_noise(text), rel=0.01)


@pytest.mark.parametrize(
    ("kind", "together"), [(TokenMask, False), (WholeWord, False), (NGram, True), (GeometricSpans, True)]
)
def test_a_span_shares_one_draw_and_a_word_does_not(kind, together):
    text, rng, mixed = words(200), np.random.default_rng(0), 0
    mask = kind(*FACTS, rate=0.3, mask_share=0.5, random_share=0.0)
    for _ in range(50):
        corrupted = mask(text, rng)
        hidden = [corrupted.tokens[word] == MASK for word in words_of(text) if corrupted.noise[word[0]]]
        mixed += sum(each.any() and not each.all() for each in hidden)
    assert (mixed == 0) == together


@pytest.mark.parametrize("kind", WORD_KINDS)
def test_words_are_chosen_whole(kind):
    mask = kind(*FACTS, rate=0.3)
    for i, text in enumerate(random_passages(300)):
        noise = mask(text, np.random.default_rng(i)).noise
        assert all(noise[word].all() or not noise[word].any() for word in words_of(text))


def test_whole_words_make_up_a_share_of_the_tokens():
    for i, text in enumerate(random_passages(300)):
        mask = WholeWord(*FACTS, rate=0.3)
        noise, wanted = mask(text, np.random.default_rng(i)).noise, mask.wanted(text)
        lengths = np.array([len(word) for word in words_of(text)])
        left = np.array([len(word) for word in words_of(text) if not noise[word[0]]])
        if len(lengths) and lengths.min() > wanted:
            assert noise.sum() == lengths.min()
        elif len(left):
            assert wanted - left.min() < noise.sum() <= wanted
        if (expected := mask.expected_noise(text)) is not None:
            assert noise.sum() == expected


def test_words_are_taken_as_in_the_code_of_bert():
    rng = np.random.default_rng(0)
    for _ in range(500):
        lengths, budget = rng.integers(1, 9, size=rng.integers(1, 30)), int(rng.integers(1, 40))
        taken, total = [], 0
        for place, length in enumerate(lengths):
            if total + length <= budget:
                taken.append(place)
                total += length
        assert first_that_fit(lengths, budget).tolist() == (taken or [lengths.argmin()])


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.6, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_specials_are_never_touched_and_something_always_is(kind, rate):
    mask = kind(*FACTS, rate=rate)
    for i, text in enumerate(random_passages(150, seed=1)):
        before = text.tokens.copy()
        first, second = (mask(text, np.random.default_rng(i)) for _ in range(2))
        assert np.array_equal(first.tokens, second.tokens) and np.array_equal(first.noise, second.noise)
        assert np.array_equal(text.tokens, before)
        assert not first.noise[~text.ordinary].any()
        assert first.noise.any() == text.ordinary.any()
        assert np.array_equal(first.tokens[~first.noise], before[~first.noise])
        assert not np.isin(first.tokens[first.noise], list(SPECIAL - {MASK})).any()
        assert rate < 1 or first.noise.sum() == text.ordinary.sum()
        spans = mask.expected_spans(text)
        assert spans is None or spans @ np.arange(len(spans)) >= 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_tiny_passages(kind, length):
    one_word = passage(length, (), np.arange(length) == 0)
    assert kind(*FACTS)(one_word, np.random.default_rng(0)).noise.any()
    nothing = passage(length, tuple(range(length)))
    assert not kind(*FACTS)(nothing, np.random.default_rng(0)).noise.any()
    assert kind(*FACTS).expected_noise(nothing) == 0


def test_spans_longer_than_the_text_are_cut():
    text = passage(5)
    assert GeometricSpans(*FACTS, p=0.01, max_length=1000, rate=0.6)(text, np.random.default_rng(0)).noise.sum() == 3


@pytest.mark.parametrize(("kind", "settings"), [
    (TokenMask, {"rate": 0}), (TokenMask, {"rate": 1.5}), (WholeWord, {"rate": -0.1}), (NGram, {"rate": float("nan")}),
    (Fragment, {"rate": 0.0}), (TokenMask, {"mask_share": 0.95, "random_share": 0.1}), (NGram, {"mask_share": -1}),
    (TokenMask, {"max_predictions": 0}), (TokenMask, {"max_predictions": 20, "count": "bernoulli"}),
    (TokenMask, {"count": "poisson"}), (NGram, {"max_n": 0}), (GeometricSpans, {"p": 0}), (GeometricSpans, {"p": 1.1}),
    (GeometricSpans, {"max_length": 0}),
])  # fmt: skip
def test_nonsense_is_refused(kind, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}="):
        kind(*FACTS, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_without_a_mask_is_refused(kind):
    with pytest.raises(ValueError, match="no mask token"):
        kind(None, VOCAB, SPECIAL)
    assert issubclass(kind, Masking)
