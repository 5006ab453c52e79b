"""PET and iPET end to end at toy size: what is written, what is read, what is not done twice, what is refused."""

import json
import shutil

import numpy as np
import pytest

from lmlab.cli import main
from lmlab.tasks.classification import Classification

TINY = [
    "init=random", "model.hidden_size=32", "model.num_layers=2", "model.num_heads=2", "model.intermediate_size=64",
    "tokenizer.vocab_size=300", "corpus=text", "trainer.precision=fp32", "trainer.max_epochs=null",
]  # fmt: skip
PATTERNS = ["template.patterns=['{sentence} it {blank}','{blank} : {sentence}']", "template.verbalizers=[runs,sees]"]
PET = ["formulation=cloze", "ensemble=pet", "ensemble.repetitions=1", "optimizer.lr=1e-2", "trainer.batch_size=8"]
WELL = [
    "trainer.max_steps=60",
    "ensemble.student.max_steps=100",
    "ensemble.student.lr=1e-2",
    "formulation.mlm_weight=0",
]
FAST = ["trainer.max_steps=3", "ensemble.student.max_steps=3"]
ANIMALS = ("dog", "cat", "horse", "bird", "cow", "bird", "hen", "bird")
COLORS = ("red", "blue", "old", "small", "green", "big", "young", "sad")
LINES = [f"the {color} {animal} runs over the field and sees a river" for color in COLORS for animal in ANIMALS]


