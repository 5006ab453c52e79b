"""The seams: a user's model, objective, corruption and task, used without touching lmlab."""

import json
import re
from pathlib import Path

import pytest
from conftest import OUTSIDE

CONF = ("--config-dir", str(OUTSIDE / "conf"))
SENTENCE = ("model=my_model", "objective=my_objective")
QUICK = ("trainer=debug", "trainer.max_steps=4", "trainer.device=cpu", "seq_len=32")


def summary_of(folder: Path, command: str) -> dict:
    (path,) = (folder / "outputs" / command).rglob("summary.json")
    return json.loads(path.read_text())


def test_own_parts_are_composed(run_lmlab):
    done = run_lmlab("pretrain", *CONF, *SENTENCE, "--cfg", "job")
    assert done.returncode == 0, done.stderr
    for part in ("MyModel", "MyObjective", "MyCorruption"):  # the corruption comes with the objective
        assert f"_target_: my_parts.{part}" in done.stdout
    done = run_lmlab("finetune", *CONF, "task=my_task", "--cfg", "job", "-p", "task")
    assert "_target_: my_parts.MyTask" in done.stdout


def test_own_parts_are_listed_with_their_line(run_lmlab):
    told = run_lmlab("pretrain", *CONF, "--help").stdout + run_lmlab("finetune", *CONF, "--help").stdout
    for part in ("model", "objective", "corruption", "task"):
        assert re.search(rf"my_{part} +my own {part}: ", told)


def test_own_parts_are_completed(run_lmlab):
    line = f"lmlab pretrain {' '.join(CONF)} model=my"
    assert run_lmlab("-sc", "query=bash", COMP_LINE=line).stdout.split() == ["model=my_model"]


@pytest.mark.slow
def test_own_parts_are_checked_and_proposed(run_lmlab, tmp_path):
    done = run_lmlab("pretrain", *CONF, "model=gpt", "objective=my_objective")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"Models that fit objective=my_objective: .*my_model", done.stderr)
    done = run_lmlab("pretrain", *CONF, *SENTENCE, "corruption.rate=often", "model.hidden=3")
    assert "model.hidden" in done.stderr and "model.hidden_size" in done.stderr
    done = run_lmlab("pretrain", *CONF, *SENTENCE, "corruption.rate=2")
    assert (done.returncode, done.stderr) == (1, "error: corruption: rate=2 must lie in (0, 1]\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_own_parts_are_trained(run_lmlab, tmp_path):
    done = run_lmlab("pretrain", *CONF, *SENTENCE, *QUICK, "trainer.eval_every=2")
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path, "pretrain")
    assert (summary["status"], summary["steps"]) == ("finished", 4)
    assert (summary["model"], summary["objective"], summary["corruption"]) == (
        "my_model",
        "my_objective",
        "my_corruption",
    )

    done = run_lmlab("finetune", *CONF, "task=my_task", *QUICK, "trainer.batch_tokens=null", "trainer.batch_size=8")
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path, "finetune")
    assert (summary["status"], summary["task"]) == ("finished", "my_task")
    assert 0 <= summary["metrics"]["accuracy"] <= 1
