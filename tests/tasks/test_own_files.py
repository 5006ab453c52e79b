"""The user's own tables and lines: separators, labels that are found, and what is said of broken files."""

import pytest

from lmlab.errors import UserError
from lmlab.tasks.classification import Classification
from lmlab.tasks.regression import Regression
from lmlab.tasks.tagging import Tagging


def reviews(train, **settings) -> Classification:
    words = {"name": "csv", "fields": ["text"], "target": "stars", "metrics": ["accuracy"], "labels": None}
    return Classification(**words | {"train": str(train)} | settings)


def write(path, text: str):
    path.write_bytes(text.encode())
    return path


ROWS = [("so, so", 2), ('he said "no"\nthen left', 10), ("fine; really\t!", 2), ("", 1)]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("delimiter", "name"), [(",", "a.csv"), (";", "a.csv"), ("\t", "a.csv"), ("\t", "a.tsv")])
def test_tables_are_read_whatever_their_separator(tmp_path, delimiter, name, end, mark):
    quoted = [(text.replace('"', '""'), stars) for text, stars in ROWS]
    lines = [f"text{delimiter}stars", *(f'"{text}"{delimiter}{stars}' for text, stars in quoted), ""]
    path = write(tmp_path / name, mark + end.join(lines))
    task = reviews(path, validation=str(path))
    rows = task.rows("validation")
    assert [row["inputs"]["text"] for row in rows] == [text for text, _ in ROWS]
    assert task.labels == ["1", "2", "10"] and [row["target"] for row in rows] == [1, 2, 1, 0]


def test_numbers_are_names_where_names_are_numbers(tmp_path):
    path = write(tmp_path / "a.jsonl", "".join(f'{{"text": "t", "stars": {stars}}}\n' for stars in (3, 1, 2)))
    task = reviews(path, validation=str(path))
    assert [row["target"] for row in task.rows("validation")] == [2, 0, 1]
    other = write(tmp_path / "b.jsonl", '{"text": "t", "stars": 0}\n')
    with pytest.raises(UserError, match="unknown label 0"):
        reviews(path, validation=str(other)).rows("validation")


def test_without_a_validation_file_a_share_is_held_out(tmp_path):
    path = write(tmp_path / "a.csv", "text,stars\n" + "".join(f"text {i},{i % 2}\n" for i in range(200)))
    task = reviews(path)
    sizes = [len(task.rows(split)) for split in ("train", "validation")]
    assert sum(sizes) == 200 and 5 < sizes[1] < 40


def test_a_few_rows_of_which_none_is_held_out_are_told_from_an_empty_file(tmp_path):
    path = write(tmp_path / "a.csv", "text,stars\n" + "one text,1\none text,2\n" * 10)
    told = r"a\.csv: none of 20 rows fell into the held-out 10 %.*with task\.validation=FILE, or raise task\.held_out"
    with pytest.raises(UserError, match=told):
        reviews(path).rows("validation")
    assert len(reviews(path).rows("train")) == 20


def test_scoring_the_very_rows_that_are_learnt_is_told(tmp_path, caplog, monkeypatch):
    path = write(tmp_path / "a.csv", "text,stars\nx,1\ny,2\n")
    monkeypatch.chdir(tmp_path)
    task = reviews(path, validation="a.csv")
    task.rows("train")
    assert not caplog.messages
    task.rows("validation")
    assert "task.validation is task.train" in caplog.text
    caplog.clear()
    reviews(path, validation=str(write(tmp_path / "b.csv", "text,stars\nx,1\n"))).rows("validation")
    assert not caplog.messages


def test_labels_of_words_and_numbers_without_limits(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"words": ["a", "b"], "tags": ["O", "B-x"], "n": -1e9}\n' * 2)
    files = {"train": str(path), "validation": str(path)}
    tagging = Tagging(name="t", fields=["words"], target="tags", metrics=["accuracy"], **files)
    assert tagging.labels == ["B-x", "O"]
    number = Regression(name="r", fields=["words"], target="n", metrics=["pearson"], **files)
    assert number.parse_target({"n": "-1e9"}, "here") == -1e9
    for wrong in ("inf", "nan", "many"):
        with pytest.raises(UserError, match="is no number from -inf to inf"):
            number.parse_target({"n": wrong}, "here")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "text,label\nx,1\n", r"a\.csv, row 0: no column 'stars'; columns there: text, label"),
        (
            "a.csv",
            "text,stars\nx,1,2\n",
            r"a\.csv, line 2: 3 values for 2 columns; a value with ',' in it must stand in",
        ),
        ("a.csv", 'text,stars\n"x" y,1\n', r"a\.csv, line 2: broken table"),
        ("a.csv", 'text,stars\n"x,1\ny,2', r"a\.csv, line 3: broken table"),
        ("a.csv", "text,stars\nx,1\n", r"labels must be two or more different names, not \['1'\]"),
        ("a.csv", "text,stars\n", r"a\.csv: the data set is empty, it has no rows"),
        ("a.csv", "", r"a\.csv: the data set is empty, it has no rows"),
        ("a.jsonl", "\n", r"a\.jsonl: the data set is empty, it has no rows"),
        ("a.csv", "text,text,stars\nx,y,1\n", r"a\.csv: two columns are called 'text'"),
        ("a.jsonl", '{"text": "x", "stars": 1}\n{"text": "y" "stars": 2}\n', r"a\.jsonl, line 2: broken JSON"),
        ("a.xlsx", "", r"task\.train=.*a\.xlsx: the suffix must be one of \.csv"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message):
        reviews(write(tmp_path / name, text))


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path):
    write(tmp_path / "reviews.csv", "text,stars\nx,1\ny,2\n")
    with pytest.raises(UserError, match=r"task\.train=.*review\.csv: no such file, did you mean 'reviews\.csv'"):
        reviews(tmp_path / "review.csv")
    with pytest.raises(UserError, match=r"task\.train=.*no such folder as .*nowhere"):
        reviews(tmp_path / "nowhere" / "a.csv")
    with pytest.raises(UserError, match=r"task\.validation=.*other\.csv: no such file"):
        reviews(tmp_path / "reviews.csv", validation=str(tmp_path / "other.csv")).rows("validation")
    with pytest.raises(UserError, match=r"no data yet: name your file with task\.train=FILE"):
        Classification(name="csv", fields=["text"], metrics=["accuracy"])


def test_a_long_text_of_a_table_is_read_whole(tmp_path):
    path = write(tmp_path / "a.csv", f"text,stars\n{'x' * 300_000},1\ny,2\n")
    assert len(reviews(path, validation=str(path)).rows("validation")[0]["inputs"]["text"]) == 300_000
