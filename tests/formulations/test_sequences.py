"""How texts are laid out: special tokens, segments, truncation, padding, positions."""

from types import SimpleNamespace

import numpy as np
import pytest

from lmlab.formulations.sequences import Examples, Frame, truncate

# As BERT also what the lab trains.
BERT = SimpleNamespace(pad_id=0, cls_id=1, sep_id=2, bos_id=1, eos_id=2, separators_between=1)
ROBERTA = SimpleNamespace(pad_id=0, cls_id=1, sep_id=2, bos_id=1, eos_id=2, separators_between=2)
GPT2 = SimpleNamespace(pad_id=None, cls_id=None, sep_id=None, bos_id=9, eos_id=9, separators_between=1)
LLAMA = SimpleNamespace(pad_id=None, cls_id=None, sep_id=None, bos_id=8, eos_id=9, separators_between=1)
T5 = SimpleNamespace(pad_id=0, cls_id=None, sep_id=None, bos_id=None, eos_id=9, separators_between=1)
BARE = SimpleNamespace(pad_id=0, cls_id=None, sep_id=None, bos_id=None, eos_id=None, separators_between=1)
A, B = np.array([11, 12, 13]), np.array([21, 22])


@pytest.mark.parametrize(
    ("layout", "tokenizer", "ids"),
    [
        ("encoder", BERT, [1, 11, 12, 13, 2, 21, 22, 2]),
        ("encoder", ROBERTA, [1, 11, 12, 13, 2, 2, 21, 22, 2]),
        ("encoder-decoder", ROBERTA, [1, 11, 12, 13, 2, 2, 21, 22, 2]),
        ("encoder", GPT2, [9, 11, 12, 13, 9, 21, 22, 9]),
        ("encoder", BARE, [11, 12, 13, 21, 22]),
        ("decoder", BERT, [2, 11, 12, 13, 2, 21, 22, 2]),
        ("decoder", GPT2, [9, 11, 12, 13, 9, 21, 22, 9]),
        ("decoder", LLAMA, [8, 11, 12, 13, 9, 21, 22, 9]),
        ("encoder-decoder", T5, [11, 12, 13, 9, 21, 22, 9]),
    ],
)
def test_pairs_are_joined_by_the_tokenizers_own_tokens(layout, tokenizer, ids):
    example = Frame(layout, tokenizer, 20).join([A, B])
    assert example.ids.tolist() == ids
    assert [ids[begin] for begin in example.begins] == [11, 21]
    assert example.segments.tolist() == [0] * example.begins[1] + [1] * (len(ids) - example.begins[1])


@pytest.mark.parametrize(
    ("lengths", "room", "wanted"),
    [((10, 4), 10, (6, 4)), ((10, 9), 10, (5, 5)), ((3, 9), 4, (2, 2)), ((3, 2), 9, (3, 2)), ((9,), 4, (4,)),
     ((5, 5), 7, (4, 3)), ((5, 5), 0, (0, 0))],
)  # fmt: skip
def test_the_longer_text_loses_tokens_first(lengths, room, wanted):
    texts = [np.arange(length) for length in lengths]
    cut = truncate(texts, room)
    assert tuple(map(len, cut)) == wanted
    assert all(part.tolist() == list(range(len(part))) for part in cut)  # from the end


def test_truncation_equals_dropping_one_token_at_a_time():
    for a, b, room in np.random.default_rng(0).integers(0, 30, (200, 3)).tolist():
        lengths = [a, b]
        while sum(lengths) > room:
            lengths[1 if lengths[1] >= lengths[0] else 0] -= 1
        assert list(map(len, truncate([np.zeros(a), np.zeros(b)], room))) == lengths


def test_a_prefix_lm_sees_all_of_a_text_but_its_padding():
    frame = Frame("decoder", BERT, 20, sees_text_whole=True)
    inputs = frame.collate([frame.join([A]), frame.join([np.array([11])])])
    assert inputs["prefix_mask"].tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert frame.collate([frame.join([A])])["prefix_mask"].tolist() == [[True] * 5]


@pytest.mark.parametrize("layout", ["encoder", "decoder", "encoder-decoder"])
def test_sequences_never_exceed_their_length(layout):
    frame = Frame(layout, BERT, 7)
    assert len(frame.join([np.arange(50), np.arange(50)]).ids) == len(frame.join([np.arange(50)]).ids) == 7


@pytest.mark.parametrize(
    ("layout", "decoder_input", "read"),
    [("encoder", "text", [1, 1]), ("decoder", "text", [2, 2]), ("encoder-decoder", "text", [13, 11]),
     ("encoder-decoder", "start", [5, 5]), ("encoder-decoder", "none", [1, 1])],
)  # fmt: skip
def test_the_pooled_position_is_the_first_token_or_that_of_the_last_real_one(layout, decoder_input, read):
    frame = Frame(layout, BERT, 20, decoder_input, decoder_start_id=5)
    examples = [frame.join([A]), frame.join([np.array([11])])]
    for example in examples:
        example.asked = np.array([frame.pooled_position(example)])
    inputs = frame.collate(examples)
    seen = inputs.get("decoder_input_ids", inputs["input_ids"])
    assert seen.flatten()[inputs["positions"]].tolist() == read
    if layout == "decoder":
        assert "attention_mask" not in inputs
    else:
        assert inputs["attention_mask"].tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_both_separators_find_room():
    frame = Frame("encoder", ROBERTA, 8)
    assert len(frame.join([A, B]).ids) == 8 and frame.room(2) == 4 and frame.room(1) == 6


def test_examples_in_flat_arrays_come_back_as_they_went_in():
    frame = Frame("encoder", BERT, 20)
    examples = [frame.join([A, B]), frame.join([A]), frame.join([np.array([], dtype=np.int32), B])]
    for row, example in enumerate(examples):
        example.row, example.labels, example.window = row // 2, [row], {"row": row}
    examples[0].asked = np.array([0, 3])
    back = Examples(iter(examples))
    assert len(back) == 3 and list(back.rows) == [0, 0, 1]
    for one, other in zip(examples, back, strict=True):
        assert (one.begins, one.row, one.labels, one.window) == (other.begins, other.row, other.labels, other.window)
        for name in ("ids", "segments", "asked"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
