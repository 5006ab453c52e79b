"""Recipes without a fault pass the audit; planted faults do not."""

from dataclasses import replace

import numpy as np
import pytest
from audited import CLS, FIELDS, MASK, SENTINELS, SEP, SPECIAL, VOCAB, units_of, verdicts

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.corruptions.chain import Chain
from lmlab.corruptions.drop import Drop
from lmlab.corruptions.fragment import Fragment
from lmlab.corruptions.geometric_spans import GeometricSpans
from lmlab.corruptions.infilling import Infilling
from lmlab.corruptions.ngram import NGram
from lmlab.corruptions.rotation import Rotation
from lmlab.corruptions.sentence_permutation import SentencePermutation
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.corruptions.whole_word import WholeWord
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.denoising import Denoising
from lmlab.objectives.drop_spans import DropSpans
from lmlab.objectives.field_lm import FieldLm
from lmlab.objectives.mass import Mass
from lmlab.objectives.mlm import Mlm
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.prefix_lm import PrefixLm
from lmlab.objectives.sop import Sop
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.objectives.sum import Sum
from lmlab.text.units import SentencePairs

IDS = (MASK, VOCAB, SPECIAL)


def mlm(corruption: Corruption) -> Mlm:
    return Mlm(corruption, CLS, SEP)


def with_pairs(corruption: Corruption, question: type = Nsp) -> Sum:
    return Sum({"mlm": mlm(corruption), "pairs": question(CLS, SEP)})


def bart() -> Chain:
    return Chain({"permutation": SentencePermutation(), "infilling": Infilling(MASK)})


CLEAN = {
    "bert": (lambda: with_pairs(TokenMask(*IDS)), "encoder"),
    "roberta": (lambda: mlm(TokenMask(*IDS)), "encoder"),
    "whole words": (lambda: mlm(WholeWord(*IDS)), "encoder"),
    "spanbert": (lambda: mlm(GeometricSpans(*IDS)), "encoder"),
    "albert": (lambda: with_pairs(NGram(*IDS), Sop), "encoder"),
    "nsp alone": (lambda: Nsp(CLS, SEP), "encoder"),
    "next is 1": (lambda: Nsp(CLS, SEP, positive="next"), "encoder"),
    "t5": (lambda: SpanCorruption(Spans(MASK), SENTINELS, SEP), "encoder-decoder"),
    "t5 in a decoder": (lambda: SpanCorruption(Spans(MASK), SENTINELS, SEP), "decoder"),
    "bart": (lambda: Denoising(bart(), SEP), "encoder-decoder"),
    "infilling": (lambda: Denoising(Infilling(MASK), SEP), "decoder"),
    "bert in text": (lambda: Denoising(TokenMask(*IDS), SEP), "encoder-decoder"),
    "rotation": (lambda: Denoising(Rotation(), SEP), "encoder-decoder"),
    "mass": (lambda: Mass(Fragment(*IDS)), "encoder-decoder"),
    "drop spans": (lambda: DropSpans(Drop(), SEP), "encoder-decoder"),
    "causal": (CausalLm, "decoder"),
    "grover": (lambda: FieldLm(FIELDS, SENTINELS, SEP), "decoder"),
    "prefix": (PrefixLm, "decoder"),
}


@pytest.mark.parametrize("name", CLEAN)
def test_recipes_without_a_fault_pass(name):
    make, layout = CLEAN[name]
    figures, off, impossible = verdicts(make(), layout)
    assert not off and not impossible
    assert len(figures) > 5


def test_shares_of_bert_are_what_was_asked_for():
    figures, _, _ = verdicts(mlm(TokenMask(*IDS)), "encoder")
    asked = figures["asked for: of all tokens"].estimate
    assert asked.value == asked.expected == 10 / 64  # round(.15 * 64) of each sequence
    as_random = figures["noise is shown: as a random token"].estimate
    assert as_random.expected == pytest.approx(0.1 * (1 - 1 / (VOCAB - 25)))  # it may be the true one
    assert as_random.low < as_random.expected < as_random.high


# --- faults: in a corruption ---


