"""Objectives that read inputs and write targets: what is in them, and how they are laid out."""

import numpy as np
import pytest
from asked import (
    ASK_DECODERS,
    ASK_IN_TEXT,
    END,
    MASK,
    PAD,
    SENTINELS,
    batches_of,
    span_corruption,
    text,
    unit_for,
    with_ends,
)

from lmlab.batch import IGNORE
from lmlab.corruptions.drop import Drop
from lmlab.corruptions.fragment import Fragment
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.errors import UserError
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.drop_spans import DropSpans
from lmlab.objectives.mass import Mass
from lmlab.objectives.prefix_lm import PrefixLm
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.text.passage import plain


def asked_of(objective, unit, seed=0):
    example = objective.example(unit, np.random.default_rng(seed))
    return example["inputs"].tolist(), example["targets"].tolist()


def without_end(tokens):
    assert tokens[-1] == END
    return tokens[:-1]


def filled(inputs, targets):
    """The text that span corruption cut up: each sentinel of the inputs replaced by what follows it in the targets."""
    spans, current = {}, None
    for token in targets:
        if token in SENTINELS:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    assert list(spans) == SENTINELS[: len(spans)] and all(spans.values())
    return [each for token in inputs for each in spans.get(token, [token])]


def merged(kept, dropped, whole):
    """Whether `whole` can be read off two lists from left to right."""
    states = {(0, 0)}
    for token in whole:
        states = {(i + 1, j) for i, j in states if kept[i : i + 1] == [token]} | {
            (i, j + 1) for i, j in states if dropped[j : j + 1] == [token]
        }
    return (len(kept), len(dropped)) in states


# --- the text comes back from inputs and targets ---


@pytest.mark.parametrize("name", [name for name in ASK_IN_TEXT if name.startswith("span_corruption")])
def test_spans_and_the_rest_give_the_text_back(name):
    for seed in range(20):
        unit = with_ends(text(100, seed), 30, 99)
        inputs, targets = (without_end(each) for each in asked_of(ASK_IN_TEXT[name](), unit, seed))
        assert filled(inputs, targets) == unit.text_alone().tokens.tolist()
        assert END not in inputs + targets and MASK not in inputs
        assert sum(token in SENTINELS for token in inputs) >= 1


@pytest.mark.parametrize("name", ["drop_spans", "drop_spans of tokens"])
def test_what_was_dropped_is_asked_for_in_order(name):
    for seed in range(20):
        unit = with_ends(text(100, seed), 30)
        inputs, targets = (without_end(each) for each in asked_of(ASK_IN_TEXT[name](), unit, seed))
        assert len(targets) == 15 and merged(inputs, targets, unit.text_alone().tokens.tolist())


def test_mass_asks_for_the_masked_fragment_alone():
    everything = Fragment(MASK, 8192, mask_share=1.0, random_share=0.0)
    firsts = set()
    for seed in range(40):
        unit = with_ends(text(61, seed), 30)
        inputs, targets = asked_of(Mass(everything), unit, seed)
        whole = unit.text_alone().tokens.tolist()
        first = inputs.index(MASK)
        assert inputs == whole[:first] + [MASK] * 30 + whole[first + 30 :]
        assert targets == whole[first : first + 30]
        firsts.add(first)
    assert len(firsts) > 15


def test_denoising_asks_for_all_of_the_original_with_its_ends():
    unit = with_ends(text(64), 20, 63)
    for name in ("denoising", "denoising of shuffled text", "denoising of masked text"):
        inputs, targets = asked_of(ASK_IN_TEXT[name](), unit)
        assert without_end(targets) == unit.tokens.tolist() != without_end(inputs)
        assert inputs.count(END) == targets.count(END) == 3  # ends of documents stay
    shuffled, _ = asked_of(ASK_IN_TEXT["denoising of shuffled text"](), unit)
    assert sorted(without_end(shuffled)) == sorted(unit.tokens.tolist()) and shuffled[20] == END
    masked, _ = asked_of(ASK_IN_TEXT["denoising"](), unit)
    assert MASK in masked and len(masked) < 65


def test_denoising_learns_that_nothing_may_have_changed():
    unit = plain(np.array([7000]))
    assert asked_of(ASK_IN_TEXT["denoising of shuffled text"](), unit) == ([7000, END], [7000, END])


def test_a_prefix_ends_anywhere_and_every_place_is_as_likely():
    unit = text(9)
    cuts = np.zeros(10)
    for seed in range(4000):
        inputs, targets = asked_of(PrefixLm(), unit, seed)
        assert inputs + targets == unit.tokens.tolist()
        cuts[len(inputs)] += 1
    assert cuts[0] == cuts[9] == 0
    assert ((cuts[1:9] - 500) ** 2 / 500).sum() < 24.3  # chi-square with 7 degrees of freedom, p = .001


# --- lengths ---


@pytest.mark.parametrize(("rate", "mean", "seq_len", "raw", "targets"), [
    (0.15, 3.0, 32, 34, 8), (0.15, 3.0, 64, 70, 14), (0.15, 3.0, 128, 141, 29), (0.15, 3.0, 256, 284, 58),
    (0.15, 3.0, 512, 568, 114), (0.15, 3.0, 1024, 1137, 229), (0.5, 3.0, 512, 766, 512), (0.15, 1.0, 512, 511, 155),
])  # fmt: skip
def test_lengths_are_those_of_t5(rate, mean, seq_len, raw, targets):
    objective = SpanCorruption(Spans(rate=rate, mean_length=mean), list(range(5, 500)), END)
    assert objective.block_length(seq_len) == raw
    example = objective.example(plain(np.arange(1000, 1000 + raw)), np.random.default_rng(0))
    assert len(example["inputs"]) == seq_len and len(example["targets"]) == targets
    assert objective.sequence_length(seq_len, "encoder-decoder") == seq_len
    assert objective.sequence_length(seq_len, "decoder") == seq_len + targets - 1


