"""Memory in closed form: equal to what autograd and the optimizers keep while a real network is trained."""

import pytest
import torch
from planned import LAPTOP, SMALL, with_weights
from torch import nn

from lmlab.batch import Batch
from lmlab.engine.optimizers import Adafactor, AdamW
from lmlab.engine.precision import Weights
from lmlab.objectives.base import Learner
from lmlab.plan.memory import Activations, counted_state, memory_of, optimizer_state

LONG = ("seq_len=300", "vocab_size=500", "trainer.batch_tokens=600", "model.dropout=0", "model.num_layers=2")
DROPOUT = ("model.dropout=0.1", "model.attention_dropout=0.1")


def kept_for_backward(learner: Learner, batch: Batch) -> int:
    """Bytes of all storages that autograd keeps of one pass, those of weights and of the batch not counted."""
    given = [*learner.parameters(), *(batch.inputs | batch.targets).values()]
    known = {tensor.untyped_storage()._cdata for tensor in given}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = learner(batch)
    del losses
    return sum(storage.nbytes() for storage in kept.values())


def assert_as_kept(words: tuple[str, ...], dtype: torch.dtype) -> None:
    learner, batches, passes = with_weights(*words, dtype=dtype)
    kept = max(kept_for_backward(learner, batch) for batch in batches)  # as the trainer goes: one after the other
    # Beyond the parts of the network: logits and labels of yes-or-no questions, a few bytes a row.
    assert Activations(dtype, on_cpu=True).of(passes) == pytest.approx(kept, rel=2e-3)


@pytest.mark.parametrize("family", LAPTOP)
def test_activations_are_those_that_are_kept(family):
    assert_as_kept((*SMALL, *LAPTOP[family], "model.dropout=0"), torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", ["bert", "mobilebert", "gpt", "bands", "t5", "bart"])
def test_activations_with_dropout(family, dtype):
    dropout = DROPOUT[:1] if family == "t5" else DROPOUT  # T5 has one rate for all
    assert_as_kept((*SMALL, *LAPTOP[family], *dropout), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", ["bert", "gpt", "t5", "bart"])
def test_activations_of_long_sequences_which_a_fused_kernel_reads(family, dtype):
    attention = () if family == "t5" else ("model.attention_dropout=0",)
    assert_as_kept((*LAPTOP[family], *LONG, *attention), dtype)


def test_activations_of_long_bands():
    assert_as_kept((*LAPTOP["bands"], *LONG, "model.local_window=150", "model.attention_dropout=0"), torch.float32)


def test_a_fused_kernel_keeps_no_scores():
    """Twice the length is twice the memory on an accelerator, and more on a CPU, where scores are kept."""
    words = ("model=bert", "objective=mlm", "vocab_size=500", "model.attention_dropout=0.1")
    kept = {
        (length, on_cpu): Activations(torch.bfloat16, on_cpu).of(
            with_weights(*words, f"seq_len={length}", f"trainer.batch_tokens={length}")[2]
        )
        for length in (256, 512)
        for on_cpu in (True, False)
    }
    assert kept[512, False] / kept[256, False] == pytest.approx(2, rel=0.05)
    assert kept[512, True] / kept[256, True] > 2.5


@pytest.mark.parametrize("optimizer", [AdamW(), Adafactor()], ids=["adamw", "adafactor"])
@pytest.mark.parametrize("shape", [(7,), (5, 3), (4, 5, 3)], ids=str)
def test_an_optimizer_keeps_what_it_says(optimizer, shape):
    weight = nn.Parameter(torch.ones(shape))
    weight.grad = torch.ones(shape)
    made = optimizer.create([weight])
    made.step()
    kept = sum(each.numel() * each.element_size() for each in made.state[weight].values() if torch.is_tensor(each))
    assert kept == optimizer.state_bytes(shape) == counted_state(optimizer, torch.Size(shape))


def test_the_state_of_an_optimizer_of_ones_own_is_counted():
    class Momentum:
        lr = 0.1

        def create(self, parameters):
            return torch.optim.SGD(parameters, lr=self.lr, momentum=0.9)

    weights = nn.Linear(30, 20).parameters()
    assert optimizer_state(Momentum(), weights) == 4 * (30 * 20 + 20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_weights_and_gradients_are_those_of_the_trainer(dtype):
    learner, batches, passes = with_weights("model=bert", "objective=mlm", *SMALL)
    number = sum(weight.numel() for weight in learner.parameters())
    planned = memory_of(learner, passes, AdamW(), dtype, on_cpu=True)
    weights = Weights(learner, dtype)
    sum(learner(batches[0]).values()).backward()
    weights.absorb_gradients()
    sum(learner(batches[0]).values()).backward()  # the gradients of the next micro-batch, beside those of the first
    held = {tensor.untyped_storage()._cdata: tensor for tensor in (*learner.parameters(), *weights.trainable)}
    gradients = {id(each.grad): each.grad for each in (*learner.parameters(), *weights.trainable)}
    assert planned.weights == sum(each.nbytes for each in held.values())
    assert planned.gradients == sum(each.nbytes for each in gradients.values())
    assert planned.optimizer == pytest.approx(8 * number, rel=1e-3)
    assert planned.total == planned.weights + planned.gradients + planned.optimizer + planned.activations
