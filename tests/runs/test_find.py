"""Runs are found by what a user says, and a wrong word is answered with what would be right."""

import json
import shutil

import pytest

from lmlab.errors import UserError
from lmlab.runs.find import gatherings, interrupted, latest, resolve, runs
from lmlab.runs.record import RunFolder


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(path, status, checkpoint) -> a run under outputs/, each newer than the one before."""
    monkeypatch.chdir(tmp_path)
    count = iter(range(100))

    def make(path, status="finished", checkpoint=True, command="pretrain", **facts):
        run = RunFolder(f"outputs/{path}")
        run.start({"seed": facts.get("seed", 0)}, command, "lmlab", {"model": "bert", **facts})
        environment = run.environment() | {"started": f"2026-01-01T00:{next(count):02}:00+00:00"}
        (run.path / "environment.json").write_text(json.dumps(environment))
        if checkpoint:
            folder = run.checkpoints / "step-000010"
            folder.mkdir(parents=True)
            (folder / "model.safetensors").touch()
            (folder / "state.pt").touch()
        if status == "killed":
            run.release()
        else:
            run.summary({"status": status})
        return run

    return make


def test_latest_looks_through_sweeps_and_seeds_and_past_what_does_not_fit(make):
    gpt = make("pretrain/2026-01-01/10-00-00-gpt-causal_lm", model="gpt")
    job = make("pretrain/sweeps/2026-01-01/11-00-00/3")
    make("pretrain/2026-01-01/12-00-00-bert-mlm", status="failed", checkpoint=False)
    make("finetune/2026-01-01/13-00-00-bert-sst2", command="finetune", checkpoint=False)
    seed = make("finetune/2026-01-01/13-00-00-bert-sst2/seed-1", command="finetune")
    broken = make("pretrain/2026-01-01/14-00-00-bert-mlm")
    (broken.path / "summary.json").write_text("{")
    assert len(runs()) == 5  # the folder of the seeds is none
    assert resolve("latest") == seed
    assert resolve("latest", lambda run: run.read_summary()["command"] == "pretrain") == job
    assert latest(lambda run: run.read_summary()["model"] == "gpt") == gpt
    assert resolve("outputs/finetune/2026-01-01/13-00-00-bert-sst2") == seed
    assert resolve("outputs/pretrain") == job
    assert resolve("11-00-00/3") == job
    assert resolve("10-00-00") == gpt
    assert resolve("13-00-00-bert-sst2") == seed
    assert resolve(gpt.path.absolute()) == gpt


def test_a_folder_that_tells_of_runs_elsewhere_is_no_run(make, tmp_path):
    run = make("finetune/2026-01-01/10-00-00-bert-sst2/seed-0")
    together = RunFolder("outputs/finetune/2026-01-01/11-00-00-bert-sst2")
    together.path.mkdir()
    together.summary({"status": "finished", "statistics": {"accuracy": {"mean": 0.5}}})
    torn = RunFolder("outputs/finetune/2026-01-01/12-00-00-bert-sst2")
    torn.path.mkdir()
    torn.summary({"status": "running"})
    assert set(runs()) == {run, torn} and gatherings() == [together]
    with pytest.raises(UserError, match="tells of several runs"):
        resolve(together.path)


def test_wrong_references_are_told_what_would_be_right(make, tmp_path):
    def message(*args, **keywords):
        with pytest.raises(UserError) as raised:
            resolve(*args, **keywords)
        return str(raised.value)

    assert "lmlab finetune" in message("latest", make="lmlab finetune")
    run = make("pretrain/2026-01-01/10-00-00-bert-mlm")
    bare = make("pretrain/2026-01-01/11-00-00-bert-mlm", status="failed", checkpoint=False)
    assert "The one run" not in message("latest", lambda run: False, "a finetuning run")
    assert "did you mean" in message("10-00-00-brt-mlm")
    assert "no checkpoint (failed)" in message(bare.path)
    assert resolve(bare.path, checkpoint=False) == bare
    assert "is not a finetuning run" in message(run.path, lambda run: False, "a finetuning run")
    assert f"give {run.path.absolute()}" in message(run.checkpoints)
    (tmp_path / "empty").mkdir()
    assert "not a run" in message("empty")
    (tmp_path / "file.txt").touch()
    assert "is a file" in message("file.txt")
    shutil.copytree(run.path, "outputs/pretrain/2026-01-02/10-00-00-bert-mlm")
    assert "may be any of" in message("10-00-00-bert-mlm")


def test_interrupted_is_the_newest_unfinished_run_of_the_same_experiment(make):
    first = make("pretrain/2026-01-01/10-00-00-bert-mlm", status="killed")
    hash = first.read_summary()["config_hash"]
    second = make("pretrain/2026-01-01/11-00-00-bert-mlm", status="interrupted")
    make("pretrain/2026-01-01/12-00-00-bert-mlm", status="interrupted", seed=1)
    make("pretrain/2026-01-01/13-00-00-bert-mlm", status="killed", checkpoint=False)
    assert interrupted(hash) == second
    second.start({"seed": 0}, "pretrain", "lmlab")  # now it is being written
    assert interrupted(hash) == first
    second.summary({"status": "finished"})
    assert interrupted(hash) is None
    assert interrupted("another") is None
