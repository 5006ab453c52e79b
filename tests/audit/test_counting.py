"""What the audit counts is what is there: rows read back, tokens followed, text covered."""

from types import SimpleNamespace

import numpy as np
import pytest
from audited import CLS, FIELDS, MASK, PAD, SENTINELS, SEP, SPECIAL, VOCAB, batches_of, counted, field_store, units_of

from lmlab.audit.epoch import coverage, cut_share, epoch_figures
from lmlab.audit.rows import rows
from lmlab.audit.trace import HIDDEN, Tracer, _gaps
from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.denoising import Denoising
from lmlab.objectives.field_lm import FieldLm
from lmlab.objectives.mlm import Mlm
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.objectives.sum import Sum
from lmlab.text.batching import noise_generator
from lmlab.text.features import CONVERTERS
from lmlab.text.passage import Passage, plain

RNG = np.random.default_rng(0)


def pairs_of_lengths(*lengths: tuple[int, int]) -> list[dict[str, np.ndarray]]:
    return [{"inputs": RNG.integers(30, 90, size=s), "targets": RNG.integers(30, 90, size=u)} for s, u in lengths]


@pytest.mark.parametrize("layout", ["decoder", "encoder-decoder"])
@pytest.mark.parametrize("lengths", [[(5, 3), (2, 7), (6, 1)], [(4, 4), (4, 4)]])
def test_inputs_and_targets_are_read_back_from_a_batch(layout, lengths):
    examples = pairs_of_lengths(*lengths)
    found = rows(CONVERTERS[layout](PAD)(examples), layout)
    for row, example, (s, u) in zip(found, examples, lengths, strict=True):
        assert np.array_equal(row.inputs, example["inputs"]) and np.array_equal(row.asked, example["targets"])
        assert row.num_used == (s + u - 1 if layout == "decoder" else s + u)
        assert row.length == (s + u - 1 if layout == "decoder" else max(s, u))
    longest = max(s for s, _ in lengths) + max(u for _, u in lengths)
    assert found[0].num_slots == (longest if layout == "encoder-decoder" else max(s + u for s, u in lengths) - 1)


def test_questions_in_place_are_read_back_from_a_batch():
    objective = Sum({"mlm": Mlm(TokenMask(MASK, VOCAB, SPECIAL), CLS, SEP), "nsp": Nsp(CLS, SEP)})
    batches = batches_of(objective, "encoder")
    units = [batches.units.get(index, 0) for index in range(7)]
    asking = batches.passes[0]
    generators = [np.random.default_rng(seed) for seed in range(7)]
    found = rows(asking(units, generators), "encoder")
    for number, (row, unit) in enumerate(zip(found, units, strict=True)):
        example = asking.ask(unit, np.random.default_rng(number))
        labels = np.full(len(row.inputs), -100)
        labels[row.places] = row.asked
        assert np.array_equal(row.inputs, example["inputs"]) and np.array_equal(labels, example["labels"])
        assert row.label == example["sentence_label"]


def test_stretches_behind_marks_are_found():
    seen = np.array([-1, 0, -1, 4, -1, 5, 6, 9, -1, -1, -1])  # of 12 tokens; the last one is an end token
    marks = np.array([1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0], dtype=bool)
    found = sorted(map(tuple, _gaps(seen, marks, 12).tolist()))
    assert found == [(0, 0), (1, 4), (5, 5), (7, 9), (10, 10), (10, 12)]


def test_tokens_are_followed_into_inputs_and_targets():
    tracer = Tracer(VOCAB, SPECIAL, [MASK, *SENTINELS], CLS, SEP)
    tokens = np.array([30, 31, SEP, 31, 32, 33])
    unit = Passage(tokens, tokens != SEP)
    first, second = SENTINELS[:2]

    def row(inputs: list[int], targets: list[int]):
        return rows(CONVERTERS["encoder-decoder"](PAD)([{"inputs": np.array(inputs), "targets": np.array(targets)}]),
                    "encoder-decoder")[0]  # fmt: skip

    real = row([30, first, 32, second, SEP], [first, 31, 31, second, 33, SEP])
    dye = VOCAB + np.arange(6)
    dyed = row([dye[0], first, dye[4], second, SEP], [first, dye[1], dye[3], second, dye[5], SEP])
    trace = tracer.moved(unit, real, dyed)
    assert trace.text.tokens.tolist() == [30, 31, 31, 32, 33]  # the end of a document is left out
    assert trace.asked.tolist() == [False, True, True, False, True]
    assert trace.shown.tolist() == [30, HIDDEN, HIDDEN, 32, HIDDEN]
    assert (trace.num_wrong, trace.num_left_out, trace.num_marks) == (0, 0, 2)
    wrong = row([dye[0], first, dye[4], second, SEP], [first, dye[3], dye[1], second, dye[5], SEP])
    assert tracer.moved(unit, real, wrong).num_wrong == 1
    assert tracer.moved(unit, row([30, first, 33, second, SEP], [first, 31, 31, second, 33, SEP]), dyed) is None


class LooksAtTokens(Corruption):
    """Hides tokens for what they say."""

    def __call__(self, text, generator):
        noise = (text.tokens < 60) & text.ordinary
        return Corrupted(np.where(noise, MASK, text.tokens), noise)


