"""What a machine can do, and what follows from it for a training run."""

import json
from collections import Counter

import pytest
import torch

from lmlab.plan import machines
from lmlab.plan.estimate import PF_DAY, Budget, Network, Step, enough_of
from lmlab.plan.flops import Flops
from lmlab.plan.machines import Accelerator, measured_rate
from lmlab.plan.memory import Memory
from lmlab.plan.published import Published

CPU = torch.device("cpu")


def step(flops: int = 6400) -> Step:
    return Step(seq_len=8, sequences=10, micro_sequences=2, flops=Flops(Counter({"all": flops}), scores=0))


def test_a_rate_is_measured_once_for_every_kind_of_number(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(machines, "_measure", lambda device, dtype: measured.append(dtype) or 1e9 * len(measured))
    assert measured_rate(CPU, torch.float32, tmp_path) == measured_rate(CPU, torch.float32, tmp_path) == 1e9
    assert measured_rate(CPU, torch.bfloat16, tmp_path) == 2e9
    assert measured_rate(CPU, torch.float32, tmp_path, anew=True) == 3e9
    assert measured_rate(CPU, torch.float32, tmp_path) == 3e9
    notes = [json.loads(path.read_text()) for path in (tmp_path / "rates").iterdir()]
    assert {note["dtype"] for note in notes} == {"torch.float32", "torch.bfloat16"} and notes[0]["threads"] >= 1


def test_a_rate_that_cannot_be_remembered_is_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "_measure", lambda *_: 1e9)
    (tmp_path / "file").touch()
    assert measured_rate(CPU, torch.float32, tmp_path / "file") == 1e9


def test_a_rate_is_that_of_products(monkeypatch):
    monkeypatch.setattr(machines, "SECONDS", 0.05)
    monkeypatch.setattr(machines, "CPU_SIZE", 64)
    assert 1e6 < machines._measure(CPU, torch.float32) < 1e15


def test_the_cost_of_gpt3():
    """Brown et al. 2020, table D.1: 3.14e23 FLOP, 3,640 PF-days."""
    gpt3 = Network("decoder", 50_257, Counter(), 174_604_259_328, Published())
    assert f"{gpt3.rule_of_thumb(300e9):.2e}" == "3.14e+23"
    assert round(gpt3.rule_of_thumb(300e9) / PF_DAY, -1) == 3_640


def test_the_cost_of_t5():
    """Brown et al. 2020, table D.1: a token passes one half of T5-11B, 3.30e22 FLOP for 11 billion parameters."""
    t5 = Network("encoder-decoder", 32_128, Counter(), 11_000_000_000, Published())
    assert f"{t5.rule_of_thumb(1000e9):.2e}" == "3.30e+22"


def test_shared_parameters_cost_as_often_as_they_are_used():
    albert = Network("encoder", 30_000, Counter(), 12_000_000, Published(), repeated=11 * 7_000_000)
    assert albert.rule_of_thumb(1) == 6 * 89_000_000


def test_the_budget_that_is_spent_first_ends_the_run():
    assert step().tokens == 80 and step().flops_per_token == 400 and step().flops_per_step == 32_000
    assert Budget(max_steps=3).tokens(step(), 1.0) == 240
    assert Budget(max_steps=3, max_tokens=200).tokens(step(), 1.0) == 200
    assert Budget(max_steps=3, max_minutes=2.0).tokens(step(), flops_per_second=400) == 120
    assert Budget().tokens(step(), 1.0) is None


@pytest.mark.parametrize("needed, devices", [(79, 1), (80, 1), (81, 2), (800, 10)])
def test_as_many_devices_as_hold_the_memory(needed, devices):
    memory = Memory(weights=needed - 6, gradients=1, optimizer=2, activations=3)
    assert enough_of("x", Accelerator(flops=1.0, memory=80.0), memory).devices == devices
