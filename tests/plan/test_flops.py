"""Operations in closed form: equal to those that torch counts while a real network runs forward and backward."""

import pytest
from planned import LAPTOP, SMALL, with_weights
from torch.utils.flop_counter import FlopCounterMode

from lmlab.plan.flops import flops_of


@pytest.mark.parametrize("family", LAPTOP)
def test_flops_are_those_that_are_computed(family):
    learner, batches, passes = with_weights(*SMALL, *LAPTOP[family])
    with FlopCounterMode(display=False) as counter:
        for batch in batches:
            sum(learner(batch).values()).backward()
    assert flops_of(learner, passes).total == counter.get_total_flops()


def test_a_model_of_ones_own_is_counted(monkeypatch):
    from conftest import OUTSIDE

    monkeypatch.syspath_prepend(str(OUTSIDE))
    words = ("model=bert", "~model", "+model._target_=my_parts.MyModel", "+model.hidden_size=32", "objective=mlm")
    learner, batches, passes = with_weights(*words, *SMALL[:-1])
    with FlopCounterMode(display=False) as counter:
        sum(learner(batches[0]).values()).backward()
    assert flops_of(learner, passes).total == counter.get_total_flops()


def test_the_rule_of_thumb_without_scores_embeddings_and_what_is_not_asked():
    """Every matrix of GPT-2's blocks is used once a token: 6 N, N without embeddings; then scores and vocabulary."""
    words = ("model=gpt2", "objective=causal_lm", "seq_len=64", "vocab_size=500", "trainer.batch_tokens=64")
    learner, _, passes = with_weights(*words)
    blocks = sum(weight.numel() for weight in learner.model.stack.parameters() if weight.ndim == 2)
    flops, depth, width = flops_of(learner, passes), len(learner.model.stack.blocks), learner.model.hidden_size
    assert flops.scores == 64 * 12 * depth * 64 * width  # 2 products, 2 each, 3 passes: for 64 queries of 64 keys
    assert flops.parts["head: vocabulary"] == 64 * 6 * 500 * width
    assert flops.total == 64 * 6 * blocks + flops.scores + flops.parts["head: vocabulary"]
