"""Questions to encoders: masked tokens, and the two about pairs of segments."""

import numpy as np
import pytest
from asked import CLS, MARKS, MASK, SEP, mlm, pair, text, with_ends

from lmlab.batch import IGNORE
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.sop import Sop


def test_mlm_asks_for_the_original_at_the_noise_and_nowhere_else():
    unit = with_ends(text(126), 50)  # the border of two documents inside a block
    example = mlm().example(unit, np.random.default_rng(0))
    whole = np.concatenate([[CLS], unit.tokens, [SEP]])
    asked = example["labels"] != IGNORE
    assert len(example["inputs"]) == 128 == 2 + mlm().block_length(128)
    assert asked.sum() == round(0.15 * 128)
    assert not asked[[0, 51, 127]].any()
    assert np.array_equal(example["labels"][asked], whole[asked])
    assert np.array_equal(example["inputs"][~asked], whole[~asked])
    assert (example["inputs"][asked] == MASK).mean() > 0.5


def segments(example):
    """The tokens of both segments without the marks around them."""
    tokens, ids = example["inputs"].tolist(), example["segment_ids"].tolist()
    second = ids.index(1)
    assert ids == [0] * second + [1] * (len(ids) - second)
    assert tokens[0] == CLS and tokens[second - 1] == tokens[-1] == SEP
    return tokens[1 : second - 1], tokens[second:-1]


@pytest.mark.parametrize(("positive", "is_random", "label"), [
    ("random", True, 1), ("random", False, 0), ("next", True, 0), ("next", False, 1),
])  # fmt: skip
def test_nsp_labels_follow_the_convention_of_the_config(positive, is_random, label):
    unit = pair(is_random=is_random)
    example = Nsp(**MARKS, positive=positive).example(unit, np.random.default_rng(0))
    assert example["sentence_label"] == label
    assert segments(example) == (unit.a.tokens.tolist(), unit.b.tokens.tolist())


@pytest.mark.parametrize(("positive", "label_of_swapped"), [("swapped", 1), ("in_order", 0)])
def test_sop_swaps_half_of_the_pairs_and_tells(positive, label_of_swapped):
    unit, swapped = pair(), 0
    in_order = unit.a.tokens.tolist(), unit.b.tokens.tolist()
    for seed in range(400):
        example = Sop(**MARKS, positive=positive).example(unit, np.random.default_rng(seed))
        was_swapped = segments(example) == in_order[::-1]
        assert was_swapped or segments(example) == in_order
        assert example["sentence_label"] == (label_of_swapped if was_swapped else 1 - label_of_swapped)
        swapped += was_swapped
    assert abs(swapped - 200) < 40  # four deviations


def test_the_defaults_are_those_of_the_published_code():
    assert Nsp(**MARKS).example(pair(is_random=True), np.random.default_rng(0))["sentence_label"] == 1
    assert Sop(**MARKS).positive == "swapped"


def test_conventions_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="positive='yes' must be random or next"):
        Nsp(**MARKS, positive="yes")
    with pytest.raises(ValueError, match="positive='yes' must be swapped or in_order"):
        Sop(**MARKS, positive="yes")
    with pytest.raises(ValueError, match=r"needs a tokenizer with \[CLS\] and \[SEP\]"):
        Sop(None, SEP)