class MasksNothing(Corruption):
    def __call__(self, text, generator):
        return Corrupted(text.tokens, np.zeros(len(text), dtype=bool))


class MasksSpecials(TokenMask):
    def choose(self, text, generator):
        return super().choose(replace(text, ordinary=np.ones(len(text), dtype=bool)), generator)


class MasksPieces(TokenMask):
    """Knows words by nothing, as one that looks for ## in a vocabulary without."""

    whole_words, reads = True, ("word_starts",)


class MasksTooFew(TokenMask):
    def wanted(self, text):
        return round(0.12 * len(text))

    def expected_noise(self, text):
        return float(round(0.15 * len(text)))


class MasksTooOften(TokenMask):
    """Shows 90 % as the mask and says 80."""

    def __call__(self, text, generator):
        claimed, self.mask_share = self.mask_share, 0.9
        try:
            return super().__call__(text, generator)
        finally:
            self.mask_share = claimed


class ChangesMore(TokenMask):
    """Changes tokens that it does not own up to."""

    def __call__(self, text, generator):
        corrupted = super().__call__(text, generator)
        kept = np.flatnonzero(~corrupted.noise & text.ordinary)
        corrupted.tokens[generator.choice(kept)] = MASK
        return corrupted


class DrawsSpecials(TokenMask):
    def __init__(self, *facts):
        super().__init__(*facts)
        self.ordinary_ids = np.arange(VOCAB)