class LooksIntoTable(LooksAtTokens):
    def __call__(self, text, generator):
        return super().__call__(Passage(np.arange(VOCAB)[text.tokens], text.ordinary), generator)


@pytest.mark.parametrize("corruption", [LooksAtTokens(), LooksIntoTable()])
def test_what_cannot_be_followed_is_said_and_not_guessed(corruption):
    in_text = counted(Denoising(corruption, SEP), "encoder-decoder", num_sequences=100)
    assert in_text["traced"].mean() < 0.2 and np.isnan(in_text["noise"][in_text["traced"] == 0]).all()
    in_place = counted(Mlm(corruption, CLS, SEP), "encoder", num_sequences=100)
    assert in_place["traced"].all() and np.nansum(in_place["noise"]) > 0


@pytest.mark.parametrize("mean_length", [3.0, 1.0])
def test_counts_of_spans_are_those_of_t5(mean_length):
    """With a sentinel for each token the inputs are as long as the text, and still none of it is a random token."""
    spans = Spans(mean_length=mean_length)
    counts = counted(SpanCorruption(spans, SENTINELS, SEP), "encoder-decoder", num_sequences=50)
    assert counts["special_drawn"].sum() == 0
    for number, found in enumerate(counts.spans):
        num_noise, num_spans = spans.fixed_counts(int(counts["text"][number]))
        assert (found.sum(), found @ np.arange(len(found))) == (num_spans, num_noise)
        assert counts["sentinels"][number] == num_spans


def test_coverage_is_that_of_counting_every_token():
    starts = RNG.integers(0, 900, size=60)
    ends = starts + RNG.integers(0, 60, size=60)
    times = np.zeros(1000, dtype=int)
    for start, end in zip(starts, ends, strict=True):
        times[start:end] += 1
    expected = ((times == 1).mean(), (times > 1).mean(), (times == 0).mean())
    assert coverage(starts, ends, 1000) == pytest.approx(expected)


@pytest.mark.parametrize("objective", [Mlm(TokenMask(MASK, VOCAB, SPECIAL), CLS, SEP), CausalLm(), Nsp(CLS, SEP)])
def test_the_stretches_of_an_epoch_are_those_of_its_units(objective):
    units = units_of(objective)
    times = np.zeros(len(units.ids), dtype=int)
    for start, end in zip(*units.segments(0), strict=True):
        times[start:end] += 1
    text = []
    for index in range(len(units)):
        unit = units.get(index, 0)
        text += [unit.tokens[: units.stride]] if objective.unit == "block" else [unit.a.tokens, unit.b.tokens]
    assert np.array_equal(np.bincount(np.concatenate(text)), np.bincount(np.repeat(units.ids, times)))


def test_fields_are_read_back_from_their_sequences():
    objective = FieldLm(FIELDS, SENTINELS, SEP)
    counts = counted(objective, "decoder", num_sequences=300)
    batches = batches_of(objective, "decoder")
    for number in range(300):
        epoch, index = batches.place(number)
        unit = batches.units.get(index, epoch)
        order = objective.order(unit, noise_generator(0, epoch, index))
        assert counts["tokens"][number] == sum(len(unit.fields[field]) + 1 for field in order)
        assert counts["text"][number] == sum(unit.fields[field].ordinary.sum() for field in order)
        assert counts["in_order"][number] == (order == sorted(order)) and counts["wrong"][number] == 0
        for field, name in enumerate(FIELDS):
            left_out = float(field not in order) if len(unit.fields[field]) else np.nan
            assert np.array_equal(counts[f"without {name}"][number], left_out, equal_nan=True)


def test_what_is_cut_of_fields_is_told():
    units = units_of(FieldLm(FIELDS, SENTINELS, SEP))
    figures = {each.name: each.estimate.value for each in epoch_figures(units, field_store())}
    title, author, text = units.lengths.T
    has_text = text > 0
    is_cut = (title > units.share) & (has_text | (author > 0))
    assert units.share == 65 // 4 - 1
    assert figures["title cut off at 15 tokens"] == pytest.approx(is_cut.mean()) and is_cut.any()
    assert figures["never read"] == pytest.approx((title - units.share)[is_cut].sum() / len(units.ids))
    assert figures["documents without text"] == pytest.approx(1 - has_text.mean())
    assert figures["documents in several sequences"] == (units.num_parts > 1).mean() > 0.5


def test_text_that_the_tokenizer_does_not_know_is_impossible():
    units = units_of(Nsp(CLS, SEP))
    store = SimpleNamespace(ids=units.ids, document_ends=np.arange(1, 401), unknown_tokens=int(0.7 * len(units.ids)))
    (unknown,) = (figure for figure in epoch_figures(units, store) if figure.name == "unknown tokens")
    assert unknown.estimate.value > unknown.most
    assert 0 < cut_share(units) < 1


def test_plain_text_is_dyed_by_place():
    assert Tracer(VOCAB, SPECIAL, [], CLS, SEP).dyed(plain(np.array([40, 40]))).tokens.tolist() == [VOCAB, VOCAB + 1]
