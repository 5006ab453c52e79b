"""`lmlab compare` on run folders as the commands leave them."""

import json
import statistics

import pytest
from rich.console import Console

from lmlab import cli
from lmlab.runs.compare import load, render, tables
from lmlab.runs.record import RunFolder

LAYERS = {"bert": 4, "gpt": 6}


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def main(words):
    return cli.main(["compare", *words])


def make(name, loss=3.0, seed=0, model="bert", lr=1e-3, said=(), status="finished", metrics=None, **facts):
    config = {
        "model": {"_target_": f"lmlab.models.{model}.Model", "num_layers": LAYERS[model], "hidden_size": 256},
        "optimizer": {"_target_": "lmlab.engine.optimizers.AdamW", "lr": lr},
        "schedule": {"_target_": "lmlab.engine.schedules.Linear", "peak": lr},
        "trainer": {"max_steps": 100, "log_every": 10 + seed},
        "seed": seed,
        "notes": name,
    }
    command = "finetune" if facts.get("task") else "pretrain"
    run = RunFolder(f"outputs/{command}/2026-01-01/{name}")
    run.start(config, command, ["lmlab", command, *said], {"seed": seed, "model": model, **facts})
    run.log(50, 5000, "validation", loss=loss + 1)
    if status == "killed":
        run.release()
    else:
        metrics = {"loss": loss} if metrics is None else metrics
        run.summary({"status": status, "metrics": metrics, "tokens_per_second": 1000.0, "wall_seconds": 60.0})
    return run


def compared(capsys, *words):
    assert main([*words, "format=json"]) == 0
    return json.loads(capsys.readouterr().out)  # nothing but JSON on standard output


def test_runs_that_differ_only_in_seed_are_one_row(capsys):
    losses = [3.0, 3.2, 3.1]
    for seed, loss in enumerate(losses):
        make(f"10-00-0{seed}-bert-mlm", loss, seed)
    make("10-00-03-bert-mlm", loss=3.0, seed=0)  # the same seed again is no further evidence
    make("11-00-00-bert-mlm", loss=2.5, lr=3e-4, said=["optimizer.lr=3e-4"])
    (table,) = compared(capsys)["tables"]
    assert table["differing_keys"] == ["optimizer.lr"]  # not the schedule's peak, which follows from it
    best, several = table["rows"]
    assert best["settings"] == {"optimizer.lr": "0.0003"} and best["metrics"]["loss"]["std"] is None
    assert several["metrics"]["loss"]["mean"] == pytest.approx(statistics.fmean(losses))
    assert several["metrics"]["loss"]["std"] == pytest.approx(statistics.stdev(losses))
    assert (several["metrics"]["loss"]["best"], several["metrics"]["loss"]["best_seed"]) == (3.0, 0)
    assert sorted(several["seeds"]) == [0, 1, 2]
    assert main([]) == 0
    half = 4.302653 * 0.1 / 3**0.5  # Student's t with two degrees of freedom
    assert f"3.100 ± {half:.3f}" in capsys.readouterr().out


def test_an_option_tells_its_own_keys_unless_they_were_set(capsys):
    make("10-00-00-bert-mlm", model="bert")
    make("10-00-01-gpt-causal_lm", model="gpt")
    assert compared(capsys)["tables"][0]["differing_keys"] == ["model"]
    make("10-00-02-gpt-causal_lm", model="gpt", said=["model.num_layers=6"])
    assert compared(capsys)["tables"][0]["differing_keys"] == ["model", "model.num_layers"]


def test_the_same_config_on_other_data_is_not_the_same_experiment(capsys):
    make("10-00-00-bert-mlm", seed=0, data_hash="a" * 16)
    make("10-00-01-bert-mlm", seed=1, data_hash="b" * 16)
    (table,) = compared(capsys)["tables"]
    assert table["differing_keys"] == ["data_hash"] and len(table["rows"]) == 2


