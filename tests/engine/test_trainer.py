"""The loop: exact resume, token-weighted accumulation, budgets, early stopping, schedules."""

import json
import math
import os
import signal

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from lmlab.batch import Batch
from lmlab.engine import checkpoint
from lmlab.engine.checkpoint import Checkpoints
from lmlab.engine.optimizers import Adafactor, AdamW, decay_groups
from lmlab.engine.precision import Weights
from lmlab.engine.schedules import Constant, Cosine, InverseSqrt, Linear
from lmlab.engine.trainer import Settings, Trainer
from lmlab.errors import UserError
from lmlab.models.layers.dropout import Dropout
from lmlab.runs.record import RunFolder


class Regression(nn.Module):
    """A learner with dropout, so that noise must be resumed too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), Dropout(0.3), nn.Linear(16, 1))

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        error = self.model(batch.inputs["x"].to(next(self.parameters()).dtype)).squeeze(1) - batch.targets["y"]
        return {"mse": (error.float() ** 2).sum()}


class Data:
    """Batches of unequal sizes; every step a pure function of its number."""

    steps_per_epoch = 8.0

    def __init__(self, sizes=(5, 2)):
        self.sizes = sizes

    def step(self, step: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(step)
        batches = []
        for size in self.sizes:
            x = torch.randn(size, 4, generator=generator)
            batches.append(Batch({"x": x}, {"y": x.sum(1)}, {"mse": size}, size))
        return batches


def trainer(folder, evaluate=None, data=None, optimizer=None, **settings) -> Trainer:
    learner = Regression()
    defaults = {"max_steps": 20, "save_every": 5, "eval_every": 4, "precision": "fp32", "device": "cpu"}
    return Trainer(
        learner,
        data or Data(),
        optimizer=optimizer or AdamW(lr=1e-2),
        schedule=Linear(warmup_steps=3),
        settings=Settings(**defaults | settings),
        record=RunFolder(folder),
        evaluate=evaluate or (lambda: {"loss": 1.0}),
        seed=1,
    )


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", [AdamW, Adafactor])
def test_a_run_cut_anywhere_and_resumed_ends_with_the_same_bits(folder, tmp_path, precision, optimizer):
    whole = trainer(folder, precision=precision, optimizer=optimizer())
    whole.fit()
    interrupted = tmp_path / "interrupted"
    interrupted.mkdir()
    first = trainer(interrupted, precision=precision, optimizer=optimizer())
    first.evaluate = lambda: first._interrupt() or {"loss": 1.0} if first.state.step == 12 else {"loss": 1.0}
    first.fit()
    assert first.state.step == 12
    second = trainer(interrupted, precision=precision, optimizer=optimizer())
    second.resume(*Checkpoints(interrupted / "checkpoints").load_last_good(print))
    second.fit()
    assert second.state.step == 20
    for name, weight in whole.weights.state_dict().items():
        assert torch.equal(weight, second.weights.state_dict()[name]), name


def test_micro_batches_weigh_by_their_counts(folder, tmp_path):
    """Two unequal micro-batches make the same update as one large batch: no mean of means."""

    class OneBatch(Data):
        def step(self, step):
            parts = super().step(step)
            x, y = (torch.cat([tensor for tensor in tensors]) for tensors in (
                [part.inputs["x"] for part in parts], [part.targets["y"] for part in parts]
            ))  # fmt: skip
            return [Batch({"x": x}, {"y": y}, {"mse": len(y)}, len(y))]

    other = tmp_path / "other"
    other.mkdir()
    split, joined = trainer(folder, data=Data()), trainer(other, data=OneBatch())
    for each in (split, joined):
        each.learner.model[2].p = 0.0
        each.fit()
    for name, weight in split.weights.state_dict().items():
        torch.testing.assert_close(weight, joined.weights.state_dict()[name])


def test_bf16_weights_keep_small_updates_in_their_masters():
    module = nn.Linear(3, 3)
    before = module.weight.detach().clone()
    weights = Weights(module, torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16
    for _ in range(100):
        with torch.no_grad():
            for master in weights.trainable:
                master += 1e-5  # far below the spacing of bf16 numbers near these weights
        weights.publish()
    torch.testing.assert_close(weights.state_dict()["weight"], before + 1e-3, atol=1e-5, rtol=0)
    torch.testing.assert_close(module.weight.float(), before + 1e-3, atol=5e-3, rtol=0)


@pytest.mark.parametrize(("settings", "steps"), [
    ({"max_steps": 7}, 7),
    ({"max_steps": None, "max_tokens": 7 * 6}, 6),
    ({"max_steps": None, "max_epochs": 1.5}, 12),
    ({"max_steps": 9, "max_tokens": 10**6}, 9),
    ({"max_steps": None, "max_minutes": 1e-9}, 1),
])  # fmt: skip
def test_the_first_budget_reached_ends_the_run(folder, settings, steps):
    run = trainer(folder, **settings)
    run.fit()
    assert run.state.step in ({0, 1} if "max_minutes" in settings else {steps})


def test_training_stops_when_nothing_is_gained_and_the_best_checkpoint_stays(folder):
    values = iter([9, 5, 3, 4, 3.5, 6, 7])
    run = trainer(folder, lambda: {"loss": next(values)}, max_steps=100, eval_every=2, patience=2, keep_checkpoints=1)
    run.fit()
    assert run.state.step == 8 and run.state.best_step == 4 and run.state.best_value == 3
    assert {path.name for path in run.checkpoints.steps()} == {"step-000004", "step-000008"}
    assert (folder / "checkpoints" / "best").resolve().name == "step-000004"


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 4), ("loss", 8)])
def test_the_best_is_the_largest_score_or_the_smallest_loss(folder, metric, best):
    values = iter([1, 1, 5, 3, 0.5])
    run = trainer(folder, lambda: {metric: next(values)}, max_steps=8, eval_every=2, best_metric=metric)
    run.fit()
    assert run.state.best_step == best


def test_ctrl_c_ends_the_step_saves_and_says_so(folder):
    run = trainer(folder, max_steps=10_000)
    run.evaluate = lambda: {"loss": 1.0} if run.state.step < 8 else os.kill(os.getpid(), signal.SIGINT) or {"loss": 1}
    run.fit()
    assert run.interrupted and run.state.step == 8
    assert run.checkpoints.steps()[-1].name == "step-000008"


def test_a_loss_that_is_not_finite_stops_the_run_with_advice(folder):
    run = trainer(folder, optimizer=AdamW(lr=1e30), max_steps=50, max_grad_norm=None, log_every=1)
    with pytest.raises(UserError, match=r"lower optimizer\.lr"):
        run.fit()


def test_figures_are_recorded(folder):
    trainer(folder, log_every=5).fit()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [5, 10, 15, 20]
    assert [line["step"] for line in lines if line["split"] == "validation"] == [0, 4, 8, 12, 16, 20]


# ---- checkpoints


def saved(folder, *steps) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep=2)
    for step in steps:
        checkpoints.save(step, {"w": torch.full((50, 50), float(step))}, {"trainer": {"step": step}})
    return checkpoints


@pytest.mark.parametrize("damage", ["cut weights", "zeroed state", "no checksums", "missing weights"])
def test_a_torn_checkpoint_is_skipped_for_the_last_good_one(tmp_path, damage):
    checkpoints, told = saved(tmp_path, 10, 20), []
    newest = tmp_path / "step-000020"
    if damage == "cut weights":
        content = (newest / "model.safetensors").read_bytes()
        (newest / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif damage == "zeroed state":  # what a machine that lost its power may leave
        (newest / "state.pt").write_bytes(bytes((newest / "state.pt").stat().st_size))
    elif damage == "no checksums":
        (newest / "checksums.json").unlink()
    else:
        (newest / "model.safetensors").unlink()
    weights, state = checkpoints.load_last_good(told.append)
    assert state["trainer"]["step"] == 10 and weights["w"][0, 0] == 10
    assert len(told) == 1 and "step-000020 is torn" in told[0]


@pytest.mark.parametrize("error", [
    OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)"),
], ids=["torch", "safetensors"])  # fmt: skip
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, error):
    checkpoints = saved(tmp_path, 10)

    def no_room(*_):
        raise error

    monkeypatch.setattr(checkpoint, "save_file", no_room)
    with pytest.raises(UserError, match=r"the disk is full; the last good one, .*step-000010, stays"):
        saved(tmp_path, 20)
    assert [path.name for path in checkpoints.steps()] == ["step-000010"]
    assert not list(tmp_path.glob(".*.tmp"))


def test_only_the_newest_checkpoints_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 6):
        checkpoints.save(step, {"w": torch.zeros(2)}, {}, best=step == 2)
    assert [path.name for path in checkpoints.steps()] == ["step-000002", "step-000004", "step-000005"]
    assert (tmp_path / "last").resolve().name == "step-000005"


# ---- schedules and optimizers


def test_schedules_rise_to_the_peak_and_fall_as_they_say():
    for schedule in (Linear(10), Cosine(10, 0.1), Constant(10), InverseSqrt(10, rising=True)):
        rising = [schedule.factor(step, 100) for step in range(10)]
        assert rising == sorted(rising) and rising[0] > 0
        assert schedule.factor(10, 100) == pytest.approx(1, abs=0.05)
    assert Linear(10).factor(55, 100) == pytest.approx(0.5)
    assert Cosine(10, 0.1).factor(55, 100) == pytest.approx(0.55)
    assert Cosine(10, 0.1).factor(100, 100) == pytest.approx(0.1)
    assert Linear(0.1).warmup(100) == 10
    t5 = InverseSqrt(10_000)
    assert t5.factor(0, 2**19) == t5.factor(9_999, 2**19) == 1
    assert 1e-2 * t5.factor(39_999, 2**19) == pytest.approx(1 / math.sqrt(40_000))


def test_biases_and_norms_do_not_decay():
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    decayed, not_decayed = decay_groups(module.parameters(), 0.1)
    assert [p.ndim for p in decayed["params"]] == [2, 2] and decayed["weight_decay"] == 0.1
    assert [p.ndim for p in not_decayed["params"]] == [1, 1, 1] and not_decayed["weight_decay"] == 0


def test_adafactor_leaves_rows_without_a_gradient_alone():
    """A word that no batch has had yet: its second moment is 0, and 0 / 0 is no step."""
    table = nn.Parameter(torch.ones(4, 3))
    optimizer = Adafactor().create([table])
    for _ in range(3):
        optimizer.zero_grad()
        table[:2].sum().backward()
        optimizer.step()
    assert (table[:2] < 1).all() and torch.equal(table[2:].detach(), torch.ones(2, 3))
    with pytest.raises(ValueError, match="square"):
        Adafactor(eps=(1e-30, 1e-3))
