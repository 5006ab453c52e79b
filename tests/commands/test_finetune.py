"""lmlab finetune end to end at toy size, on the embedded task and on small files."""

import json
import statistics

import pytest

from lmlab.cli import main
from lmlab.commands.finetune import mean_and_deviation

TINY = [
    "model.hidden_size=16", "model.num_layers=1", "model.num_heads=2", "model.intermediate_size=32",
    "tokenizer.vocab_size=300", "tokenizer.num_sentinels=2", "trainer.precision=fp32",
]  # fmt: skip
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
    code, _, told = lmlab("finetune", *words(place), *steps)
    assert code == 0, told
    runs = [json.loads(path.read_text()) for path in sorted(place.glob("outputs/finetune/*/*/seed-*/summary.json"))]
    assert [run["seed"] for run in runs] == [5, 6]
    assert runs[0]["parameters"]["trainable"] < runs[0]["parameters"]["total"] / 5
    together = json.loads(only("outputs/finetune/*/*/summary.json", place).read_text())
    losses = [run["metrics"]["loss"] for run in runs]
    assert together["metrics"]["loss"] == pytest.approx(statistics.fmean(losses))
    assert together["metrics"]["loss_std"] == pytest.approx(statistics.stdev(losses))


def test_seeds_that_are_done_are_not_trained_again(place, lmlab):
    steps = ["init=random", "tuning=frozen", "trainer.max_steps=3", "task.max_train_rows=20"]
    assert lmlab("finetune", *words(place), *steps, "seed=5")[0] == 0
    first = only("outputs/finetune/*/*/predictions.jsonl", place)
    code, _, told = lmlab("finetune", *words(place), *steps, "seeds=2", "seed=5", "resume=auto")
    assert code == 0, told
    assert only("outputs/finetune/*/*/seed-*/predictions.jsonl", place).parent.name == "seed-6"
    assert first.exists()
    code, _, told = lmlab("finetune", *words(place), *steps, "seeds=2", f"resume={first.parent}")
    assert code == 1 and "resume=auto" in told


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


def test_mean_and_deviation_take_a_missing_flag_as_0():
    metrics = mean_and_deviation([{"accuracy": 0.5, "degenerate": 1.0}, {"accuracy": 0.7}])
    assert metrics["accuracy"] == pytest.approx(0.6)
    assert metrics["degenerate"] == 0.5


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
