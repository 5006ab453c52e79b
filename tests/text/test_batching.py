"""Pre-training batches: pure functions of the step, every unit once an epoch, no padding, fixed validation noise."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.mlm import Mlm
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.text.batching import Asking, PretrainBatches, ValidationBatches
from lmlab.text.features import CONVERTERS
from lmlab.text.passage import plain
from lmlab.text.units import Blocks

SPECIAL = frozenset(range(40))
STORE = SimpleNamespace(ids=np.random.default_rng(0).integers(40, 500, 5000).astype(np.uint16))
OBJECTIVES = {
    "encoder": Mlm(TokenMask(4, 500, SPECIAL), cls_id=2, sep_id=3),
    "decoder": CausalLm(),
    "encoder-decoder": SpanCorruption(Spans(4), list(range(5, 40)), eos_id=3),
}


def batches(layout="encoder", size=6, micro=4, seed=1, kind=PretrainBatches) -> PretrainBatches | ValidationBatches:
    objective = OBJECTIVES[layout]
    units = Blocks(STORE, objective.block_length(32), objective.block_overlap(), seed, SPECIAL)
    passes = [Asking(objective.example, CONVERTERS[layout](0), objective.counts)]
    return kind(units, passes, size, micro, seed) if kind is PretrainBatches else kind(units, passes, size)


@pytest.mark.parametrize("layout", OBJECTIVES)
def test_blocks_make_batches_without_padding(layout):
    for step in range(5):
        for batch in batches(layout).step(step):
            assert "attention_mask" not in batch.inputs
            assert batch.inputs["input_ids"].shape[1] == 32
            sizes = [ids.numel() for name, ids in batch.inputs.items() if name in ("input_ids", "decoder_input_ids")]
            assert batch.num_tokens == sum(sizes)


def test_a_step_is_a_pure_function_of_its_number():
    first, second = batches(), batches()
    first.step(3)
    for one, other in zip(first.step(11), second.step(11), strict=True):
        for name in one.inputs:
            assert torch.equal(one.inputs[name], other.inputs[name])
    other_seed = batches(seed=2).step(11)[0].inputs["input_ids"]
    assert not torch.equal(first.step(11)[0].inputs["input_ids"], other_seed)


def test_every_unit_is_asked_once_an_epoch_and_with_new_noise_in_the_next():
    data, seen = batches(size=1), []
    data.units.get = lambda index, epoch: seen.append((epoch, index)) or plain(np.arange(40, 70))
    size = len(data.units)
    noises = [data.step(step)[0].inputs["positions"] for step in range(2 * size)]
    for epoch in (0, 1):
        assert sorted(index for e, index in seen if e == epoch) == list(range(size))
    place = [index for epoch, index in seen if epoch == 1].index(seen[0][1])
    assert not torch.equal(noises[0], noises[size + place])


def test_a_large_step_is_cut_into_micro_batches_and_nothing_else_changes():
    whole, parts = batches(micro=6).step(2), batches(micro=4).step(2)
    assert [len(batch.inputs["input_ids"]) for batch in parts] == [4, 2]
    ids = torch.cat([batch.inputs["input_ids"] for batch in parts])
    assert torch.equal(ids, whole[0].inputs["input_ids"])
    assert sum(batch.counts["mlm"] for batch in parts) == whole[0].counts["mlm"]


def test_validation_is_the_same_every_time_whatever_the_seed():
    def rows(seed):
        return torch.cat([batch.inputs["input_ids"] for batch in batches(seed=seed, kind=ValidationBatches)])

    assert torch.equal(rows(1), rows(1)) and torch.equal(rows(1), rows(2))


def test_passes_ask_about_the_same_units_one_after_another_each_with_its_own_noise():
    data = batches()
    data.passes = [data.passes[0], Asking(data.passes[0].ask, data.passes[0].convert, data.passes[0].count, part=1)]
    made = data.step(4)
    assert [(batch.part, len(batch.inputs["input_ids"])) for batch in made] == [(0, 4), (1, 4), (0, 2), (1, 2)]
    for first, second in zip(made[::2], made[1::2], strict=True):
        assert not torch.equal(first.inputs["input_ids"], second.inputs["input_ids"])
        assert torch.equal(original(first), original(second))


def original(batch) -> torch.Tensor:
    """The tokens of a batch before they were masked."""
    ids = batch.inputs["input_ids"].flatten().clone()
    ids[batch.inputs["positions"]] = batch.targets["labels"]
    return ids
