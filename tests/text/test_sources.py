"""Where data is looked for, and what is said when it is not there or broken."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from lmlab.errors import UserError
from lmlab.text import sources

ROWS = [{"text": "Ünï\u2028code", "label": 1}, {"text": "zwei\nZeilen", "label": 0}]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_rows_are_the_same_in_every_format(tmp_path, suffix):
    if suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        (tmp_path / "tiny").mkdir()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "tiny" / "train.parquet")
    else:
        lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)  # an empty line is no row
        write(tmp_path / "tiny" / f"train{suffix}", lines)
    assert list(sources.find("tiny", "train", tmp_path, fields=["text"])) == ROWS
    with pytest.raises(UserError, match=r"train.*no field 'labels'; there are: text, label, did you mean 'label'"):
        next(sources.find("tiny", "train", tmp_path, fields=["labels"]))


def test_plain_text_and_other_names_of_splits(tmp_path):
    write(tmp_path / "tiny" / "dev.txt.gz", "one\r\n\r\nthree")
    rows = sources.find("tiny", "validation", tmp_path, fields=["text"])
    assert [row["text"] for row in rows] == ["one", "", "three"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.jsonl", '{"text": "a"}\n{"text": ', r"train\.jsonl, line 2: broken JSON"),
        ("train.jsonl", '{"text": "a"}\n[1]', r"line 2: a list where a JSON object"),
        (
            "train.jsonl",
            b'{"text": "a"}\n{"text": "\xe9t\xe9"}',
            r"train\.jsonl: not UTF-8 at byte 24 \(0xe9\)",
        ),
        ("train.txt.gz", b"x" * 2_000_001 + b"\xff", r"train\.txt\.gz: not UTF-8 at byte 2000001 \(0xff\)"),
        ("train.parquet", "no parquet", r"train\.parquet: not a readable parquet file"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path, name, content, message):
    write(tmp_path / "tiny" / name, content)
    with pytest.raises(UserError, match=message):
        list(sources.find("tiny", "train", tmp_path, fields=["text"]))


def test_a_cut_gzip_file_is_named(tmp_path):
    path = write(tmp_path / "train.jsonl.gz", "".join(f'{{"text": "{i}"}}\n' for i in range(9999)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"train\.jsonl\.gz: broken or incomplete gzip"):
        list(sources.read(path))


def test_a_byte_order_mark_and_a_letter_on_a_buffer_border_are_read(tmp_path):
    text = "a" * (1 << 20) + "é\r\n" + "中" * 700_000
    path = write(tmp_path / "train.txt", "\ufeff" + text)
    assert "".join(sources.read_passages(path)) == text.replace("\r\n", "\n")
    border = "x" * ((1 << 20) - 1) + "\r\ny"
    assert list(sources.read_lines(write(tmp_path / "border.txt", border))) == ["x" * ((1 << 20) - 1), "y"]


def test_passages_are_cut_at_line_ends_else_at_spaces_and_lose_nothing(tmp_path):
    text = "".join(f"line {i}\n" for i in range(1000)) + "word " * 1000 + "x" * 3000
    passages = list(sources.read_passages(write(tmp_path / "long.txt", text), limit=500))
    assert "".join(passages) == text
    assert max(map(len, passages)) <= 500
    assert all(p.endswith("\n") for p in passages[: len(passages) // 3])
    assert sum(p.endswith(" ") for p in passages) > 5


def test_what_is_missing_is_said_with_where_to_put_it(tmp_path, offline):
    write(tmp_path / "squad" / "validation.jsonl", "{}")
    with pytest.raises(UserError, match=r"squad/train\.jsonl\.gz.*columns question.*only: validation"):
        sources.find("squad", "train", tmp_path, fields=["question"])
    with pytest.raises(UserError, match="did you mean 'squad'"):
        sources.find("squda", "train", tmp_path)
    with pytest.raises(UserError, match=r"<LMLAB_DATA>/squad/train\.jsonl\.gz.*'rajpurkar/squad'.*HF_HUB_OFFLINE=1"):
        sources.find("squad", "train", None, hub="rajpurkar/squad")
    with pytest.raises(UserError, match="does not exist"):
        sources.find("squad", "train", tmp_path / "nowhere")


def test_offline_opens_no_socket():
    code = """
