"""lmlab pretrain, fill and generate, end to end on the embedded corpus, and what they refuse."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from lmlab.cli import main

TINY = (
    "tokenizer.vocab_size=1000", "seq_len=32", "model.hidden_size=32", "model.num_layers=2", "model.num_heads=2",
    "model.intermediate_size=64", "trainer.batch_tokens=256", "trainer.micro_batch_tokens=96", "trainer.log_every=5",
    "trainer.eval_tokens=1024", "trainer.device=cpu",
)  # fmt: skip
SENTENCES = {
    "bert": ("model=bert", "objective=mlm"),
    "gpt": ("model=gpt", "objective=causal_lm"),
    "t5": ("model=t5", "objective=span_corruption", "model.head_size=16"),
    "nsp": ("model=bert", "objective=mlm_nsp"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with one finished run of each sentence in `outputs/`."""
    folder = tmp_path_factory.mktemp("trained")
    for sentence in SENTENCES.values():
        done = lmlab(
            folder, "pretrain", *sentence, *TINY, "trainer.max_steps=30", "trainer.eval_every=15", "trainer.log_every=1"
        )
        assert done.returncode == 0, done.stderr
    return folder


def lmlab(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lmlab", *words], cwd=folder, env=environment(), capture_output=True, text=True
    )


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "150"}


def run_of(folder: Path, name: str) -> Path:
    (path,) = (p.parent for p in folder.glob("outputs/pretrain/*/*/summary.json") if p.parent.name.endswith(name))
    return path


@pytest.mark.parametrize(("sentence", "name"), [
    ("bert", "bert-mlm"), ("gpt", "gpt-causal_lm"), ("t5", "t5-span_corruption"), ("nsp", "bert-mlm_nsp"),
])  # fmt: skip
def test_a_run_learns_and_leaves_a_whole_folder(trained, sentence, name):
    run = run_of(trained, name)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["steps"], summary["seed"]) == ("finished", 30, 0)
    assert summary["model"] == sentence.replace("nsp", "bert") and summary["corpus"] == "pydocs"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "validation"]
    assert len(losses) == 3 and losses[-1] < losses[0] - 0.15
    assert summary["metrics"]["loss"] == losses[-1]
    for file in ("config.yaml", "environment.json", "tokenizer.json", "log.txt", ".hydra/overrides.yaml"):
        assert (run / file).is_file()
    assert "\r" not in (run / "log.txt").read_text()
    assert (run / "checkpoints" / "last").resolve().name == "step-000030"


def test_fill_takes_any_text_and_answers_in_json(trained):
    text = 'Return a {new} "list" = [MASK] ${x}, or 中文 [MASK].'
    done = lmlab(trained, "fill", text, "top_k=3", "format=json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["text"] == text and [len(blank) for blank in answer["blanks"]] == [3, 3]
    probabilities = [each["probability"] for each in answer["blanks"][0]]
    assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) <= 1


@pytest.mark.slow
def test_fill_and_generate_find_the_newest_run_that_can(trained):
    told = lmlab(trained, "fill", "Return a [MASK] object.")
    assert told.returncode == 0 and "bert-mlm_nsp" in told.stderr
    told = lmlab(trained, "generate", "The function", "max_new_tokens=5", "num_samples=2", "format=json")
    answer = json.loads(told.stdout)
    assert "gpt-causal_lm" in answer["run"] and len(answer["continuations"]) == 2
    again = lmlab(trained, "generate", "The function", "max_new_tokens=5", "num_samples=2", "format=json")
    assert again.stdout == told.stdout  # the same seed


