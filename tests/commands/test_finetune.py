"""lmlab finetune end to end at toy size, on the embedded task and on small files."""

import json
import shutil
import statistics

import pytest

from lmlab.cli import main
from lmlab.commands.series import statistics_of
from lmlab.config import conf_dir

TINY = [
    "model.hidden_size=16", "model.num_layers=1", "model.num_heads=2", "model.intermediate_size=32",
    "tokenizer.vocab_size=300", "tokenizer.num_sentinels=2", "trainer.precision=fp32",
]  # fmt: skip
CONF = conf_dir()
TEXT = "\n".join(f"the {color} {animal} runs over the green field and sees a river" for color in
                 ("red", "blue", "old", "small") for animal in ("dog", "cat", "horse", "bird"))  # fmt: skip


@pytest.fixture
def place(tmp_path):
    """A text to pre-train on, and a task: is the animal a bird?"""
    (tmp_path / "text.txt").write_text("\n\n".join([TEXT] * 30))
    lines = [line for line in TEXT.splitlines() for _ in range(4)]
    rows = [{"sentence": line, "label": int("bird" in line)} for line in lines]
    (tmp_path / "data" / "glue-sst2").mkdir(parents=True)
    for split in ("train", "validation"):
        content = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / "glue-sst2" / f"{split}.jsonl").write_text(content)
    return tmp_path


