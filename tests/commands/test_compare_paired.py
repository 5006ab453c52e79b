"""`lmlab compare` tells a planted difference from noise, and says what cannot be tested."""

import json

import numpy as np
import pytest
from scipy import stats

from lmlab import cli
from lmlab.commands import compare as command
from lmlab.config.build import build
from lmlab.runs.record import RunFolder
from lmlab.runs.statistics import over_seeds

LABELS = ["negative", "positive"]
TASK = {
    "_target_": "lmlab.tasks.classification.Classification",
    "name": "sst2",
    "source": "glue-sst2",
    "fields": ["sentence"],
    "labels": LABELS,
    "metrics": ["accuracy", "f1"],
}


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def main(words):
    return cli.main(["compare", *words])


def compared(capsys, *words):
    assert main([*words, "format=json"]) == 0
    return json.loads(capsys.readouterr().out)["tables"]


def message(capsys, *words):
    assert main([*words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def predictions(right, noise, splits=(None,), ids="validation", count=300):
    """Lines as a run writes them: each answer is right with probability `right`; references depend on the id alone."""
    generator, lines = np.random.default_rng(noise), []
    for split in splits:
        for number in range(count):
            answer = number % 2 if generator.random() < right else 1 - number % 2
            line = {"id": f"{ids}-{number}", "inputs": {"sentence": "good"}, "prediction": LABELS[answer]}
            lines.append(line | {"references": [LABELS[number % 2]]} | ({"split": split} if split else {}))
    return lines


def make(path, lines, seed=0, tuning="full", task=TASK, metrics=None, config=None, **facts):
    """A finished run in outputs/finetune/2026-01-01; its accuracy is that of its predictions."""
    run = RunFolder(f"outputs/finetune/2026-01-01/{path}")
    config = {"task": task, "tuning": {"_target_": f"lmlab.tuning.{tuning}.Tuning"}, "seed": seed, **(config or {})}
    named = {"seed": seed, "model": "bert", "task": task["name"], "tuning": tuning}
    run.start(config, "finetune", ["lmlab", "finetune"], named)
    if lines is not None:
        (run.path / "predictions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    right = [line["prediction"] == line["references"][0] for line in lines or []]
    metrics = metrics or {"accuracy": sum(right) / len(right), "loss": 0.5}
    run.summary({"status": "finished", "metrics": metrics, **facts})
    return run


def several(name, right, seeds, **facts):
    """A folder of several seeds, as finetune leaves it."""
    for seed in seeds:
        make(f"{name}/seed-{seed}", predictions(right, noise=hash_of(name, seed)), seed, **facts)
    RunFolder(f"outputs/finetune/2026-01-01/{name}").summary({"command": "finetune", "status": "finished"})


def hash_of(name, seed):
    return sum(map(ord, name)) * 100 + seed


def test_a_planted_difference_is_found_and_told_in_words(capsys):
    several("10-00-00-bert-sst2", 0.9, range(3))
    several("11-00-00-bert-sst2", 0.6, range(3), tuning="frozen")
    (table,) = compared(capsys, "paired=true")
    best, worse = table["rows"]
    (test,) = table["tests"]
    assert (best["name"], best["best"], test["run"]) == ("10-00-00-bert-sst2", True, worse["name"])
    assert test["effect"] == pytest.approx(worse["metrics"]["accuracy"]["mean"] - best["metrics"]["accuracy"]["mean"])
    assert test["p"] < 0.05 and test["interval"][1] < 0
    assert (test["seeds"], test["paired"], test["examples"], test["resamples"]) == ([0, 1, 2], True, 300, 500)
    assert test["exact"] == {"test": "sign flips of seeds", "p": 0.25, "smallest_p": 0.25}
    assert test["verdict"].startswith("worse than 10-00-00-bert-sst2 by 0.")
    assert main(["paired=true"]) == 0
    shown = capsys.readouterr().out
    assert "against 10-00-00-bert-sst2" in shown and "worse" in shown and "examples drawn anew 500 times" in shown


def test_the_same_model_with_other_seeds_is_no_difference(capsys):
    several("10-00-00-bert-sst2", 0.8, range(3))
    several("11-00-00-bert-sst2", 0.8, range(3, 6))
    assert len(compared(capsys)[0]["rows"]) == 1  # the same experiment, six seeds
    (table,) = compared(capsys, "10-00-00-bert-sst2", "11-00-00-bert-sst2", "paired=true")
    assert [len(row["seeds"]) for row in table["rows"]] == [3, 3]
    (test,) = table["tests"]
    assert test["verdict"].startswith("no difference shown") and test["p"] > 0.05 and not test["paired"]
    (reversed,) = compared(capsys, "10-00-00-bert-sst2", "against=11-00-00-bert-sst2")
    assert reversed["tests"][0]["against"] == "11-00-00-bert-sst2"


def test_two_single_runs_are_tested_by_themselves_when_both_are_named(capsys):
    first = make("10-00-00-bert-sst2", predictions(0.9, 0))
    second = make("11-00-00-bert-sst2", predictions(0.7, 1), tuning="frozen")
    assert compared(capsys)[0]["tests"] == []
    (table,) = compared(capsys, str(first.path), str(second.path))
    assert table["tests"][0]["exact"]["test"] == "McNemar"
    assert "examples only" in table["tests"][0]["verdict"]
    assert any("other seeds cannot be told" in note for note in table["notes"])
    assert main([str(first.path), str(second.path)]) == 0
    assert "worse (examples only)" in capsys.readouterr().out
    assert compared(capsys, str(first.path), str(second.path), "paired=false")[0]["tests"] == []
    make("12-00-00-bert-sst2", None, tuning="lora", metrics={"accuracy": 0.5})
    assert main(["11-00-00-bert-sst2", "12-00-00-bert-sst2"]) == 0
    captured = capsys.readouterr()
    assert "12-00-00-bert-sst2: predictions.jsonl: missing" in " ".join(captured.out.split()) and not captured.err


def test_two_folders_that_are_not_tested_say_why(capsys):
    several("10-00-00-bert-sst2", 0.8, range(2))
    several("11-00-00-bert-sst2", 0.8, range(2, 4))
    make("12-00-00-bert-rte", predictions(0.9, 0), task=TASK | {"name": "rte"})
    for number, tuning in enumerate(("full", "lora", "frozen")):
        make(f"2{number}-00-00-bert-cola/0", predictions(0.9, 0), tuning=tuning, task=TASK | {"name": "cola"})
    (table,) = compared(capsys, "10-00-00-bert-sst2", "11-00-00-bert-sst2")
    assert "not tested: both folders hold the same experiment, one row; paired=true keeps them apart" in table["notes"]
    found = compared(capsys, "10-00-00-bert-sst2", "12-00-00-bert-rte")
    assert all("not tested: it takes two finished rows of one command and task" in table["notes"] for table in found)
    (table,) = [each for each in compared(capsys, "outputs", "20-00-00-bert-cola") if each["task"] == "cola"]
    assert "not tested: 3 rows; paired=true holds each against the best one" in table["notes"]


@pytest.mark.parametrize(("seeds", "one"), [((5, 2), False), ((3, 1), True)])
def test_every_seed_counts_and_the_difference_is_that_of_the_table(seeds, one, capsys):
    several("10-00-00-bert-sst2", 0.9, range(seeds[0]))
    several("11-00-00-bert-sst2", 0.6, range(seeds[1]), tuning="frozen")
    (table,) = compared(capsys, "paired=true")
    (test,), means = table["tests"], [row["metrics"]["accuracy"]["mean"] for row in table["rows"]]
    assert test["effect"] == pytest.approx(means[1] - means[0])
    assert (test["seeds_against"], test["seeds"]) == (list(range(seeds[0])), list(range(seeds[1])))
    assert any("not paired by seed" in note for note in table["notes"])
    assert any("taken to vary with the seed" in note for note in table["notes"]) == one
    assert not any("not those in the table" in note for note in table["notes"])


KINDS = {
    "classification.Classification": (TASK, 1, "positive", "negative"),
    "regression.Regression": ({"metrics": ["pearson"]}, None, None, 1.0),
    "tagging.Tagging": ({"metrics": ["f1"], "labels": ["O", "B-PER"]}, [0, 1], ["O", "B-PER"], ["O", "O"]),
    "span.SpanExtraction": (
        {"metrics": ["f1"], "fields": ["question", "context"]}, {"text": ["cat"], "answer_start": [0]}, "a cat", "dog"
    ),
    "choice.Choice": ({"metrics": ["accuracy"], "choices": ["choices"]}, 1, 1, 0),
    "generation.Generation": ({"metrics": ["bleu"]}, ["a b c d e"], "a b c d e", "a b d"),
}  # kind: settings, target, right answer, wrong answer  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_every_kind_of_task_are_tested(kind, capsys):
    """By predictions as the task itself writes them."""
    settings, target, *answers = KINDS[kind]
    node = {"name": "own", "source": "own", "fields": ["text"]} | settings | {"_target_": f"lmlab.tasks.{kind}"}
    task, metric = build(node), settings["metrics"][0]
    for number, share in enumerate((0.9, 0.2)):
        generator, lines = np.random.default_rng(number), []
        for place in range(60):
            row = {"id": f"v-{place}", "inputs": {"text": "say", "choices": ["no", "yes"]}, "target": target}
            right, wrong = answers
            if target is None:
                row["target"] = right = float(place % 7)
            lines.append(task.record(row, right if generator.random() < share else wrong))
        score = task.score_records(json.loads(json.dumps(lines)))[metric]
        make(f"1{number}-00-00-bert-own", lines, 0, "full" if number else "frozen", node, {metric: score})
    (table,) = compared(capsys, "10-00-00-bert-own", "11-00-00-bert-own", "resamples=100")
    (test,) = table["tests"]
    scores = [row["metrics"][metric]["mean"] for row in table["rows"]]
    assert test["effect"] == pytest.approx(scores[1] - scores[0]) and test["p"] < 0.05


def test_what_takes_long_is_told(monkeypatch, capsys):
    for number in range(2):
        make(f"1{number}-00-00-bert-sst2", predictions(0.9, number), tuning=("full", "frozen")[number])
    assert main(["paired=true"]) == 0 and capsys.readouterr().err == ""
    monkeypatch.setattr(command, "PATIENCE", 0.0)
    assert main(["paired=true"]) == 0 and "drawing examples anew 500 times" in capsys.readouterr().err


def test_every_metric_shown_is_tested_and_p_is_corrected_for_many_rows(capsys):
    for number, (tuning, right) in enumerate({"full": 0.9, "frozen": 0.8, "lora": 0.5}.items()):
        lines = predictions(right, number)
        make(f"1{number}-00-00-bert-sst2", lines, tuning=tuning, metrics={"accuracy": right, "f1": right})
    (table,) = compared(capsys, "metric=accuracy,f1", "paired=true", "resamples=20")
    assert [(test["metric"], test["run"][:2]) for test in table["tests"]] == [
        ("accuracy", "11"), ("accuracy", "12"), ("f1", "11"), ("f1", "12")
    ]  # fmt: skip
    chosen_among = 3  # pairs of three rows, of which the best was found by looking
    last = table["tests"][1]
    assert last["p"] == pytest.approx(chosen_among * last["p_uncorrected"])
    named = compared(capsys, "against=10-00-00-bert-sst2")[0]["tests"]
    assert named[1]["p"] == pytest.approx(2 * named[1]["p_uncorrected"])


def test_splits_are_tested_apart(capsys):
    splits = ["validation_matched", "validation_mismatched"]
    task = TASK | {"evaluation_splits": splits}
    for number, tuning in enumerate(("full", "frozen")):
        lines = predictions(0.9 - 0.2 * number, number, splits)
        metrics = {"accuracy_matched": 0.9 - 0.2 * number, "accuracy_mismatched": 0.9, "degenerate_mismatched": 1.0}
        make(f"1{number}-00-00-bert-mnli", lines, tuning=tuning, task=task, metrics=metrics)
    (table,) = compared(capsys, "paired=true", "metric=accuracy_matched,accuracy_mismatched")
    assert [test["examples"] for test in table["tests"]] == [300, 300]
    kept = [predictions(right, number, splits)[:300] for number, right in enumerate((0.9, 0.7))]
    right = [np.mean([line["prediction"] == line["references"][0] for line in lines]) for lines in kept]
    assert table["tests"][0]["effect"] == pytest.approx(right[1] - right[0])
    assert table["rows"][0]["degenerate"] == [0]


def test_other_tasks_that_a_run_was_scored_on_are_tested_too(capsys):
    for number, tuning in enumerate(("full", "frozen")):
        metrics, config = {"accuracy": 0.9, "rte.accuracy": 0.8 - 0.1 * number}, {"evaluate_on": ["rte"]}
        run = make(f"1{number}-00-00-bert-sst2", predictions(0.9, 5), tuning=tuning, metrics=metrics, config=config)
        labels = {"positive": "entailment", "negative": "not_entailment"}
        lines = predictions(0.9 - 0.3 * number, number, count=100)
        renamed = [
            line | {"prediction": labels[line["prediction"]], "references": [labels[line["references"][0]]]}
            for line in lines
        ]
        (run.path / "predictions-rte.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in renamed))
    (test,) = compared(capsys, "paired=true", "metric=rte.accuracy")[0]["tests"]
    assert (test["examples"], test["exact"]["test"]) == (100, "McNemar") and test["p"] < 0.05


def test_what_a_number_is_worth_is_said(capsys):
    search = {"key": "optimizer.lr", "metric": "accuracy", "on": "10% of the training rows, held out"}
    search |= {"tried": {"1e-05": 0.5, "0.0001": 0.6}, "chosen": 1e-4}
    baseline = {"accuracy": 0.509}
    for seed, degenerate in enumerate((1.0, 1.0, 0.0, 0.0, 0.0)):
        metrics = {"accuracy": 0.50 + seed / 1000} | ({"degenerate": degenerate} if degenerate else {})
        make(f"10-00-00-bert-sst2/seed-{seed}", None, seed, metrics=metrics, baseline=baseline, search=search)
    (row,) = compared(capsys)[0]["rows"]
    assert (row["degenerate"], row["baseline"], row["search"]["chosen"]) == ([1, 0], baseline, 1e-4)
    assert (row["metrics"]["accuracy"]["best"], row["metrics"]["accuracy"]["best_seed"]) == (0.504, 4)
    assert row["metrics"]["accuracy"]["median"] == pytest.approx(0.502)
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "2 of 5 seeds degenerate" in shown and "0.5040 (4)" in shown and "0.5090" in shown
    assert "not better than the baseline, an answer that is always the same: 10-00-00-bert-sst2" in shown
    assert "optimizer.lr=0.0001 chosen among 1e-05, 0.0001 by accuracy on 10% of the training rows" in shown


def test_a_suite_is_a_table_for_each_task_and_its_rows_say_which_run_they_are(capsys):
    for hour, tuning, right in ((10, "full", 0.9), (11, "frozen", 0.6)):
        for name in ("sst2", "rte"):
            task = TASK | {"name": name}
            several(f"{hour}-00-00-bert-glue/{name}", right, range(2), tuning=tuning, task=task)
        RunFolder(f"outputs/finetune/2026-01-01/{hour}-00-00-bert-glue").summary({"command": "finetune"})
    tables = compared(capsys)
    assert [table["task"] for table in tables] == ["rte", "sst2"]
    assert [row["name"] for row in tables[1]["rows"]] == ["10-00-00-bert-glue/sst2", "11-00-00-bert-glue/sst2"]
    tables = compared(capsys, "10-00-00-bert-glue", "11-00-00-bert-glue", "resamples=20")
    assert [len(table["tests"]) for table in tables] == [1, 1]
    tables = compared(capsys, "against=11-00-00-bert-glue", "resamples=20")
    assert all(table["tests"][0]["against"].startswith("11-00-00-bert-glue/") for table in tables)
    assert len(compared(capsys, "10-00-00-bert-glue/sst2")[0]["rows"][0]["seeds"]) == 2


def suite(name, right, seeds=range(3), tuning="full", tasks=("sst2", "rte", "wnli")):
    """The folder of a suite, as finetune leaves it."""
    columns = {}
    for number, task in enumerate(tasks):
        several(f"{name}/{task}", right - number / 20, seeds, tuning=tuning, task=TASK | {"name": task})
        folders = [RunFolder(f"outputs/finetune/2026-01-01/{name}/{task}/seed-{seed}") for seed in seeds]
        columns[task] = [folder.read_summary()["metrics"]["accuracy"] for folder in folders]
    columns |= {"average": np.mean(list(columns.values()), axis=0).tolist()}
    statistics = {key: over_seeds(dict(zip(seeds, column, strict=True))) for key, column in columns.items()}
    metrics = {key: found["mean"] for key, found in statistics.items()}
    facts = {"command": "finetune", "status": "finished", "task": "glue", "tuning": tuning}
    RunFolder(f"outputs/finetune/2026-01-01/{name}").summary(facts | {"metrics": metrics, "statistics": statistics})
    return statistics


def test_a_suite_has_a_table_of_its_own(capsys):
    first = suite("10-00-00-bert-glue", 0.9)
    second = suite("11-00-00-bert-glue", 0.7, tuning="frozen")
    *tasks, table = compared(capsys, "10-00-00-bert-glue", "11-00-00-bert-glue", "resamples=50")
    assert (table["task"], table["differing_keys"]) == ("glue", ["tuning"])
    for row, statistics in zip(table["rows"], (first, second), strict=True):
        for name, found in statistics.items():
            assert row["metrics"][name]["mean"] == pytest.approx(found["mean"])
            assert row["metrics"][name]["interval"] == pytest.approx(found["interval"])
    (test,) = table["tests"]
    values = [[each["average"]["values"][seed] for seed in range(3)] for each in (second, first)]
    assert (test["metric"], test["paired"], test["examples"]) == ("average", True, None)
    assert test["p"] == pytest.approx(stats.ttest_rel(*values).pvalue)
    found = sorted((test for each in tasks for test in each["tests"]), key=lambda test: test["p_uncorrected"])
    assert found[0]["p"] == pytest.approx(3 * found[0]["p_uncorrected"])  # three tasks
    assert any("corrected for 3 comparisons" in note for note in tasks[0]["notes"])
    assert main(["10-00-00-bert-glue", "11-00-00-bert-glue", "resamples=50"]) == 0
    shown = capsys.readouterr().out
    assert "finetune · glue, the whole suite · 6 seeds" in shown and "average" in shown and "unreadable" not in shown


def test_suites_that_cannot_be_tested_are_still_shown(capsys):
    suite("10-00-00-bert-glue", 0.9, seeds=[0])
    suite("11-00-00-bert-glue", 0.7, seeds=[0], tuning="frozen")
    *_, table = compared(capsys, "10-00-00-bert-glue", "11-00-00-bert-glue", "resamples=20")
    assert table["tests"][0]["verdict"].startswith("not tested: one run on each side")
    *_, table = compared(capsys)
    assert [row["name"] for row in table["rows"]] == ["10-00-00-bert-glue", "11-00-00-bert-glue"]


def test_what_cannot_be_tested_is_told(capsys):
    make("10-00-00-bert-sst2", predictions(0.9, 0))
    assert "takes two finished rows of one command and task" in message(capsys, "paired=true")
    make("11-00-00-bert-rte", predictions(0.9, 0), task=TASK | {"name": "rte"})
    told = message(capsys, "10-00-00-bert-sst2", "11-00-00-bert-rte", "paired=true")
    assert "finetune · rte · 1 run" in told and "finetune · sst2 · 1 run" in told
    make("12-00-00-bert-sst2", None, tuning="frozen", metrics={"accuracy": 0.5})
    assert "12-00-00-bert-sst2: predictions.jsonl: missing" in message(capsys, "paired=true")
    make("12-00-00-bert-sst2", predictions(0.5, 1, ids="test")[:100], tuning="frozen")
    assert "has 100, 10-00-00-bert-sst2 300, and 0 are the same" in message(capsys, "paired=true")
    make("12-00-00-bert-sst2", predictions(0.5, 1)[:200], tuning="frozen")
    assert "and 200 are the same" in message(capsys, "paired=true")
    changed = [line | {"references": ["positive"]} for line in predictions(0.5, 1)]
    make("12-00-00-bert-sst2", changed, tuning="frozen", metrics={"accuracy": 0.5})
    assert "other references" in message(capsys, "paired=true")
    torn = make("12-00-00-bert-sst2", None, tuning="frozen", metrics={"accuracy": 0.5})
    (torn.path / "predictions.jsonl").write_text('{"id": "validation-0"}')
    assert "a line without id, prediction or references" in message(capsys, "paired=true")
    assert "loss does not follow from predictions, only accuracy, f1" in message(capsys, "paired=true", "metric=loss")
    assert "did you mean" in message(capsys, "against=10-00-00-brt-sst2")
    assert "a number of at least 2" in message(capsys, "resamples=1")
    assert "true or false" in message(capsys, "paired=maybe")
    assert "there is no folder" in message(capsys, "html=nowhere/page.html")


def test_few_examples_show_nothing(capsys):
    make("10-00-00-bert-sst2", predictions(1.0, 0, count=9))
    make("11-00-00-bert-sst2", predictions(0.0, 0, count=9), tuning="frozen")
    (test,) = compared(capsys, "paired=true")[0]["tests"]
    assert test["verdict"].startswith("cannot be told: 9 examples are too few")


def test_the_page_has_the_tables(outputs, capsys):
    several("10-00-00-bert-sst2", 0.9, range(2))
    several("11-00-00-bert-sst2", 0.6, range(2), tuning="frozen")
    assert main(["paired=true", "html=page.html"]) == 0
    page = (outputs.parent / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "against 10-00-00-bert-sst2" in page and "frozen" in page
    assert "src=" not in page and "href=" not in page


@pytest.mark.parametrize("width", [40, 80, 200])
def test_tests_fit_the_terminal(width, monkeypatch, capsys):
    several("10-00-00-bert-sst2", 0.9, range(2))
    several("11-00-00-bert-sst2", 0.6, range(2), tuning="frozen")
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["paired=true"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width and "worse" in shown and "…" not in shown
