"""Every task of `conf/task`: it builds, and where its data are there, all rows are read."""

import gzip
import json
from pathlib import Path

import pytest

from lmlab.config.build import build
from lmlab.config.options import option_files, read_option, search_folders
from lmlab.config.schema import compose
from lmlab.errors import UserError

KINDS = ("classification", "regression", "tagging", "span", "choice", "text")
NAMES = list(option_files("task", search_folders()))
OWN_FILE = {
    "tokens": ["a", "b"],
    "text": "a",
    "source": "a",
    "target": "b",
    "label": 1,
    "labels": ["x", "y"],
    "question": "q",
    "context": "a b",
    "answers": {"text": ["b"], "answer_start": [2]},
    "choices": ["c", "d"],
}


def option(name: str) -> dict:
    return read_option("task", name, search_folders())


@pytest.fixture
def own_file(tmp_path) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(OWN_FILE | {"label": label}) + "\n" for label in (0, 1)))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_a_task_of_its_own_name(name, own_file, tmp_path):
    node = option(name)
    if "train" in node:  # the user's own file
        node |= {"train": str(own_file), "validation": str(own_file)}
    task = build(node, data_dir=str(tmp_path), cache_dir=str(tmp_path))
    assert task.name == name
    assert task.kind in KINDS
    if task.train:
        assert len(task.rows("train")) == len(task.rows("validation")) == 2


@pytest.mark.parametrize("command", ["finetune", "evaluate"])
def test_a_task_brings_its_usual_formulation_and_the_command_line_wins(command):
    for name, usual in (
        ("multi30k", "sequence"),
        ("csv_text", "sequence"),
        ("jsonl_text", "sequence"),
        ("blimp", "likelihood"),
    ):
        assert compose(command, [f"task={name}"]).hydra.runtime.choices.formulation == usual
    assert compose(command, ["task=blimp", "formulation=head"]).hydra.runtime.choices.formulation == "head"


def counted(folder: Path, split: str) -> int:
    with gzip.open(folder / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        return sum(1 for _ in file)


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for name in NAMES if option(name).get("source")])
def test_all_rows_of_the_real_data_are_read(name, data_dir):
    task = build(option(name), data_dir=str(data_dir))
    folder = data_dir / task.source
    splits = [split for split in (task.train_split, *task.evaluation_splits) if split]
    there = [split for split in splits if (folder / f"{split}.jsonl.gz").is_file()]
    if not there:
        with pytest.raises(UserError, match=f"'{task.source}'.*not found: put it at"):
            task.rows(splits[0])
        return
    rows = {split: task.rows(split) for split in splits}
    found, wanted = sum(map(len, rows.values())), sum(counted(folder, split) for split in there)
    assert found == wanted or (task.columns and found > wanted)  # a nested row holds several
    assert len({row["id"] for row in rows[splits[-1]]}) == len(rows[splits[-1]])
    for split in splits:
        perfect = [answered(task, row) for row in rows[split][:500]]
        # A few gold answers are nothing but an article, which SQuAD's rules drop.
        assert task.score_records(perfect)[task.metrics[0]] == pytest.approx(task.perfect, rel=1e-2)


def answered(task, row: dict) -> dict:
    """The record of a row that is answered with its first reference."""
    accepted = task.accepted(row)
    return {"inputs": row["inputs"], "prediction": accepted[0], "references": accepted}


# Rows per split as the README of the data gives them, and the majority class of the development set.
KNOWN = {
    "cola": (8551, 1043, 0.0),
    "sst2": (67349, 872, 0.509),
    "mrpc": (3667, 408, 0.812),
    "qnli": (9999, 2763, 0.489),
    "rte": (2490, 277, 0.527),
    "wnli": (635, 71, 0.563),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", KNOWN)
def test_sizes_and_majority_baselines_are_the_known_ones(name, data_dir):
    task = build(option(name), data_dir=str(data_dir))
    train, rows = task.rows("train"), task.rows("validation")
    number = task.baseline(train, rows)[task.metrics[0]]
    assert (len(train), len(rows), round(number, 3)) == KNOWN[name]
