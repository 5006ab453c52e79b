"""`lmlab data`: the list, and a copy of a hub data set."""

import gzip
import json

import pytest

from lmlab.commands.data import main
from lmlab.errors import UserError
from lmlab.text import sources


def listed(capsys, *words):
    assert main(["list", "format=json", *words]) == 0
    return {entry["option"]: entry for entry in json.loads(capsys.readouterr().out)}


def test_the_list_knows_every_corpus_and_task_and_where_it_was_found(tmp_path, capsys):
    (tmp_path / "english-books").mkdir()
    (tmp_path / "english-books" / "train.jsonl.gz").write_bytes(b"")
    known = listed(capsys, f"data_dir={tmp_path}")
    assert known["corpus=english_books"]["found"] == "LMLAB_DATA (train)"
    assert known["corpus=pydocs"]["found"] == "embedded"
    assert known["corpus=text"]["found"] == known["corpus=hub"]["found"] == "yours"
    assert known["corpus=c4"]["hub"] == "allenai/c4"
    assert known["task=squad"]["hub"] == "rajpurkar/squad"
    assert all(entry["what"] for entry in known.values())
    assert main(["list"]) == 0
    assert "wikitext-103" in capsys.readouterr().out


@pytest.fixture
def hub(monkeypatch):
    """A hub with one data set, whatever name is asked for."""
    import datasets

    asked = []
    rows = [{"sentence": f"Satz {i} ä", "label": i % 2} for i in range(30)]
    splits = {"train": datasets.Dataset.from_list(rows), "dev": datasets.Dataset.from_list(rows[:5])}

    def open_hub(*address):
        asked.append(address)
        return splits

    monkeypatch.setattr(sources, "open_hub", open_hub)
    return asked


def test_get_writes_the_layout_that_is_read_again(tmp_path, capsys, hub):
    assert main(["get", "sst2", f"to={tmp_path}"]) == 0
    assert hub == [("nyu-mll/glue", "sst2", None, False)]
    assert sorted(path.name for path in (tmp_path / "glue-sst2").iterdir()) == [
        "train.jsonl.gz",
        "validation.jsonl.gz",
    ]
    rows = list(sources.find("glue-sst2", "train", tmp_path, fields=["sentence", "label"]))
    assert len(rows) == 30 and rows[3] == {"sentence": "Satz 3 ä", "label": 1}
    out = capsys.readouterr().out
    assert "train 30 rows, validation 5 rows" in out and "lmlab finetune task=sst2" in out
    with pytest.raises(UserError, match="exists already"):
        main(["get", "task=sst2", f"to={tmp_path}"])


def test_get_takes_hub_names_and_limits(tmp_path, hub):
    assert main(["get", "owner/some-set", f"to={tmp_path}", "rows=3", "config=en"]) == 0
    assert hub == [("owner/some-set", "en", None, True)]
    with gzip.open(tmp_path / "some-set" / "train.jsonl.gz", "rt") as file:
        assert len(file.readlines()) == 3


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, hub):
    def break_off(dataset, where):
        yield {"a": 1}
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "dataset_rows", break_off)
    with pytest.raises(UserError, match="No space left"):
        main(["get", "squad", f"to={tmp_path / 'data'}"])
    monkeypatch.setattr(sources, "dataset_rows", lambda dataset, where: iter([{"image": b"bytes"}]))
    with pytest.raises(UserError, match=r"a column holds bytes; only text"):
        main(["get", "squad", f"to={tmp_path / 'data'}"])
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get", "squd", "to=x"], "unknown data set 'squd', did you mean 'squad'"),
        (["get", "english_books", "to=x"], "cannot be fetched: 49 classic English books"),
        (["get", "squad"], "required: --to"),
        (["get", "squad", "to=x"], "'rajpurkar/squad' cannot be fetched from the hub: HF_HUB_OFFLINE=1"),
        (["list", "format=jsn"], "invalid choice: 'jsn'"),
        ([], "list"),
    ],
)
def test_mistakes_are_told(words, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        main(words)


def test_a_folder_of_files_is_fetched_like_a_hub_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert main(["get", str(source), f"to={tmp_path / 'data'}", "rows=10"]) == 0
    assert [row["text"] for row in sources.find("source", "train", tmp_path / "data")] == ["one", "two"]
