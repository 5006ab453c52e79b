"""`lmlab compare x=KEY plot=FILE`: the right numbers, and a picture or one message."""

import pytest
from test_compare import main, make, outputs  # noqa: F401

from lmlab.runs.compare import load, panels, tables
from lmlab.runs.record import RunFolder

RATES = [1e-4, 1e-3, 1e-2]


def sweep(models=("bert", "gpt"), seeds=(0, 1, 2)):
    for number, model in enumerate(models):
        for rate in RATES:
            for seed in seeds:
                name = f"1{number}-0{seed}-{RATES.index(rate)}0-{model}-mlm"
                make(name, loss=3.0 + number + 100 * rate + 0.1 * seed, seed=seed, model=model, lr=rate)


def test_a_curve_for_each_other_difference_with_the_interval_over_seeds():
    sweep()
    (panel,) = panels(tables(load()[0]), "optimizer.lr")
    assert (panel.title, panel.metric, panel.left_out) == ("pretrain", "loss", [])
    assert [curve.label for curve in panel.curves] == ["model=bert", "model=gpt"]  # the schedule's peak goes along
    for number, curve in enumerate(panel.curves):
        assert [point.x for point in curve.points] == RATES
        assert [point.mean for point in curve.points] == pytest.approx([3.1 + number + 100 * rate for rate in RATES])
        half = 4.302653 * 0.1 / 3**0.5  # Student's t with two degrees of freedom
        assert [point.half for point in curve.points] == pytest.approx([half] * 3)


def test_runs_that_have_no_number_there_or_did_not_finish_are_left_out():
    sweep(models=["bert"], seeds=[0])
    make("12-00-00-bert-mlm", lr="auto")
    make("12-00-01-bert-mlm", lr=1.0, status="killed")
    (panel,) = panels(tables(load()[0]), "optimizer.lr")
    assert panel.left_out == ["12-00-00-bert-mlm"]
    (curve,) = panel.curves
    assert [point[::2] for point in curve.points] == [(rate, 0.0) for rate in RATES] and curve.label == ""


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_picture_is_written_beside_the_table(ending, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    sweep()
    assert main(["x=optimizer.lr", f"plot=curve.{ending}"]) == 0
    assert "18 runs" in capsys.readouterr().out
    beginning = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert (tmp_path / f"curve.{ending}").read_bytes().startswith(beginning)


MISTAKES = {
    "unknown": (["x=optimiser.lr", "plot=c.png"], "no run has this key, did you mean 'optimizer.lr'?"),
    "no number": (
        ["x=model", "plot=c.png"],
        "there is bert, gpt; numbers that differ between the runs of a table: ",
    ),
    "one number": (["x=trainer.max_steps", "plot=c.png"], "takes two different numbers"),
    "format": (["x=optimizer.lr", "plot=c.txt"], "plot=c.txt: the file must end in one of .png, .svg, .pdf"),
    "folder": (["x=optimizer.lr", "plot=no/c.png"], "there is no folder no"),
    "alone": (["x=optimizer.lr"], "plot=FILE and x=KEY go together"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_leave_no_picture(mistake, capsys, tmp_path):
    words, message = MISTAKES[mistake]
    sweep(seeds=[0])
    assert main(words) == 1
    told = capsys.readouterr().err
    assert message in told.replace("gpt, bert", "bert, gpt") and len(told.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_models_of_several_seeds_that_were_evaluated_are_one_row():
    sources = [make(f"10-00-0{seed}-bert-mlm", seed=seed) for seed in range(3)]
    sources.append(make("10-00-09-bert-mlm", seed=0, lr=1.0))
    for number, source in enumerate(sources):
        run = RunFolder(f"outputs/evaluate/2026-01-01/11-00-0{number}-bert-sst2")
        seed = source.read_summary()["seed"]
        config = {"run": str(source.path), "task": {"_target_": "lmlab.tasks.Task"}}
        run.start(config, "evaluate", ["lmlab"], {"seed": seed, "task": "sst2", "init": str(source.path)})
        run.summary({"status": "finished", "metrics": {"accuracy": 0.1 * number}})
    (table,) = tables(load(["outputs/evaluate"])[0])
    assert [row.seeds for row in table.rows] == [[0], [0, 1, 2]]
    assert table.rows[1].mean("accuracy") == pytest.approx(0.1)
