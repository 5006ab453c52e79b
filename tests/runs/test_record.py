"""The run folder survives what happens to runs: kills, resumption, NaN, two writers."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lmlab.errors import UserError
from lmlab.runs.record import SUMMARY_KEYS, RunFolder, config_hash

CONFIG = {
    "model": {"_target_": "lmlab.models.bert.Bert", "num_layers": 4},
    "trainer": {"max_steps": 100, "log_every": 10, "eval_every": 50, "save_every": 50, "device": "auto"},
    "seed": 0,
    "notes": "",
    "data_dir": None,
}
WRITER = """
import sys, time
from lmlab.runs.record import RunFolder
RunFolder(sys.argv[1]).start({"seed": 3}, "pretrain", ["lmlab", "pretrain", "seed=3"])
print("ready", flush=True)
time.sleep(60)
"""


def strict(text: str):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_summary_has_exactly_the_keys_of_the_contract(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start(CONFIG, "pretrain", ["lmlab", "pretrain", "notes=two words"], {"seed": 0, "device": "cpu"})
    assert run.status() == "running" and run.read_summary()["config_hash"] == config_hash(CONFIG)
    run.summary({"status": "finished", "metrics": {"loss": float("nan"), "perplexity": float("inf")}})
    written = strict((run.path / "summary.json").read_text())
    assert list(written) == list(SUMMARY_KEYS)
    assert written["metrics"] == {"loss": None, "perplexity": None}
    assert written["seed"] == 0 and written["task"] is None
    environment = run.environment()
    assert environment["device"] == "cpu" and environment["versions"]["torch"]
    assert environment["command_line"] == "lmlab pretrain 'notes=two words'"
    assert run.config() == CONFIG
    with pytest.raises(ValueError, match="no accuracy"):
        run.summary({"accuracy": 1.0})


def test_a_killed_run_is_seen_as_interrupted_and_only_one_process_writes(tmp_path):
    run = RunFolder(tmp_path / "run")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(run.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "ready\n"
        assert run.status() == "running"
        with pytest.raises(UserError, match="another process"):
            run.start({"seed": 3}, "pretrain", "lmlab pretrain")
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    assert run.read_summary()["status"] == "running" and run.status() == "interrupted"
    first = run.started()
    run.start({"seed": 3}, "pretrain", "lmlab pretrain resume=auto")
    assert run.status() == "running"
    assert len(run.environment()["resumed"]) == 1 and run.started() > first
    run.release()


def test_metrics_are_cut_at_the_checkpoint(tmp_path):
    run = RunFolder(tmp_path)
    for step in (10, 20, 30):
        run.log(step, step * 100, "train", loss=float("nan") if step == 20 else 1.5)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 40, "tok')  # the kill came here
    run.truncate_after(20)
    run.log(30, 3000, "train", loss=1.25)
    lines = [strict(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(10, 1.5), (20, None), (30, 1.25)]


def test_log_is_plain_text(tmp_path):
    run = RunFolder(tmp_path)
    run.write_log("\x1b[1;31m50 %\x1b[0m\r100 %\nstep 3 [MASK] 中文\x1b]8;;x\x1b\\")
    text = (tmp_path / "log.txt").read_bytes().decode()
    assert "\r" not in text and "\x1b" not in text
    assert [line[21:] for line in text.splitlines()] == ["50 %", "100 %", "step 3 [MASK] 中文"]


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("notes", "a try", True),
        ("data_dir", "/data", True),
        ("resume", "auto", True),
        ("trainer.log_every", 1, True),
        ("trainer.eval_every", 7, True),
        ("trainer.save_every", 7, True),
        ("trainer.device", "cpu", True),
        ("trainer.max_steps", 101, False),
        ("model.num_layers", 5, False),
        ("model._target_", "lmlab.models.gpt.GPT", False),
        ("seed", 1, False),
        ("corpus.name", "c4", False),
    ],
)
def test_config_hash_knows_what_defines_the_experiment(key, value, same):
    changed = json.loads(json.dumps(CONFIG))
    *groups, name = key.split(".")
    node = changed
    for group in groups:
        node = node.setdefault(group, {})
    node[name] = value
    assert (config_hash(changed) == config_hash(CONFIG)) is same
    assert config_hash(dict(reversed(changed.items()))) == config_hash(changed)