import socket
def refuse(*a, **k):
    raise SystemExit("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from lmlab.errors import UserError
from lmlab.text import sources
try:
    sources.find("glue-sst2", "train", None, hub={"path": "nyu-mll/glue", "config": "sst2"})
except UserError as error:
    assert "HF_HUB_OFFLINE=1" in str(error)
    print("told")
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.returncode) == ("told\n", 0), done.stderr


def test_the_hub_is_read_by_split_and_field(monkeypatch):
    import datasets

    there = {"train": datasets.Dataset.from_list(ROWS), "dev": datasets.Dataset.from_list(ROWS[:1])}
    monkeypatch.setattr(sources, "open_hub", lambda path, config, revision, streaming: there)
    assert list(sources.find("tiny", "train", None, hub="a/tiny")) == ROWS
    assert list(sources.find("tiny", "validation", None, hub="a/tiny")) == ROWS[:1]
    renamed = {"path": "a/tiny", "splits": {"test": "train"}}
    assert list(sources.find("tiny", "test", None, hub=renamed)) == ROWS
    with pytest.raises(UserError, match="no split 'test'; there are: train, dev"):
        sources.find("tiny", "test", None, hub="a/tiny")
    with pytest.raises(UserError, match="no field 'txt'; there are: text, label, did you mean 'text'"):
        next(sources.find("tiny", "train", None, hub="a/tiny", fields=["txt"]))


def test_a_folder_of_files_is_a_hub_name_too(tmp_path, offline):
    write(tmp_path / "tiny" / "train.jsonl", "\n".join(json.dumps(row) for row in ROWS))
    assert list(sources.find("other", "train", None, hub=str(tmp_path / "tiny"), streaming=True)) == ROWS


def test_all_configs_of_a_hub_data_set_are_read_one_after_the_other(tmp_path, offline):
    names = {"b_first": ["one", "two"], "a_second": ["three"]}
    for name, texts in names.items():
        write(tmp_path / "pairs" / name / "train.jsonl", "\n".join(json.dumps({"text": text}) for text in texts))
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/train.jsonl\n" for name in names)
    write(tmp_path / "pairs" / "README.md", f"---\nconfigs:\n{configs}---\n")
    hub = {"path": str(tmp_path / "pairs"), "config": "*", "splits": {"test": "train"}}
    rows = [row["text"] for row in sources.find("other", "test", None, hub=hub)]
    assert sorted(rows) == ["one", "three", "two"] and rows.index("two") == rows.index("one") + 1
    assert [row["text"] for row in sources.find("other", "test", None, hub=hub | {"config": "a_second"})] == ["three"]


def test_blank_lines_of_a_table_are_no_rows_and_places_still_fit(tmp_path):
    path = write(tmp_path / "a.csv", "\n   \ntext;label\n \nx;1\n\t\n\ny;2\n  ")
    assert list(sources.read(path)) == [{"text": "x", "label": "1"}, {"text": "y", "label": "2"}]
    with pytest.raises(UserError, match=r"a\.csv, line 4: 3 values for 2 columns"):
        list(sources.read(write(tmp_path / "a.csv", "text,label\n \nx,1\nx,1,2\n")))
    assert list(sources.read(write(tmp_path / "a.csv", 'text\n""\nx\n'))) == [{"text": ""}, {"text": "x"}]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path, name):
    if name == "a.csv":
        write(tmp_path / name, "text,text,label\nx,y,1\n")
    else:
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_arrays([pyarrow.array(["x"]), pyarrow.array(["y"])], names=["text", "text"])
        pyarrow.parquet.write_table(table, tmp_path / name)
    with pytest.raises(UserError, match=r"a\.\w+: two columns are called 'text'"):
        list(sources.read(tmp_path / name))
