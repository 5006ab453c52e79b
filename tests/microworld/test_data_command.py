"""`lmlab data microworld`: ordinary folders that other tools read, and the report."""

import gzip
import json

import pytest

from lmlab.commands import microworld
from lmlab.commands.data import main
from lmlab.errors import UserError
from lmlab.microworld.language import alignment, languages


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_the_folders_are_read_by_plain_datasets(tmp_path, monkeypatch, capsys):
    import datasets

    every = list(microworld.tasks(0, 20))
    chosen = [task for task in every if task.name in ("mw_nli", "mw_qa_null", "mw_pos")]
    monkeypatch.setattr(microworld, "tasks", lambda *_: chosen)
    main(["microworld", f"to={tmp_path / 'world'}", "megabytes=0.02", "rows=20"])
    assert len(every) == 36
    folder = tmp_path / "world"
    assert not list(tmp_path.glob(".*"))
    for task in chosen:
        files = {
            split: str(folder / f"{task.name}-{task.language}" / f"{split}.jsonl.gz") for split in microworld.SPLITS
        }
        loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
        assert {split: len(loaded[split]) for split in microworld.SPLITS} == dict.fromkeys(microworld.SPLITS, 20)
        assert {*task.fields, task.target} <= set(loaded["train"].column_names)
        assert loaded["validation"][0][task.fields[0]] == next(iter(task.find("validation")))[task.fields[0]]
    assert len(lines(folder / "microworld-ab" / "train.jsonl.gz")) > 10
    assert capsys.readouterr().out.startswith(f"{folder}: 10 folders")


def test_gold_annotations_agree_with_each_other():
    spoken = languages()
    for row in microworld.gold(0, documents=3):
        for name in spoken:
            assert len(row[f"words_{name}"]) == len(row[f"pos_{name}"]) == len(row[f"senses_{name}"])
            assert "".join(row[f"words_{name}"]) == row[f"text_{name}"].replace(" ", "")
        assert all(row["senses_a"][i] == row["senses_b"][j] for i, j in row["alignment"])
        assert row["meaning"]
    assert alignment([], []) == []


def test_the_report_as_json(monkeypatch, capsys):
    chosen = [task for task in microworld.tasks(0, 60, ("a",)) if task.name in ("mw_order", "mw_arithmetic")]
    monkeypatch.setattr(microworld, "tasks", lambda *_: chosen)
    main(["microworld", "report", "format=json", "rows=60"])
    found = {line["task"]: line for line in json.loads(capsys.readouterr().out)["tasks"]}
    assert found["mw_order"]["majority"] == 0.5 and found["mw_order"]["ceiling"] == 1.0
    assert found["mw_order"]["train"] == found["mw_order"]["validation"] == 60
    assert found["mw_arithmetic"]["majority"] < 0.2


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "to=<folder>"),
        (["report", "to=here"], "to=<folder>"),
        (["to=here", "megabytes=0"], "megabytes=0 must be above 0"),
        (["to=."], "name a folder in this one"),
        (["report", "rows=-1"], "rows=-1 must be above 0"),
        (["report", "language=c"], "invalid choice"),
    ],
)
def test_mistakes_are_told(words, message):
    with pytest.raises(UserError, match=message):
        main(["microworld", *words])


def test_a_folder_that_is_not_empty_stays_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        main(["microworld", f"to={tmp_path}"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