def test_t5_fills_blanks_with_spans(trained):
    run = run_of(trained, "t5-span_corruption")
    done = lmlab(trained, "fill", "Return a [MASK] object of [MASK].", f"run={run}", "format=json")
    assert len(json.loads(done.stdout)["blanks"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("words", "message"), [
    (("fill", "nothing to fill"), "write [MASK] where one is"),
    (("fill", "a [MASK]", "run=gpt-causal_lm"), "fills no blanks; it was trained to continue text (lmlab generate)"),
    (("generate", "a", "run=t5-span_corruption"), "continues no text; it was trained to fill blanks (lmlab fill)"),
    (("fill", "[MASK] " * 600, "run=bert-mlm"), "shorten it"),
    (("fill", "a [MASK]", "run=outputs/no/such"), "There is no run"),
])  # fmt: skip
def test_questions_that_cannot_be_answered(trained, words, message):
    words = [
        str(run_of(trained, w[4:])).join(["run=", ""]) if w.startswith("run=") and "/" not in w else w for w in words
    ]
    done = lmlab(trained, *words)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_a_run_folder_without_a_checkpoint(trained, tmp_path):
    run = run_of(trained, "bert-mlm")
    for name in ("summary.json", "config.yaml", "tokenizer.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    done = lmlab(trained, "fill", "a [MASK]", f"run={tmp_path}")
    assert done.returncode == 1 and "has no checkpoint" in done.stderr and "Traceback" not in done.stderr


# ---- stopping and going on

RESUMABLE = (
    "model=bert",
    "objective=mlm_nsp",
    *TINY,
    "trainer.max_steps=60",
    "trainer.save_every=7",
    "trainer.eval_every=20",
)


def fingerprint(folder: Path) -> str:
    """SHA-256 of the last weights of the one finished run."""
    (run,) = {path.parents[2] for path in folder.glob("outputs/pretrain/*/*/checkpoints/step-000060/*")}
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    return hashlib.sha256((run / "checkpoints" / "last" / "model.safetensors").read_bytes()).hexdigest()


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "lmlab", *words], cwd=folder, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_step(process: subprocess.Popen, folder: Path, step: int) -> None:
    while process.poll() is None:
        for log in folder.glob("outputs/pretrain/*/*/log.txt"):
            steps = [
                int(line.split("step ")[1].split("/")[0]) for line in log.read_text().splitlines() if "/60 (" in line
            ]
            if steps and steps[-1] >= step:
                return
        time.sleep(0.01)


def killed_and_resumed(folder: Path, kills: int) -> str:
    """Kill a run at random moments, -9 each time; let the last one end. Returns the fingerprint of its weights."""
    chance = random.Random(0)
    for kill in range(kills):
        process = start(folder, "pretrain", *RESUMABLE, "resume=auto")
        wait_for_step(process, folder, 5 * round(8 * (kill + 1) / (kills + 1)))
        time.sleep(chance.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = lmlab(folder, "pretrain", *RESUMABLE, "resume=auto")
    assert done.returncode == 0, done.stderr
    assert "Resumed outputs/" in done.stderr
    return fingerprint(folder)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    assert lmlab(whole, "pretrain", *RESUMABLE).returncode == 0
    assert killed_and_resumed(cut, 10) == fingerprint(whole)
    steps = [
        json.loads(line)["step"] for line in next(cut.glob("outputs/*/*/*/metrics.jsonl")).read_text().splitlines()
    ]
    assert steps == sorted(steps)


@pytest.mark.slow
def test_ctrl_c_saves_and_a_second_run_offers_to_go_on(tmp_path):
    process = start(tmp_path, "pretrain", *RESUMABLE, "trainer.max_steps=100000", "trainer.save_every=null")
    while not list(tmp_path.glob("outputs/pretrain/*/*/metrics.jsonl")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130 and "resume=auto" in told and "Traceback" not in told
    (summary,) = tmp_path.glob("outputs/pretrain/*/*/summary.json")
    assert json.loads(summary.read_text())["status"] == "interrupted"
    (run,) = {summary.parent}
    same = (*RESUMABLE, "trainer.max_steps=100000", "trainer.save_every=null")
    again = start(tmp_path, "pretrain", *same)
    offered = [again.stderr.readline() for _ in range(2)]
    again.kill()
    again.communicate()
    assert str(run.relative_to(tmp_path)) in offered[0] and offered[1].rstrip().endswith("resume=auto")

    refused = lmlab(tmp_path, "pretrain", "model=bert_tiny", "tokenizer=char", "objective=mlm", f"resume={run}")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    for key in ("model.hidden_size: 32 in the run, 128 now", "tokenizer._target_: ", "objective._target_: "):
        assert key in refused.stderr
    before = json.loads(summary.read_text())["steps"]
    done = lmlab(tmp_path, "pretrain", f"resume={run}", f"trainer.max_steps={before + 3}")  # its own config, longer
    assert done.returncode == 0, done.stderr
    assert json.loads(summary.read_text())["steps"] == before + 3
    assert len(list(tmp_path.glob("outputs/pretrain/*/*/summary.json"))) <= 2  # the offered run, killed, may be there


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_text_and_tokenizer_only(tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("\n".join(f"The {word} of {n} is here." for n in range(200) for word in ("sum", "root", "half")))
    words = ("pretrain", "corpus=text", "corpus.path=book.txt", "tokenizer.vocab_size=200", *TINY[1:])
    run = "hydra.run.dir=outputs/first"
    assert lmlab(tmp_path, *words, run, "trainer.max_steps=4").returncode == 0
    longer = lmlab(tmp_path, *words, "resume=outputs/first", "trainer.max_steps=6")
    assert longer.returncode == 0, longer.stderr
    again = lmlab(tmp_path, "pretrain", "resume=outputs/first")  # nothing left to do: figures stay
    assert again.returncode == 0, again.stderr
    summary = json.loads((tmp_path / "outputs" / "first" / "summary.json").read_text())
    assert summary["steps"] == 6 and summary["metrics"]["loss"] > 0

    book.write_text(book.read_text().replace("half", "third"))
    refused = lmlab(tmp_path, *words, "resume=outputs/first", "trainer.max_steps=8")
    assert refused.returncode == 1 and "training data are no longer the same" in refused.stderr
    refused = lmlab(tmp_path, *words, "init=outputs/first", "trainer.max_steps=1")
    assert refused.returncode == 1 and "trained with another tokenizer" in refused.stderr
    own = ("tokenizer=pretrained", "tokenizer.path=outputs/first/tokenizer.json")
    taken = [word for word in words if not word.startswith("tokenizer")]
    assert lmlab(tmp_path, *taken, *own, "init=outputs/first", "trainer.max_steps=1").returncode == 0


# ---- what is refused, leaving nothing behind


@pytest.mark.parametrize(("words", "messages"), [
    (("model=bert", "objective=causal_lm"), ("fit model=bert: ", "mlm", "fit objective=causal_lm: ", "gpt")),
    (("model=gpt", "objective=mlm"), ("causal_lm", "bert")),
    (("objective=mlm", "corruption=none"), ("corruption", "token_mask")),
    (("model=gpt", "objective=causal_lm", "corruption=spans"), ("corruption",)),
    (("seq_len=600",), ("512 positions",)),
    (("corpus=english_books", "data_dir=null"), ("english-books", "LMLAB_DATA")),
    (("corpus=text", "corpus.path=empty.txt"), ("empty.txt",)),
    (("corpus=text", "corpus.path=latin1.txt"), ("latin1.txt", "UTF-8")),
    (("corpus=local", "corpus.path=broken.jsonl"), ("broken.jsonl", "line 2")),
    (("corpus=local", "corpus.path=other.jsonl"), ("other.jsonl", "line 1", "text")),
    (("init=nowhere",), ("nowhere",)),
    (("seq_len=3",), ("seq_len=3", "at least")),
    (("optimizer.lr=-1",), ("optimizer", "lr=-1")),
    (("model.activation=swish",), ("activation", "silu")),
    (("model=gpt", "objective=span_corruption", "seq_len=512"), ("625 tokens", "512 positions")),
    (("model=t5", "objective=span_corruption", "seq_len=2048"), ("sentinels", "num_sentinels")),
])  # fmt: skip
def test_mistakes_are_told_and_leave_nothing(tmp_path, monkeypatch, capsys, words, messages):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin1.txt").write_bytes("caf\xe9 ".encode("latin-1") * 50)
    (tmp_path / "broken.jsonl").write_text('{"text": "fine"}\n{"text": "torn\n')
    (tmp_path / "other.jsonl").write_text('{"body": "no such field"}\n')
    assert main(["pretrain", *words, *TINY[:1]]) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    for message in messages:
        assert message in told
    assert not (tmp_path / "outputs").exists()
