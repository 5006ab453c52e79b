"""lmlab plan, end to end."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from lmlab.cli import main
from lmlab.config.options import option_files, search_folders
from lmlab.plan import machines, picture

MINE = """# A preset of my own
_target_: lmlab.models.gpt.Gpt
hidden_size: 32
num_layers: 2
num_heads: 2
_published_: {vocab_size: 100, parameters: 30.0e+3, tokens: 1.0e+9, seq_len: 128, batch_tokens: 1.0e+4, source: me}
"""


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """An empty folder, and a machine of a petaFLOP/s that is not measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machines, "_measure", lambda *_: 1e15)


@pytest.fixture
def planned(capsys):
    """`planned("model=bert", ...)` is the JSON of a plan."""

    def plan(*words: str) -> dict:
        code = main(["plan", *words, "format=json", "trainer.precision=fp32"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out)

    return plan


@pytest.fixture
def refused(capsys):
    """`refused("model=bert", ...)` is what is told of a mistake."""

    def plan(*words: str) -> str:
        assert main(["plan", *words]) == 1
        out, err = capsys.readouterr()
        assert not out and "Traceback" not in err
        return err

    return plan


def test_gpt3_as_published(planned):
    plan = planned("model=gpt3_175b")
    assert plan["parameters"]["total"] == plan["parameters"]["counted"] == 174_604_259_328
    assert (plan["objective"], plan["seq_len"], plan["vocab_size"]) == ("causal_lm", 2048, 50257)
    assert plan["batch"] == {"sequences": 1562, "tokens": 1562 * 2048, "micro_sequences": 4}
    (training,) = plan["training"]
    assert f"{training['rule_of_thumb']:.2e}" == "3.14e+23" and round(training["rule_of_thumb_pf_days"], -1) == 3640
    assert 1 < training["flops"] / training["rule_of_thumb"] < 1.03  # and the scores of attention
    here, *others = plan["machines"]
    assert here["devices"] == 1 and here["memory"]["weights"] == 4 * 174_604_259_328
    assert here["times"][0]["seconds"] == pytest.approx(training["flops"] / (0.4 * 1e15))
    assert {"V100", "A100", "H100"} <= {each["name"] for each in others}
    for each in others:
        assert each["devices"] == -(
            -each["memory"]["total"] // {"A100": 80e9, "H100": 80e9, "RTX 4090": 24e9}.get(each["name"], 32e9)
        )


def test_a_sentence_of_pretraining(planned, tmp_path):
    plan = planned(
        "model=bert", "objective=mlm_nsp", "optimizer=adafactor", "seq_len=128", "trainer.batch_tokens=65536",
        "trainer.max_steps=100", "utilisation=0.5", "+accelerators.Mine={flops: 1.0e+12, memory: 1.0e+9}",
        "accelerators.A100={flops: 2.0e+12, memory: 40.0e+9}",
    )  # fmt: skip
    assert plan["batch"] == {"sequences": 512, "tokens": 65_536, "micro_sequences": 64}
    assert plan["tokens"] == 6_553_600 and plan["parameters"]["published"] is None
    assert plan["flops"]["per_step"] == pytest.approx(65_536 * plan["flops"]["per_token"])
    here, *_, mine = plan["machines"]
    assert here["memory"]["optimizer"] < 0.1 * here["memory"]["weights"]  # factored
    assert next(each for each in plan["machines"] if each["name"] == "A100")["flops_per_second"] == 2e12
    assert mine["times"][0]["seconds"] == pytest.approx(1000 * here["times"][0]["seconds"])
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_and_a_published_preset_with_another_budget(planned):
    assert planned("experiment=nanogpt_cpu")["batch"]["sequences"] == 12
    plan = planned("model=gpt2_xl", "trainer.max_steps=10", "trainer=debug")
    assert (plan["seq_len"], plan["tokens"]) == (1024, 10 * 1024)
    plan = planned("model=gpt3_small", "trainer.max_tokens=1000000")
    assert [run["tokens"] for run in plan["training"]] == [1_000_000, 300_000_000_000]


def test_the_size_of_a_vocabulary_is_exact_or_a_limit(planned, capsys):
    byte, char = planned("model=bert", "tokenizer=byte"), planned("model=bert", "tokenizer=char")
    assert (byte["vocab_size"], byte["vocab_size_at_most"]) == (5 + 256 + 100, False)
    assert (char["vocab_size"], char["vocab_size_at_most"]) == (8192, True)
    assert main(["plan", "model=bert", "tokenizer=char"]) == 0
    told = capsys.readouterr().out
    assert "vocabulary of at most 8,192" in told and "vocab_size= says how many" in told


def test_phrases_are_hidden_at_their_rate(planned):
    phrase, word = (
        planned("model=ernie", "objective=mlm_nsp", f"corruption={each}") for each in ("phrase", "whole_word")
    )
    assert phrase["flops"] == word["flops"]


def test_a_budget_that_is_not_published_is_not_made_up(tmp_path, planned, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(MINE.replace("tokens: 1.0e+9, ", ""))
    words = ("model=mine", "--config-dir", str(tmp_path))
    plan = planned(*words)
    assert plan["tokens"] is None and plan["training"] == [] and plan["batch"]["tokens"] == 78 * 128
    assert main(["plan", *words]) == 0
    told = capsys.readouterr().out
    assert "Budget: not published; trainer.max_steps=" in told and "cost of training" not in told
    assert planned(*words, "trainer.max_steps=10")["tokens"] == 10 * 78 * 128


def test_the_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", "model=electra_small", "trainer.precision=fp32"]) == 0
    told = capsys.readouterr().out
    for line in ("head: rtd", "counted as published +13,549,057", "published +14.0M +-3.2 %", "A100 .* 1  "):
        assert re.search(line, told)
    assert "activations" in told and "Clark et al. 2020" in told
    assert all(len(line) <= 80 for line in told.splitlines()[2:-2])


@pytest.mark.slow
def test_all_presets(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(MINE)
    (tmp_path / "conf" / "model" / "broken.yaml").write_text(MINE.replace("num_heads: 2", "num_heads: 5"))
    words = ["plan", "--all", "format=json", "picture=race.png", "--config-dir", str(tmp_path / "conf")]
    assert main(words) == 0
    table = json.loads(capsys.readouterr().out)
    rows = {row["model"]: row for row in table["presets"]}
    assert rows.keys() == option_files("model", [*search_folders(), tmp_path / "conf"]).keys() - {"broken"}
    assert "num_heads=5" in table["left_out"]["broken"] and len(table["left_out"]) == 1
    mine = rows["mine"]
    assert mine["training_flops"] == pytest.approx(1e9 * mine["flops_per_token"])
    assert mine["difference"] == pytest.approx(mine["parameters"] / 30e3 - 1)
    assert rows["t5_11b"]["shape"] == "24+24 / 1024 / 128" and rows["t5_11b"]["layout"] == "encoder-decoder"
    assert [Path(path).read_bytes()[:4] for path in table["picture"]] == [b"\x89PNG", b"<?xm"]
    svg = (tmp_path / "race.svg").read_text()
    assert picture.draw(tmp_path / "race.png", {row["model"]: row["parameters"] for row in rows.values()})
    assert (tmp_path / "race.svg").read_text() == svg


def test_without_matplotlib_the_table_is_shown(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("lmlab.commands.plan.option_files", lambda *_: ["bert_large", "gpt1"])
    assert main(["plan", "all=true"]) == 0
    out, err = capsys.readouterr()
    assert "336,226,108" in out and "pip install matplotlib" in err
    assert not (tmp_path / "outputs").exists()


def test_a_picture_that_cannot_be_written_is_no_failure(monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("lmlab.commands.plan.option_files", lambda *_: ["gpt1"])
    (tmp_path / "file").touch()
    assert main(["plan", "--all", "picture=file/sizes.png"]) == 0
    out, err = capsys.readouterr()
    assert "gpt1" in out and re.fullmatch(r"No picture: file/sizes.png cannot be written: .*\n", err)


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal")
def test_it_ends_quietly_with_its_reader(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    words = [sys.executable, "-m", "lmlab", "plan", "model=bert_tiny", "trainer.precision=fp32"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, env=environment, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


@pytest.mark.slow
def test_mistakes(refused):
    assert "model=brt" in (told := refused("model=brt")) and "did you mean 'bert" in told
    told = refused("model=gpt2_xl", "objective=mlm")
    assert "layout is decoder, and the objective needs encoder" in told and "causal_lm" in told
    told = refused("model=bert_base", "trainer.batch_tokens=100")
    assert "trainer.batch_tokens=100 is less than one sequence of seq_len=512" in told
    for share in ("0", "1.5", "-1"):
        assert "utilisation must lie above 0 and at most at 1" in refused("model=bert", f"utilisation={share}")
    assert "vocab_size must be given" in refused("model=bert", "~tokenizer.vocab_size")
    for facts in ("{flops: 3}", "{flops: 3, memory: much}", "3"):
        assert "accelerators.X needs flops" in refused("model=bert", f"+accelerators.X={facts}")
    assert "model, seq_len: --all compares every preset" in refused("--all", "model=gpt2", "seq_len=64")
    assert "no flag '--al'" in refused("--al")


def test_nothing_slow_is_imported(tmp_path):
    """The compiler, which torch imports to fill or to update tensors without content, takes as long as torch itself."""
    code = (
        "import sys\nfrom lmlab.cli import main\n"
        "main(['plan', 'model=bert_tiny', 'format=json', 'trainer.precision=fp32'])\n"
        "slow = ('torch._dynamo', 'sympy', 'datasets', 'transformers', 'matplotlib', 'scipy', 'sklearn')\n"
        "sys.exit(' '.join(name for name in slow if name in sys.modules) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