def test_order_follows_the_metric_and_unfinished_runs_come_last(capsys):
    make("10-00-00-bert-sst2", task="sst2", tuning="full", metrics={"loss": 0.2, "accuracy": 0.9, "f1": 0.1})
    make("10-00-01-bert-sst2", task="sst2", tuning="frozen", metrics={"loss": 0.1, "accuracy": 0.8, "f1": 0.2})
    make("10-00-02-bert-sst2", task="sst2", tuning="lora", metrics={"loss": 0.3, "accuracy": None, "f1": 0.3})
    make("10-00-03-bert-sst2", task="sst2", tuning="bitfit", status="killed", loss=0.0)
    make("10-00-04-bert-mlm")

    def order(*words):
        table = next(table for table in compared(capsys, *words)["tables"] if table["task"] == "sst2")
        return [row["settings"]["tuning"] for row in table["rows"]]

    assert order() == ["full", "frozen", "lora", "bitfit"]  # by accuracy; not a number comes last
    assert order("metric=loss") == ["frozen", "full", "lora", "bitfit"]
    assert order("--metric", "f1") == ["lora", "frozen", "full", "bitfit"]
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "pretrain · 1 run" in shown and "interrupted" in shown and "nan" in shown


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    for seed in range(3):
        make(f"10-00-0{seed}-bert-mlm", seed=seed, objective="mlm", corpus="pydocs")
    make("11-00-00-gpt-causal_lm", model="gpt", objective="causal_lm", corpus="wikitext103", status="killed")
    (table,) = tables(load()[0])
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(table, console))
    lines = console.export_text().splitlines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text and "10-00-02" in text and "causal_lm" in text and "4.000" in text


def test_what_cannot_be_read_is_named_and_left_out(capsys, outputs):
    make("10-00-00-bert-mlm")
    broken = make("10-00-01-bert-mlm")
    (broken.path / "summary.json").write_text('{"status": "fin')
    assert main([]) == 0
    captured = capsys.readouterr()
    assert "10-00-01-bert-mlm" in captured.err and "10-00-00-bert-mlm" in captured.out
    assert list(compared(capsys)["unreadable"]) == [str(broken.path)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "lmlab pretrain"),
        (["metrc=loss"], "did you mean 'metric'?"),
        (["format=xml"], "invalid choice"),
        (["--wide"], "--wide"),
        (["no-such-folder"], "no-such-folder"),
    ],
)
def test_mistakes_are_told_in_one_message(words, expected, capsys):
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and expected in captured.err and len(captured.err.strip().splitlines()) == 1


def test_an_unknown_metric_names_those_there_are(capsys):
    make("10-00-00-bert-sst2", task="sst2", metrics={"accuracy": 0.5})
    assert main(["metric=acuracy"]) == 1
    assert "did you mean 'accuracy'?" in capsys.readouterr().err


def test_a_run_may_be_named_as_the_table_names_it(capsys):
    make("10-00-00-bert-mlm")
    make("10-00-01-bert-mlm", seed=1)
    (table,) = compared(capsys, "10-00-01-bert-mlm")["tables"]
    assert [row["seeds"] for row in table["rows"]] == [[1]]


def test_a_model_that_answers_untrained_stands_beside_those_that_were_trained(capsys):
    accuracy = {"metrics": {"accuracy": 0.8}, "task": "nli"}
    trained = make("10-00-00-bert-nli", tuning="full", formulation="head", **accuracy)
    for number, words in enumerate(({"formulation": "in_context"}, {"formulation": "head", "tuning": "full"})):
        run = RunFolder(f"outputs/evaluate/2026-01-01/11-00-0{number}-nli")
        run.start(trained.config(), "evaluate", ["lmlab"], {"seed": 0, "task": "nli", **words})
        run.summary({"status": "finished", "metrics": {"accuracy": 0.5}})
    again, both = compared(capsys)["tables"]
    assert (again["command"], len(again["rows"])) == ("evaluate", 1)
    assert (both["command"], len(both["rows"])) == ("finetune, evaluate", 2)