class EqualSpans(Spans):
    """As much noise in as many spans, but all of nearly the same length."""

    def noise(self, text, generator):
        num_noise, num_spans = self.fixed_counts(len(text))
        noise = np.zeros(len(text), dtype=bool)
        for number, places in enumerate(np.array_split(np.arange(len(text)), num_spans)):
            noise[places[-(num_noise // num_spans + (number < num_noise % num_spans)) :]] = True
        return noise


class LongSpans(Infilling):
    """Draws from a Poisson distribution of mean 4, says 3."""

    def __call__(self, text, generator):
        return Infilling(MASK, mean_length=4.0)(text, generator)


class LosesText(Infilling):
    """Hides half as much again as it says."""

    def __call__(self, text, generator):
        return Infilling(MASK, rate=0.45)(text, generator)


CORRUPTION_FAULTS = {
    "asked for: sequences that ask nothing": (MasksNothing(), mlm, "encoder"),
    "asked for: special tokens": (MasksSpecials(*IDS), mlm, "encoder"),
    "noise: special tokens changed": (MasksSpecials(*IDS), mlm, "encoder"),
    "words: of several tokens hidden in part": (MasksPieces(*IDS), mlm, "encoder"),
    "noise: hidden but not asked for": (ChangesMore(*IDS), mlm, "encoder"),
    "noise is shown: special among the random ones": (DrawsSpecials(*IDS), mlm, "encoder"),
    "asked for: of all tokens": (MasksTooFew(*IDS), mlm, "encoder"),
    "noise is shown: as the mask": (MasksTooOften(*IDS), mlm, "encoder"),
    "spans: lengths as expected: p": (
        EqualSpans(MASK), lambda each: SpanCorruption(each, SENTINELS, SEP), "encoder-decoder",
    ),
    "spans: mean length in tokens": (LongSpans(MASK), lambda each: Denoising(each, SEP), "encoder-decoder"),
    "noise: tokens hidden or replaced": (LosesText(MASK), lambda each: Denoising(each, SEP), "encoder-decoder"),
    "noise: sequences left as they were": (MasksNothing(), lambda each: Denoising(each, SEP), "decoder"),
}  # fmt: skip
ONLY_OFF = {
    "asked for: of all tokens", "noise is shown: as the mask", "spans: lengths as expected: p",
    "spans: mean length in tokens", "noise: tokens hidden or replaced",
}  # fmt: skip


@pytest.mark.parametrize("figure", CORRUPTION_FAULTS)
def test_a_faulty_corruption_is_caught(figure):
    corruption, ask, layout = CORRUPTION_FAULTS[figure]
    _, off, impossible = verdicts(ask(corruption), layout)
    assert figure in (off if figure in ONLY_OFF else impossible)
    assert not (impossible if figure in ONLY_OFF else set())


# --- faults: in an objective, or in the pairs ---


class AsksWrongly(Mlm):
    def example(self, unit, generator):
        example = super().example(unit, generator)
        asked = example["labels"] >= 0
        example["labels"][asked] = np.roll(example["labels"][asked], 1)
        return example


class MixesSentinels(SpanCorruption):
    def example(self, unit, generator):
        example = super().example(unit, generator)
        first, second = self.sentinel_ids[:2]
        inputs = example["inputs"]
        example["inputs"] = np.where(inputs == first, second, np.where(inputs == second, first, inputs))
        return example


class WritesBackwards(Denoising):
    def example(self, unit, generator):
        example = super().example(unit, generator)
        return example | {"targets": np.append(example["targets"][-2::-1], SEP)}


class AnswersAtRandom(Sop):
    def pose(self, pair, generator):
        return super().pose(pair, generator)[0], bool(generator.integers(2))


class NeverSwaps(Sop):
    def pose(self, pair, generator):
        return pair, False


class DropsMore(FieldLm):
    """Shows two fields at most."""

    def order(self, unit, generator):
        return super().order(unit, generator)[-2:]


class KeepsOrder(FieldLm):
    def order(self, unit, generator):
        return sorted(super().order(unit, generator))


class MixesMarkers(FieldLm):
    def example(self, unit, generator):
        example = super().example(unit, generator)
        first, *_, last = self.marker_ids
        tokens = example["targets"]
        example["targets"] = np.where(tokens == first, last, np.where(tokens == last, first, tokens))
        return example


class SameDocument(SentencePairs):
    def _other_documents(self, document, rng):
        return document


class TooManyRandom(SentencePairs):
    """Draws 80 % random segments, says half."""

    def _chunks(self, rng):
        said, self.random_next_prob = self.random_next_prob, 0.8
        try:
            return super()._chunks(rng)
        finally:
            self.random_next_prob = said


@pytest.mark.parametrize(
    ("figure", "objective", "layout", "pairs"),
    [
        ("asked for: answers that are not the text", AsksWrongly(TokenMask(*IDS), CLS, SEP), "encoder", None),
        ("asked for: answers that are not the text", WritesBackwards(Infilling(MASK), SEP), "decoder", None),
        ("sentinels: in order, in inputs and targets", MixesSentinels(Spans(), SENTINELS, SEP), "decoder", None),
        ("asked for: answers that are not the text", MixesMarkers(FIELDS, SENTINELS, SEP), "decoder", None),
        ("pairs: answers that are right", AnswersAtRandom(CLS, SEP), "encoder", SentencePairs),
        ("pairs: random, of the same document", with_pairs(TokenMask(*IDS)), "encoder", SameDocument),
    ],
)
def test_a_faulty_objective_and_faulty_pairs_are_caught(figure, objective, layout, pairs):
    _, _, impossible = verdicts(objective, layout, units_of(objective, pairs) if pairs else None)
    assert figure in impossible


def test_shares_of_pairs_that_are_not_the_expected_ones_are_off():
    never_swapped, too_random = NeverSwaps(CLS, SEP), Nsp(CLS, SEP)
    assert verdicts(never_swapped, "encoder")[1] == {"pairs: segments swapped"}
    assert "pairs: second segment at random" in verdicts(too_random, "encoder", units_of(too_random, TooManyRandom))[1]


def test_fields_that_are_not_left_out_or_split_as_they_should_are_off():
    left_out = {f"fields: {name} left out" for name in ("title", "author")}
    assert left_out & verdicts(DropsMore(FIELDS, SENTINELS, SEP), "decoder")[1]
    assert verdicts(KeepsOrder(FIELDS, SENTINELS, SEP), "decoder")[1] == {"fields: all in their order"}


def test_sentences_cannot_be_permuted_where_there_is_one():
    objective = Denoising(SentencePermutation(), SEP)
    units = units_of(objective)
    units.marks = units.marks & 1  # no sentence begins
    assert "noise: sequences left as they were" in verdicts(objective, "encoder-decoder", units)[2]