def write(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def place(tmp_path):
    """A text for the tokenizer, and a task: does a sentence speak of a bird?"""
    (tmp_path / "text.txt").write_text(
        "\n\n".join(["\n".join([*LINES, "it runs : it was terrible, great, (in)correct!"])] * 10)
    )
    rows = [{"sentence": line, "label": int("bird" in line)} for line in LINES]
    for split in ("train", "validation"):
        write(tmp_path / "data" / "glue-sst2" / f"{split}.jsonl", rows)
    return tmp_path


@pytest.fixture
def lmlab(place, monkeypatch, capsys):
    """`lmlab("finetune", ...)` in the folder `place`: (exit code, standard output, standard error)."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("LMLAB_DATA", raising=False)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["lmlab", *arguments])
        return main(list(arguments)), *capsys.readouterr()

    return run


def words(place, *more):
    return [*TINY, f"corpus.path={place}/text.txt", f"data_dir={place}/data", *PET, *more]


def birds(place, *more):
    """The task with 16 labelled rows of 64; the other 48 are unlabelled."""
    return words(place, "task=sst2", "task.max_train_rows=16", *PATTERNS, *more)


def run(place, seed=0):
    (found,) = place.glob(f"outputs/finetune/*/*/seed-{seed}")
    return found


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def learnt(folder):
    """What the models of a run say, what its classifier answers, and its metrics."""
    files = sorted([*folder.rglob(".models/**/scores.npz"), folder / "predictions.jsonl"])
    return [path.read_bytes() for path in files], summary(folder)["metrics"]


def test_a_classifier_learns_what_the_models_of_all_patterns_say(place, lmlab):
    code, shown, told = lmlab("finetune", *birds(place, *WELL))
    assert code == 0, told
    whole, models = summary(run(place)), sorted((run(place) / ".models").iterdir())
    assert [path.name for path in models] == ["pattern-0-seed-0", "pattern-1-seed-0"]
    assert (whole["formulation"], whole["ensemble"], whole["steps"]) == ("cloze", "pet", 100)
    single = [summary(path)["metrics"]["accuracy"] for path in models]
    assert whole["metrics"]["single_accuracy"] == pytest.approx(np.mean(single))
    assert "ensemble_accuracy" in shown and whole["metrics"]["ensemble_accuracy"] > 0.8
    assert whole["metrics"]["accuracy"] > 0.8  # it saw no label; the best constant answer has 0.625
    assert not list((run(place) / ".models").rglob("checkpoints"))
    scores = np.load(models[0] / "scores.npz")
    assert (scores["unlabelled"].shape, scores["validation"].shape) == ((48, 2), (64, 2))
    code, shown, told = lmlab("compare", "outputs", "format=json")
    assert code == 0, told
    (table,) = json.loads(shown)["tables"]
    assert len(table["rows"]) == 1
    code, shown, told = lmlab("evaluate", "format=json")  # of the classifier, by its own way of answering
    assert code == 0 and json.loads(shown)["metrics"]["accuracy"] == whole["metrics"]["accuracy"], told


@pytest.mark.slow
def test_labels_of_unlabelled_rows_are_not_read(place, lmlab):
    words = birds(place, *FAST, "ensemble.patterns=[1]")
    assert lmlab("finetune", *words)[0] == 0
    plain, file = learnt(run(place)), place / "data" / "glue-sst2" / "train.jsonl"
    shutil.rmtree(place / "outputs")
    task = {"name": "birds", "source": "glue-sst2", "fields": ["sentence"], "metrics": ["accuracy"]}
    rows = Classification(**task, data_dir=str(place / "data"), max_train_rows=16).rows("train")
    kept = {row["inputs"]["sentence"] for row in rows}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    write(file, [row if row["sentence"] in kept else row | {"label": 1 - row["label"]} for row in rows])
    assert lmlab("finetune", *words)[0] == 0
    assert learnt(run(place)) == plain


def test_what_is_done_is_not_trained_again(place, lmlab):
    words = birds(place, *FAST)
    assert lmlab("finetune", *words)[0] == 0
    whole, first, second = learnt(run(place)), *sorted((run(place) / ".models").iterdir())
    for path in run(place).glob("*"):  # as if it had been killed before the classifier, within the second model
        if not path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(second)
    before = (first / "metrics.jsonl").stat().st_mtime_ns
    code, _, told = lmlab("finetune", *words, "seeds=2", "resume=auto")
    assert code == 0, told
    assert (first / "metrics.jsonl").stat().st_mtime_ns == before
    assert learnt(run(place)) == whole
    seeds = {summary(path)["seed"] for path in place.glob("outputs/finetune/*/*/seed-*/.models/*")}
    assert seeds == {0, 1}
    cut_off = {key: each for key, each in whole[1].items() if "_" not in key}  # killed before the last line
    (run(place) / "summary.json").write_text(json.dumps(summary(run(place)) | {"metrics": cut_off}))
    assert lmlab("finetune", *words, "seeds=2", "resume=auto")[0] == 0 and learnt(run(place)) == whole
    (run(place) / "summary.json").unlink()
    file = place / "data" / "glue-sst2" / "validation.jsonl"
    write(file, [json.loads(line) for line in file.read_text().splitlines()][1:])
    code, _, told = lmlab("finetune", *words, "seeds=2", "resume=auto")
    assert code == 1 and "other rows" in told


@pytest.mark.slow
def test_later_generations_learn_from_more_rows(place, lmlab):
    rows = ["task.max_train_rows=8", "ensemble.growth=2", "ensemble.generations=2", "formulation.mlm_weight=0"]
    steps = ["trainer.max_epochs=1", "trainer.batch_size=4", "ensemble.student.max_steps=3"]
    code, _, told = lmlab("finetune", *birds(place, "ensemble=ipet", *rows, *steps))
    assert code == 0, told
    folders = [run(place) / ".models", *(run(place) / ".models" / f"generation-{number}" for number in (1, 2))]
    steps = [[summary(path)["steps"] for path in folder.glob("pattern-*")] for folder in folders]
    assert steps[0] == [2, 2]
    assert all(2 < some <= 4 for some in steps[1]) and all(2 < some <= 8 for some in steps[2])


@pytest.mark.slow
def test_the_models_of_a_task_with_choices_answer_together(place, lmlab):
    choices = ["sees", "runs", "field"]
    rows = [{"question": line, "choices": choices[: 2 + i % 2], "label": i % 2} for i, line in enumerate(LINES)]
    write(place / "rows.jsonl", rows)
    own = ["task=jsonl_choice", f"task.train={place}/rows.jsonl", "template=own", "formulation.mlm_weight=0"]
    patterns = ["template.patterns=['{question} it {blank}','{blank} : {question}']"]
    code, _, told = lmlab("finetune", *words(place, *own, *patterns, *FAST))
    assert code == 0, told
    found = summary(run(place))
    assert (found["status"], found["ensemble"], found["steps"]) == ("finished", "pet", 6)
    assert found["metrics"]["accuracy"] == found["metrics"]["ensemble_accuracy"]
    lines = [json.loads(line) for line in (run(place) / "predictions.jsonl").read_text().splitlines()]
    right = [line["prediction"] in line["references"] for line in lines]
    assert found["metrics"]["accuracy"] == pytest.approx(np.mean(right))
    code, _, told = lmlab("evaluate", f"run={run(place)}")
    assert code == 1 and "answered together and were not kept" in told


def test_in_a_suite_models_answer_together_where_there_is_nothing_to_label(place, lmlab):
    write(place / "data" / "glue-sst2" / "unlabeled.jsonl", [{"sentence": line} for line in LINES[:20]])
    cola = [{"sentence": line, "label": int("bird" in line)} for line in LINES[:16]]
    for split in ("train", "validation"):
        write(place / "data" / "glue-cola" / f"{split}.jsonl", cola)
    (place / "more" / "suite").mkdir(parents=True)
    suite = "_target_: lmlab.tasks.suite.Suite\nname: two\ntasks: {cola: [matthews], sst2: [accuracy]}\n"
    (place / "more" / "suite" / "two.yaml").write_text(f"# two tasks\n{suite}")
    two = ["--config-dir", str(place / "more"), "suite=two", "ensemble.patterns=[0]"]
    code, shown, told = lmlab("finetune", *words(place, *FAST, *two))
    assert code == 0, told
    assert "cola: there are no unlabelled rows" in told and "two: 1 seeds" in shown
    (alone,), (taught,) = (list(place.glob(f"outputs/finetune/*/*/{name}/seed-0")) for name in ("cola", "sst2"))
    assert not (alone / "checkpoints").exists() and (taught / "checkpoints").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["formulation=head"], "formulation=cloze"),
        (["task.max_train_rows=null"], "task.max_train_rows"),
        (["ensemble.patterns=[0,2]"], "0 to 1, not 2"),
        (["template.patterns=['{sentence} it']"], "blank"),
        (["ensemble.student.lr=0"], "ensemble.student.lr"),
        (["ensemble.student.formulation=cloze"], "ensemble.student.formulation: the classifier learns"),
        (["ensemble.weights=uniform", "template.verbalizers=[[runs,sees],[runs,Runs]]"], "'Runs' of label"),
        (["ensemble=ipet", "ensemble.patterns=[0]"], "one model"),
        (["ensemble.student=null", "evaluate_on=[sst2]"], "evaluate_on"),
    ],
)
def test_what_cannot_be_an_ensemble_is_refused_before_anything_is_written(place, lmlab, wrong, told):
    code, _, failed = lmlab("finetune", *birds(place, *FAST, *wrong))
    assert code == 1 and told in failed and "Traceback" not in failed
    assert not list(place.glob("outputs/finetune/*/*/seed-*"))
