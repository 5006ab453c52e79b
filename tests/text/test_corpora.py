"""Documents, their division into train and validation, and fingerprints."""

import gzip
import json

import pytest
import yaml

from lmlab.config import conf_dir
from lmlab.errors import UserError
from lmlab.text import sources
from lmlab.text.corpora import Corpus, Hub, Local, Text
from lmlab.text.pydocs import PyDocs


class Listed(Corpus):
    """A corpus of given documents."""

    def __init__(self, texts, **corpus):
        super().__init__(**corpus)
        self._texts = texts

    def source(self, split):
        return iter(self._texts)

    def content(self):
        return self._texts

    def __str__(self):
        return "corpus listed"


def parts(corpus):
    return list(corpus.documents("train")), list(corpus.documents("validation"))


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


# --- the division ---------------------------------------------------------------------------------------


def test_the_text_of_a_document_alone_decides_on_its_part():
    texts = [f"document {i}" for i in range(2000)]
    train, validation = parts(Listed(texts))
    assert sorted(train + validation) == sorted(texts)
    assert 60 < len(validation) < 140  # 5 % of 2,000
    _, again = parts(Listed(list(reversed(texts[500:]))))
    assert set(again) == set(validation) & set(texts[500:])


@pytest.mark.parametrize("fraction", [0.001, 0.05, 0.999])
@pytest.mark.parametrize("count", [20, 21, 50])
def test_both_parts_have_text_whatever_the_hashes_say(count, fraction):
    train, validation = parts(Listed([f"{count}.{i}" for i in range(count)], validation_fraction=fraction))
    assert train and validation and len(train) + len(validation) == count


def test_few_documents_give_their_ends():
    texts = ["".join(f"line {i} of {d}\n" for i in range(100)) for d in range(3)]
    train, validation = parts(Listed(texts, validation_fraction=0.1))
    assert [a + b for a, b in zip(train, validation, strict=True)] == texts
    assert all(text.endswith("\n") and 85 <= text.count("\n") <= 95 for text in train)
    heading = "Title\n" + "word " * 1000  # the only line end is far from where the cut belongs
    (train,), (validation,) = parts(Listed([heading]))
    assert train + validation == heading and train.endswith(" ") and 200 < len(validation) < 300


@pytest.mark.parametrize(
    ("texts", "message"),
    [([], "corpus is empty"), (["", " \n"], "corpus is empty"), (["x"], "too little text")],
)
def test_too_little_text_is_refused(texts, message):
    with pytest.raises(UserError, match=message):
        parts(Listed(texts))