@pytest.fixture
def lmlab(place, monkeypatch, capsys):
    """`lmlab("finetune", ...)` in this process, in the folder `place`: (exit code, standard output, standard error)."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("LMLAB_DATA", raising=False)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["lmlab", *arguments])
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run


def words(place):
    """The task, and a new model with its tokenizer, as `init=random` takes them."""
    return [*task(place), "corpus=text", f"corpus.path={place}/text.txt", *TINY]


def task(place):
    return ["task=sst2", f"data_dir={place}/data", "trainer.precision=fp32"]


def only(pattern, place):
    (found,) = place.glob(pattern)
    return found


def test_from_pretraining_to_predictions(place, lmlab):
    corpus = ["corpus=text", f"corpus.path={place}/text.txt"]
    steps = ["seq_len=32", "trainer.max_steps=5", "trainer.batch_tokens=256", "trainer.eval_every=null"]
    code, _, told = lmlab("pretrain", "objective=mlm", *corpus, *steps, *TINY)
    assert code == 0, told
    code, _, told = lmlab(
        "finetune", *task(place), "trainer.max_steps=30", "optimizer.lr=1e-2", "trainer.eval_every=10"
    )
    assert code == 0, told
    run = only("outputs/finetune/*/*", place)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["task"], summary["objective"]) == ("finished", "sst2", "mlm")
    assert summary["init"].startswith("outputs/pretrain/")
    assert summary["best"]["metric"] == "accuracy"
    assert summary["metrics"]["accuracy"] == summary["best"]["value"]
    predictions = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(predictions) == 64
    assert set(predictions[0]) == {"id", "inputs", "prediction", "references"}
    right = [line["prediction"] in line["references"] for line in predictions]
    assert statistics.fmean(right) == summary["metrics"]["accuracy"]


def test_several_seeds_give_a_mean_and_a_deviation(place, lmlab):
    steps = ["init=random", "seeds=2", "seed=5", "tuning=frozen", "trainer.max_steps=3", "task.max_train_rows=20"]
    code, told, failed = lmlab("finetune", *words(place), *steps)
    assert code == 0, failed
    runs = [json.loads(path.read_text()) for path in sorted(place.glob("outputs/finetune/*/*/seed-*/summary.json"))]
    assert [run["seed"] for run in runs] == [5, 6]
    assert runs[0]["parameters"]["trainable"] < runs[0]["parameters"]["total"] / 5
    together = json.loads(only("outputs/finetune/*/*/summary.json", place).read_text())
    losses = [run["metrics"]["loss"] for run in runs]
    assert together["metrics"]["loss"] == pytest.approx(statistics.fmean(losses))
    found = together["statistics"]["loss"]
    assert (found["std"], found["median"]) == pytest.approx((statistics.stdev(losses), statistics.median(losses)))
    assert found["values"] == {"5": losses[0], "6": losses[1]}
    assert together["baseline"]["accuracy"] == 0.75  # three of four animals are no birds
    assert "sst2: 2 seeds" in told and "baseline" in told


def test_seeds_that_are_done_are_not_trained_again(place, lmlab):
    steps = [*words(place), "init=random", "tuning=frozen", "trainer.max_steps=3", "task.max_train_rows=20", "seed=5"]
    assert lmlab("finetune", *steps, "seeds=2")[0] == 0
    folder = only("outputs/finetune/*/*/summary.json", place).parent
    first = (folder / "seed-5" / "metrics.jsonl").read_text()
    code, _, told = lmlab("finetune", *steps, "seeds=3", "resume=auto")
    assert code == 0, told
    assert {path.parent for path in place.glob("outputs/finetune/*/*/seed-*")} == {folder}
    assert sorted(path.name for path in folder.glob("seed-*")) == ["seed-5", "seed-6", "seed-7"]
    assert (folder / "seed-5" / "metrics.jsonl").read_text() == first
    assert json.loads((folder / "summary.json").read_text())["statistics"]["loss"]["values"].keys() == {"5", "6", "7"}
    code, _, told = lmlab("finetune", *steps, "seeds=2", f"resume={folder / 'seed-5'}")
    assert code == 1 and "resume=auto" in told
    rows = place / "data" / "glue-sst2" / "train.jsonl"
    rows.write_text(rows.read_text().replace("river", "lake"))
    code, _, told = lmlab("finetune", *steps, "seeds=4", "resume=auto")
    assert code == 1 and "no longer the same" in told


def test_a_resumed_run_ends_with_the_same_weights(place, lmlab):
    settings = [*words(place), "init=random", "schedule=constant", "trainer.eval_every=null", "trainer.max_epochs=null"]
    assert lmlab("finetune", *settings, "trainer.max_steps=7", "notes=whole")[0] == 0
    whole = only("outputs/finetune/*/*", place).rename(place / "whole")
    assert lmlab("finetune", *settings, "trainer.max_steps=4")[0] == 0
    part = only("outputs/finetune/*/*", place)
    code, _, told = lmlab("finetune", *settings, f"resume={part}", "trainer.max_steps=7")
    assert code == 0, told
    weights = [(run / "checkpoints" / "step-000007" / "model.safetensors").read_bytes() for run in (whole, part)]
    assert weights[0] == weights[1]
    # Both score their best checkpoint, which the shorter run may have found before it stopped.
    assert json.loads((part / "summary.json").read_text())["steps"] == 7


def test_a_flag_that_a_run_does_not_carry_counts_as_0():
    statistics = statistics_of({0: {"accuracy": 0.5, "degenerate": 1.0}, 1: {"accuracy": 0.7}})
    assert statistics["accuracy"]["mean"] == pytest.approx(0.6)
    assert statistics["degenerate"]["mean"] == 0.5


def test_the_learning_rate_is_chosen_on_rows_that_are_neither_learnt_from_nor_reported(place, lmlab):
    steps = [
        "init=random",
        "trainer.max_steps=2",
        "task.max_train_rows=40",
        "seeds=2",
        "learning_rates=[1e-3,1e-9]",
    ]
    code, told, failed = lmlab("finetune", *words(place), *steps)
    assert code == 0, failed
    summary = json.loads(only("outputs/finetune/*/*/summary.json", place).read_text())
    search = summary["search"]
    assert search["tried"].keys() == {"0.001", "1e-09"} and "did not learn from" in search["on"]
    assert search["tried"][f"{search['chosen']:g}"] == max(search["tried"].values())
    seeds = [json.loads(path.read_text()) for path in place.glob("outputs/finetune/*/*/seed-*/summary.json")]
    assert [seed["search"] for seed in seeds] == [search, search]
    assert "chosen by accuracy" in told
    trials = list(place.glob("outputs/finetune/*/*/.search/*/predictions.jsonl"))
    asked = [{json.loads(line)["id"].split("-")[0] for line in path.read_text().splitlines()} for path in trials]
    assert asked == [{"train"}, {"train"}]
    assert not list(place.glob("outputs/finetune/*/*/.search/*/checkpoints"))


def test_rates_are_judged_by_rows_that_are_not_reported_where_there_is_no_validation_split(place, lmlab):
    rows = [f"the {word} bird number {n},{int(word == 'red')}" for n in range(60) for word in ("red", "blue")]
    (place / "birds.csv").write_text("\n".join(["text,label", *rows]))
    own = ["task=csv", f"task.train={place}/birds.csv", "task.fields=[text]", "trainer.precision=fp32"]
    steps = ["init=random", "trainer.max_steps=2", "learning_rates=[1e-3,1e30]"]
    code, told, failed = lmlab("finetune", *words(place)[3:], *own, *steps)
    assert code == 0, failed
    assert "1e+30: diverged" in failed and "1e+30: diverged" in told
    (trial,) = place.glob("outputs/finetune/*/*/.search/*/predictions.jsonl")
    (run,) = place.glob("outputs/finetune/*/*/seed-0/predictions.jsonl")
    judged, reported = ({json.loads(line)["inputs"]["text"] for line in path.open()} for path in (trial, run))
    assert judged and reported and not judged & reported


@pytest.mark.parametrize("rates", ["[]", "[1e-3]", "[1e-3,1e-3]", "[0,1e-3]", "[nan,1e-3]"])
def test_rates_that_cannot_be_compared(place, lmlab, rates):
    code, _, told = lmlab("finetune", *words(place), "init=random", f"learning_rates={rates}")
    assert code == 1 and "two or more different numbers above 0" in told


def test_a_model_is_scored_on_tasks_that_it_was_not_trained_for(place, lmlab):
    (place / "more" / "task").mkdir(parents=True)
    other = (CONF / "task" / "sst2.yaml").read_text().replace("glue-sst2", "other")
    (place / "more" / "task" / "sst2.other.yaml").write_text(other)
    rows = [{"sentence": "a green river", "label": 0}, {"sentence": "a red bird", "label": 1}]
    (place / "data" / "other").mkdir()
    for split in ("train", "validation"):
        (place / "data" / "other" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [*words(place), "--config-dir", str(place / "more"), "init=random", "trainer.max_steps=2"]
    code, told, failed = lmlab("finetune", *settings, "evaluate_on=[sst2.other]", "seeds=2")
    assert code == 0, failed
    assert "trained on sst2 alone" in told
    summary = json.loads(only("outputs/finetune/*/*/summary.json", place).read_text())
    assert {"accuracy", "sst2.other.accuracy"} <= summary["metrics"].keys()
    for file in place.glob("outputs/finetune/*/*/seed-*/predictions-sst2.other.jsonl"):
        assert [json.loads(line)["references"] for line in file.read_text().splitlines()] == [
            ["negative"],
            ["positive"],
        ]
    code, _, told = lmlab("finetune", *settings, "evaluate_on=[sst3.other]")
    assert code == 1 and "did you mean 'sst2.other'" in told
    code, _, told = lmlab("finetune", *settings, "evaluate_on=[pos]")
    assert code == 1 and "tagging" in told


def test_a_suite_is_averaged_over_its_tasks(place, lmlab):
    rows = [{"sentence": f"the {animal} sees", "label": int(animal == "bird")} for animal in ("dog", "bird")] * 8
    (place / "data" / "glue-cola").mkdir()
    for split in ("train", "validation"):
        (place / "data" / "glue-cola" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "more" / "suite").mkdir(parents=True)
    suite = "_target_: lmlab.tasks.suite.Suite\nname: two\ntasks: {cola: [matthews], sst2: [accuracy]}\napart: [cola]\n"
    (place / "more" / "suite" / "two.yaml").write_text(f"# two tasks\n{suite}")
    settings = [word for word in words(place) if not word.startswith("task=")]
    settings += ["--config-dir", str(place / "more"), "suite=two", "init=random", "trainer.max_steps=3"]
    code, told, failed = lmlab("finetune", *settings, "seeds=2")
    assert code == 0, failed
    summary = json.loads(only("outputs/finetune/*/*/summary.json", place).read_text())
    metrics, by_seed = summary["metrics"], summary["statistics"]["average"]["values"]
    assert metrics["average"] == pytest.approx((metrics["cola"] + metrics["sst2"]) / 2)
    assert metrics["average_without_cola"] == pytest.approx(metrics["sst2"])
    assert (summary["task"], by_seed.keys()) == ("two", {"0", "1"})
    assert len(list(place.glob("outputs/finetune/*/*/*/seed-*/summary.json"))) == 4
    assert "two: 2 seeds" in told and "without cola" in told
    shutil.rmtree(only("outputs/finetune/*/*/sst2/seed-1", place))
    before = only("outputs/finetune/*/*/cola/seed-0/metrics.jsonl", place).stat().st_mtime_ns
    code, told, failed = lmlab("finetune", *settings, "seeds=2", "resume=auto")
    assert code == 0, failed
    assert only("outputs/finetune/*/*/cola/seed-0/metrics.jsonl", place).stat().st_mtime_ns == before
    assert json.loads(only("outputs/finetune/*/*/summary.json", place).read_text())["metrics"] == metrics
    code, told, failed = lmlab("finetune", *settings, "~suite.tasks.cola", "suite.apart=[]")
    assert code == 0 and "cola" not in told, failed
    for mistake, message in (
        ("task=sst2", "suite and task"),
        ("suite.tasks.cola=[f2]", "f2"),
        ("resume=x", "resume=auto"),
    ):
        code, _, told = lmlab("finetune", *settings, mistake)
        assert code == 1 and message in told, told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["init=latest"], "lmlab pretrain"),
        (["init=hf:bert-base-uncased"], "hub's cache"),
        (["init=random", "seq_len=600"], "512"),
        (["init=random", "task=squad", "seq_len=128"], "squad"),
        (["init=random", "task.metrics=[acuracy]"], "did you mean 'accuracy'"),
        (["init=random", "task.labels=[negative]"], "two or more"),
        (["init=random", "trainer.best_metric=f2"], "f2"),
    ],
)
def test_mistakes_are_told_in_one_message_and_leave_nothing(place, lmlab, arguments, message):
    code, _, told = lmlab("finetune", *words(place), *arguments)
    assert code == 1
    assert message in told
    assert not list(place.glob("outputs/finetune/*/*/predictions.jsonl"))