@pytest.mark.parametrize("name", ASK_DECODERS)
def test_sequences_are_never_longer_than_told(name):
    objective = ASK_DECODERS[name]()
    seq_len = 48
    longest = {layout: objective.sequence_length(seq_len, layout) for layout in objective.layouts}
    for seed in range(30):
        inputs, targets = asked_of(objective, unit_for(objective, seq_len, seed), seed)
        assert len(inputs) <= seq_len
        assert len(inputs) + len(targets) - 1 <= longest["decoder"]
        assert max(len(inputs), len(targets)) <= longest.get("encoder-decoder", seq_len + 1)


def test_a_decoder_reads_as_much_text_for_a_prefix_as_for_a_causal_language_model():
    for objective in (PrefixLm(), CausalLm()):
        assert (objective.block_length(64), objective.sequence_length(64, "decoder")) == (65, 64)


def test_dropped_spans_leave_room_for_more_text():
    objective = DropSpans(Drop(rate=0.5), END)
    raw = objective.block_length(64)
    inputs, targets = asked_of(objective, text(raw))
    assert len(inputs) == 64 and raw in (126, 127) and len(targets) in (64, 65)


def test_too_many_spans_for_the_sentinels_are_refused_before_any_training():
    with pytest.raises(UserError, match="153 spans need as many sentinels, but the tokenizer has 100"):
        span_corruption(mean_length=1).sequence_length(1024, "encoder-decoder")
    drawn = SpanCorruption(TokenMask(MASK, 8192), SENTINELS, END)
    with pytest.raises(UserError, match="130 spans"):  # 1023 tokens, of which 153 are noise: .15 * .85 runs each
        drawn.sequence_length(1024, "encoder-decoder")
    assert drawn.sequence_length(512, "encoder-decoder") == 511 + 100 + 1


def test_spans_beyond_the_last_sentinel_stay():
    objective = SpanCorruption(TokenMask(MASK, 8192), SENTINELS[:3], END)
    unit = text(100)
    inputs, targets = (without_end(each) for each in asked_of(objective, unit))
    assert filled(inputs, targets) == unit.tokens.tolist()
    assert [token for token in inputs if token in SENTINELS] == SENTINELS[:3]


# --- layouts ---


@pytest.mark.parametrize("name", ASK_IN_TEXT)
def test_a_decoder_is_asked_for_the_targets_only_and_sees_the_inputs_whole(name):
    objective = ASK_IN_TEXT[name]()
    units = [text(40, seed) for seed in range(4)]
    (batch,) = batches_of(objective, "decoder", units)
    width = batch.inputs["input_ids"].shape[1]
    predicted = dict(zip(batch.inputs["positions"].tolist(), batch.targets["labels"].tolist(), strict=True))
    assert batch.counts == {objective.name: len(predicted)}
    for row, unit in enumerate(units):
        inputs, targets = asked_of(objective, unit, row)
        whole = inputs + targets
        read = batch.inputs["input_ids"][row].tolist()
        assert read == whole[:-1] + [PAD] * (width - len(whole) + 1)
        assert batch.inputs["prefix_mask"][row].tolist() == [place < len(inputs) for place in range(width)]
        for place in range(width):
            asked = len(inputs) - 1 <= place < len(whole) - 1
            assert predicted.get(row * width + place, IGNORE) == (whole[place + 1] if asked else IGNORE)


@pytest.mark.parametrize("name", ASK_IN_TEXT)
def test_an_encoder_decoder_reads_the_inputs_and_is_fed_the_targets_shifted(name):
    objective = ASK_IN_TEXT[name]()
    units = [text(40, seed) for seed in range(4)]
    (batch,) = batches_of(objective, "encoder-decoder", units)
    fed, (_, width) = batch.inputs["decoder_input_ids"], batch.inputs["decoder_input_ids"].shape
    places = batch.inputs.get("positions")
    places = range(fed.numel()) if places is None else places.tolist()
    predicted = dict(zip(places, batch.targets["labels"].tolist(), strict=True))
    for row, unit in enumerate(units):
        inputs, targets = asked_of(objective, unit, row)
        read = batch.inputs["input_ids"][row].tolist()
        assert read[: len(inputs)] == inputs and set(read[len(inputs) :]) <= {PAD}
        if "attention_mask" in batch.inputs:
            assert batch.inputs["attention_mask"][row].sum() == len(inputs)
        assert fed[row].tolist() == [PAD, *targets[:-1]] + [PAD] * (width - len(targets))
        labels = targets + [IGNORE] * (width - len(targets))
        assert [predicted.get(row * width + place, IGNORE) for place in range(width)] == labels


def test_causal_lm_predicts_every_token_once_from_its_past():
    objective = CausalLm()
    (batch,) = batches_of(objective, "decoder", [text(objective.block_length(8)), text(9, 1)])
    assert batch.inputs["input_ids"].shape == (2, 8) and batch.counts == {"causal_lm": 16}
    assert "prefix_mask" not in batch.inputs
    rows = batch.targets["labels"].view(2, 8)
    assert rows[:, :-1].equal(batch.inputs["input_ids"][:, 1:])
    assert rows[0, -1] == text(9).tokens[-1]