def test_wrong_settings_are_refused():
    for wrong in ({"validation_fraction": 0}, {"validation_fraction": 1.0}, {"max_documents": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Listed(["a"], **wrong)
    with pytest.raises(UserError, match="not 'test'"):
        next(Listed(["a"]).documents("test"))


# --- plain text -----------------------------------------------------------------------------------------


def test_text_of_files_folders_and_patterns(tmp_path):
    for name in ("b.txt", "a.txt", "c.md", "d.py"):
        (tmp_path / name).write_text(f"{name} one\ntwo\n\n\nthree\n")
    whole = Text(path=str(tmp_path))
    assert [path.name for path in whole.files("train")] == ["a.txt", "b.txt", "c.md"]
    assert next(whole.source("train")) == "a.txt one\ntwo\n\n\nthree\n"
    assert len(list(Text(path=str(tmp_path / "*.txt")).source("train"))) == 2
    both = Text(path=[str(tmp_path / "d.py"), str(tmp_path / "a.txt")], document="blank_line")
    assert list(both.source("train"))[:2] == ["d.py one\ntwo", "three"]
    lines = Text(path=str(tmp_path / "a.txt"), validation_path=str(tmp_path / "b.txt"), document="line")
    assert parts(lines) == (["a.txt one", "two", "three"], ["b.txt one", "two", "three"])


def test_a_long_file_is_read_in_passages(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.read_passages, "__defaults__", (1000,))
    text = "".join(f"line {i}\n" for i in range(2000))
    (tmp_path / "long.txt").write_text(text)
    train, validation = parts(Text(path=str(tmp_path / "long.txt")))
    assert max(map(len, train)) <= 1000
    assert sorted("".join(train + validation).split("\n")) == sorted(text.split("\n"))


def test_what_is_wrong_with_a_path_is_said(tmp_path):
    (tmp_path / "books.txt").write_text("")
    (tmp_path / "rows.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    for path, message in [
        ("boks.txt", "no such file or folder, did you mean 'books.txt'"),
        ("rows.jsonl", "use corpus=local"),
        ("folder", "no .txt"),
        ("books.txt", "corpus is empty"),
    ]:
        with pytest.raises(UserError, match=message):
            parts(Text(path=str(tmp_path / path)))
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.txt: not UTF-8 at byte 3"):
        parts(Text(path=str(tmp_path / "latin.txt")))
    with pytest.raises(UserError, match="must be one of file, line, blank_line, did you mean 'line'"):
        Text(path=str(tmp_path), document="lines")


# --- rows -----------------------------------------------------------------------------------------------


def test_local_takes_splits_by_name_else_holds_a_part_out(tmp_path):
    write_rows(tmp_path / "named" / "train-00000-of-00002.jsonl", [{"body": "a"}])
    write_rows(tmp_path / "named" / "train-00001-of-00002.jsonl.gz", [{"body": "b"}, {"body": None}])
    write_rows(tmp_path / "named" / "dev.jsonl", [{"body": "c"}])
    assert parts(Local(path=str(tmp_path / "named"), field="body")) == (["a", "b"], ["c"])
    write_rows(tmp_path / "one.jsonl", [{"text": f"text {i}"} for i in range(200)])
    train, validation = parts(Local(path=str(tmp_path / "one.jsonl")))
    assert validation and len(train) + len(validation) == 200
    for field, message in [
        ("txt", "line 1: no field 'txt'; there are: text, did you mean 'text'"),
        ("n", "not text"),
    ]:
        write_rows(tmp_path / "wrong.jsonl", [{"text": "x"} if field == "txt" else {"n": 3}])
        with pytest.raises(UserError, match=message):
            parts(Local(path=str(tmp_path / "wrong.jsonl"), field=field))
    with pytest.raises(UserError, match="no data there"):
        parts(Local(path=str(conf_dir())))


def test_hub_reads_the_local_copy_or_a_file_with_line_breaks_as_they_are(tmp_path):
    play = "First Citizen:\nSpeak.\n\n\nAll:\n  Resolved.\n" * 50
    folder = tmp_path / "tiny-shakespeare"
    folder.mkdir()
    for split in ("train", "validation"):
        with gzip.open(folder / f"{split}.txt.gz", "wt") as file:
            file.write(play)
    copy = Hub(name="tiny-shakespeare", path="x/y", document="all", data_dir=tmp_path)
    assert parts(copy) == ([play], [play])
    (tmp_path / "mine.txt").write_text(play)
    mine = Hub(name="tiny-shakespeare", path=str(tmp_path / "mine.txt"), document="all", data_dir=tmp_path)
    (train,), (validation,) = parts(mine)
    assert train + validation == play and len(validation) < 0.15 * len(play)
    with pytest.raises(UserError, match=r"nowhere\.txt: no such file"):
        Hub(path=str(tmp_path / "nowhere.txt"))


def test_rows_become_documents_by_heading_or_by_number(tmp_path):
    rows = [
        "",
        " = Tea = \n",
        "",
        " Tea is a drink . \n",
        " = = History = = \n",
        " Old . \n",
        " = Salt = \n",
        " Salty . \n",
    ]
    write_rows(tmp_path / "wiki" / "train.jsonl", [{"text": row} for row in rows])
    settings = yaml.safe_load((conf_dir() / "corpus" / "wikitext2.yaml").read_text())
    wiki = Hub(name="wiki", heading=settings["heading"], data_dir=tmp_path)
    assert list(wiki.source("train")) == [
        "= Tea =\nTea is a drink .\n= = History = =\nOld .",
        "= Salt =\nSalty .",
    ]
    pairs = Hub(name="wiki", rows_per_document=4, data_dir=tmp_path)
    assert len(list(pairs.source("train"))) == 2
    write_rows(tmp_path / "whole" / "train.jsonl", [{"text": "One .\nTwo ."}, {"text": "Three .\nFour ."}])
    whole = Hub(name="whole", heading=settings["heading"], data_dir=tmp_path)
    assert list(whole.source("train")) == ["One .\nTwo .", "Three .\nFour ."]


def test_hub_without_network_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    at_hub, nowhere = Hub(name="c4", path="allenai/c4", config="en"), Hub(name="english-books")
    for corpus in (at_hub, nowhere):
        for use in (lambda c: next(c.documents("train")), lambda c: parts(c)[1], Hub.fingerprint):
            with pytest.raises(UserError, match=r"put it at <LMLAB_DATA>/.*/train\.jsonl\.gz with the columns text"):
                use(corpus)


def test_a_hub_data_set_with_a_validation_split_uses_it(monkeypatch):
    import datasets

    there = {split: datasets.Dataset.from_list([{"text": split}]) for split in ("train", "valid", "test")}
    monkeypatch.setattr(sources, "open_hub", lambda *address: there)
    corpus = Hub(path="some/set")
    assert parts(corpus) == (["train"], ["valid"])
    assert corpus.fingerprint() == Hub(path="some/set", cache_dir="elsewhere").fingerprint()
    assert corpus.fingerprint() != Hub(path="some/set", revision="abc").fingerprint()


# --- fields ---------------------------------------------------------------------------------------------

BOOKS = [
    {"title": f"Book {i} ", "author": None if i % 2 else f"A. {i}", "text": f"Word {i}.\nEnd."} for i in range(200)
]


def test_rows_become_documents_of_fields_that_read_as_one_text(tmp_path):
    write_rows(tmp_path / "books" / "train.jsonl", BOOKS)
    write_rows(tmp_path / "books" / "validation.jsonl", [{"title": "", "author": " ", "text": None}, BOOKS[0]])
    columns = ["title", "author", "text"]
    local = Local(path=str(tmp_path / "books"), fields=columns)
    hub = Hub(name="books", data_dir=tmp_path, fields=columns)
    for corpus in (local, hub):
        train, validation = parts(corpus)
        assert train[0].fields == ("Book 0", "A. 0", "Word 0.\nEnd.") and train[0] == "Book 0\nA. 0\nWord 0.\nEnd."
        assert train[1].fields == ("Book 1", "", "Word 1.\nEnd.") and train[1] == "Book 1\nWord 1.\nEnd."
        assert [text.fields[0] for text in validation] == ["Book 0"]  # a document without text is none
    others = [Local(path=str(tmp_path / "books"), fields=each).fingerprint() for each in (columns[::-1], None)]
    assert len({local.fingerprint(), *others}) == 3


def test_of_few_documents_of_fields_the_last_field_is_divided(tmp_path):
    write_rows(tmp_path / "one.jsonl", [{"title": "Tea", "text": "word " * 1000}])
    (train,), (validation,) = parts(Local(path=str(tmp_path / "one.jsonl"), fields=["title", "text"]))
    assert train.fields[0] == validation.fields[0] == "Tea"
    assert f"{train.fields[1]} {validation.fields[1]}" == ("word " * 1000).strip() and 200 < len(validation) < 300


def test_fields_that_cannot_be_had_are_refused(tmp_path):
    write_rows(tmp_path / "books.jsonl", BOOKS)
    (tmp_path / "plain.txt").write_text("text\n" * 30)
    write_rows(tmp_path / "years.jsonl", [{"title": 1984, "text": "x"}])
    for name, fields, message in [
        ("books.jsonl", ["titel", "text"], "no field 'titel'; there are: title, author, text, did you mean 'title'"),
        ("plain.txt", ["title", "text"], "no field 'title'; there are: text"),
        ("years.jsonl", ["title", "text"], "row 1: field 'title' holds int 1984, not text"),
        ("books.jsonl", ["text"], "must name two columns or more"),
        ("books.jsonl", ["text", "text"], "each once"),
    ]:
        for kind in (Local, Hub):
            with pytest.raises(UserError, match=message):
                parts(kind(path=str(tmp_path / name), fields=fields))
    with pytest.raises(UserError, match="no field 'name'; there are: module, text"):
        PyDocs(fields=["name", "text"])
    for joins in ({"document": "all"}, {"heading": "^="}, {"rows_per_document": 2}):
        with pytest.raises(UserError, match="join rows"):
            Hub(name="books", fields=["title", "text"], **joins)


# --- fingerprints ---------------------------------------------------------------------------------------


def test_a_fingerprint_tells_contents_and_settings_apart_and_nothing_else(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    here, there = tmp_path / "here.txt", tmp_path / "there.txt"
    here.write_text("one two\n" * 50)
    there.write_text("one two\n" * 50)
    first = Text(path=str(here), cache_dir=cache).fingerprint()
    assert first == Text(path=str(there)).fingerprint()
    assert first != Text(path=str(here), document="line").fingerprint()
    assert first != Text(path=str(here), validation_fraction=0.1).fingerprint()

    def fail(path):
        raise AssertionError("read again though nothing changed")

    with monkeypatch.context() as patched:
        patched.setattr("lmlab.text.corpora.hash_file", fail)
        assert Text(path=str(here), cache_dir=cache).fingerprint() == first
    here.write_text("one twO\n" * 50)
    assert Text(path=str(here), cache_dir=cache).fingerprint() != first


@pytest.mark.parametrize("path", sorted((conf_dir() / "corpus").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_option_says_what_it_is_and_fits_its_class(path, tmp_path):
    from importlib import import_module

    text = path.read_text()
    settings = yaml.safe_load(text)
    assert text.startswith("# ") and len(text.splitlines()[0]) < 130
    assert all("  # " in line for line in text.splitlines()[2:]), "every key says what its value means"
    module, name = settings.pop("_target_").rsplit(".", 1)
    given = {key: "mine.d" if value == "???" else value for key, value in settings.items()}
    if path.stem == "hub":
        given["path"] = "some/set"
    getattr(import_module(module), name)(**given, data_dir=tmp_path, cache_dir=tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "train", "validation"), [("english-books", 3051, 62), ("tiny-shakespeare", 1, 1)])
def test_real_data(name, train, validation):
    import os

    if not os.environ.get("LMLAB_DATA"):
        pytest.skip("LMLAB_DATA is not set")
    corpus = Hub(name=name, document="all" if "shakespeare" in name else "row", data_dir=os.environ["LMLAB_DATA"])
    found = parts(corpus)
    assert (len(found[0]), len(found[1])) == (train, validation)
    if train == 1:
        assert found[0][0].startswith("First Citizen:\nBefore we proceed") and len(found[0][0]) > 1_000_000
