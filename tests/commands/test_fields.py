"""Fields as conditions, end to end: trained on rows, audited, and one field asked for given others."""

import json

import pytest

from lmlab.audit.judge import IMPOSSIBLE, OFF
from lmlab.loading import load
from lmlab.text.corpora import Local

AUTHORS = {"Tea": "Anna Lee", "Salt": "Omar Said", "Iron": "Maria Cruz", "Rain": "John Berg"}
FIELDS = ("model=gpt", "objective=field_lm", "corpus.fields=[title,author,text]")
TINY = (
    "tokenizer.vocab_size=300", "seq_len=32", "model.hidden_size=64", "model.num_layers=2", "model.num_heads=2",
    "model.dropout=0", "model.attention_dropout=0", "trainer.batch_tokens=512", "trainer.eval_tokens=512",
    "trainer.device=cpu",
)  # fmt: skip
REAL = {
    "english-books": "title,author,text",
    "english-textbooks": "title,book,text",
    "scitldr": "title,summary,document",
}


@pytest.fixture
def rows(tmp_path):
    """Documents of four titles; every tenth has no author."""
    path = tmp_path / "rows.jsonl"
    with open(path, "w") as file:
        for number in range(200):
            title = list(AUTHORS)[number % 4]
            author = AUTHORS[title] if number % 10 else None
            text = f"All about {title.lower()}. " * (1 + number % 7)
            file.write(json.dumps({"title": title, "author": author, "text": text}) + "\n")
    return ("corpus=local", f"corpus.path={path}")


@pytest.mark.slow
def test_a_model_learns_to_write_a_field_given_others(run_lmlab, rows, tmp_path):
    quick = ("objective.drop_rate=0", "objective.body_only_rate=0", "optimizer.lr=5e-3", "trainer.max_steps=300")
    done = run_lmlab("pretrain", *FIELDS, *TINY, *rows, *quick)
    assert done.returncode == 0, done.stderr
    (summary,) = tmp_path.glob("outputs/pretrain/*/*/summary.json")
    model = load(summary.parent)
    for title, author in AUTHORS.items():
        assert model.generate(f"<title>{title}<author>", temperature=0) == [author.lower()]
        assert model.generate(f"<author>{author}<title>", temperature=0) == [title.lower()]
    done = run_lmlab("generate", "<autor>Anna Lee<title>")
    assert (done.returncode, done.stdout) == (1, "")
    assert "<autor> is no field; this model knows <title>, <author>, <text>, did you mean 'author'?" in done.stderr
    done = run_lmlab("evaluate", "objective=causal_lm", "format=json")  # the same documents, as plain text
    assert done.returncode == 0 and json.loads(done.stdout)["metrics"]["loss"] > 0


def audited(run_lmlab, *words):
    """The figures of an audit by name."""
    done = run_lmlab("audit", *FIELDS[:2], *words, "format=json")
    assert done.returncode == 0, done.stderr
    figures = [figure for part in json.loads(done.stdout)["parts"] for figure in part["figures"]]
    assert not [figure for figure in figures if figure["verdict"] in (OFF, IMPOSSIBLE)]
    return {f"{figure['group']}: {figure['name']}": figure for figure in figures}


@pytest.mark.slow
def test_the_audit_counts_fields(run_lmlab, rows):
    figures = audited(run_lmlab, FIELDS[2], *TINY[:2], *rows, "examples=null")
    assert figures["fields: text left out"]["value"] == 0
    for name in ("title", "author"):
        assert figures[f"fields: {name} left out"]["expected"] == pytest.approx(1 - 0.9 * 0.65)
    assert figures["text of an epoch: documents without author"]["value"] == pytest.approx(0.1, abs=0.02)
    assert 0 < figures["text of an epoch: documents in several sequences"]["value"] < 1


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_fields_of_real_data_pass_the_audit(run_lmlab, name):
    words = ("corpus=hub", f"corpus.name={name}", f"corpus.fields=[{REAL[name]}]", "corpus.max_documents=150")
    figures = audited(run_lmlab, *words, "tokenizer.vocab_size=2000", "seq_len=128", "examples=1000")
    assert figures["room: padding"]["value"] < 0.3


def test_a_field_that_the_rows_lack_is_told_before_anything_is_written(run_lmlab, rows, tmp_path):
    done = run_lmlab("pretrain", *FIELDS[:2], "corpus.fields=[titel,text]", *TINY, *rows)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "line 1: no field 'titel'; there are: title, author, text, did you mean 'title'?" in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_fields_in_another_order_are_refused(run_lmlab, rows, tmp_path):
    assert run_lmlab("pretrain", *FIELDS, *TINY, *rows, "trainer.max_steps=2").returncode == 0
    other = "corpus.fields=[text,author,title]"
    for words in (("evaluate", "run=latest"), ("pretrain", *FIELDS[:2], *TINY, "init=outputs/pretrain")):
        done = run_lmlab(*words, *rows, other)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "corpus.fields=[text,author,title]: the model was trained on [title,author,text]" in done.stderr


def test_a_document_without_a_body_is_in_one_split_only(tmp_path):
    texts = ["A long text with many words to cut. " * 9, None, "x", "Another text with many words. " * 9]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"title": f"T{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    corpus = Local(path=str(path), fields=["title", "text"])
    titles = {split: [each.fields[0] for each in corpus.documents(split)] for split in ("train", "validation")}
    assert titles["train"] == ["T0", "T1", "T2", "T3"] and not {"T1", "T2"} & set(titles["validation"])
