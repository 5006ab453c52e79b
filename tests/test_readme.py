"""Every command in the README runs, shortened to a few steps, in the order in which a newcomer types them."""

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import OUTSIDE, REPOSITORY

from lmlab.cli import COMMANDS, main

README = (REPOSITORY / "README.md").read_text()
SHORT = ("trainer.max_steps=2", "trainer.eval_tokens=512", "trainer.eval_every=null", "trainer.device=cpu")
INSTEAD = {  # the same words with less to do
    "corpus.packages=[torch,numpy]": ["corpus.packages=[pluggy]"],
    "model=bert,bert_tiny": ["model=bert_tiny", "trainer.batch_tokens=512"],
    "seed=0,1": ["seed=0,1"],
    "--config-dir": ["--config-dir", str(OUTSIDE / "conf")],
    "experiment=bart_noises": [
        "experiment=bart_noises",
        "hydra.mode=RUN",
        "then.topic='finetune task=pydocs_topic trainer.max_steps=2'",
    ],
    "experiment=mw_pet": ["experiment=mw_pet", "hydra.mode=RUN", "task.train_rows=40", "task.evaluation_rows=20"],
    'then.topic="finetune task=pydocs_topic"': ["then.topic='finetune task=pydocs_topic trainer.max_steps=2'"],
    'then.order="evaluate objective=sop"': ["then.order='evaluate objective=sop max_tokens=2048'"],
    "max_tokens=65536": ["max_tokens=2048"],
    "seeds=3": ["seeds=2"],
    "corpus.megabytes=10": ["corpus.megabytes=0.2"],
    "corpus.megabytes=4": ["corpus.megabytes=0.05"],
    "corpus=microworld": ["corpus=microworld", "corpus.megabytes=0.1"],
    "task=mw_nli": ["task=mw_nli", "task.train_rows=40", "task.evaluation_rows=20"],
    "task=mw_sentiment": ["task=mw_sentiment", "task.train_rows=40", "task.evaluation_rows=20"],
    "task=mw_arithmetic": ["task=mw_arithmetic", "task.train_rows=40", "task.evaluation_rows=10"],
    "ensemble=pet": ["ensemble=pet", "ensemble.repetitions=1", "ensemble.student.max_steps=2"],
    "suite=fewglue": ["task=fewglue_copa"],
    "suite=mw_glue": ["suite=mw_glue", "task.max_train_rows=40", "task.max_evaluation_rows=20"],
    "report": ["report", "rows=60"],
    "to=world": ["to=world", "rows=20", "megabytes=0.1"],
    "learning_rates=[1e-4,1e-3]": ["learning_rates=[1e-4,1e-3]", "+task.held_out=0.5"],  # of a few rows
    "paired=true": ["paired=true", "resamples=20"],
    "init=hf:google-bert/bert-base-uncased": ["init=hf:my-model"],  # there is no hub to ask
    "run=hf:google-bert/bert-base-uncased": ["run=hf:my-model", "max_tokens=2048"],
}
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
GLUE_COLUMNS = ("sentence", "sentence1", "sentence2", "question", "question1", "question2", "premise", "hypothesis")
NOT_LMLAB = ("pip install", 'eval "$(lmlab -sc')  # CI installs with the README's command; test_cli tries completion


def lines() -> list[str]:
    """The command lines of the README's bash blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


COMMAND_LINES = [line for line in lines() if not line.startswith(NOT_LMLAB)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the newcomer works: a book, a folder of text, and the data sets that the README names."""
    folder = tmp_path_factory.mktemp("newcomer")
    text = "\n".join(f"The {kind} of sentence {n} is {n * n}, said the man." for n in range(300) for kind in "abc")
    (folder / "book.txt").write_text(text)
    write(folder / "folder" / "part.jsonl", [{"text": text[i : i + 2000]} for i in range(0, 40_000, 2000)])
    books = [{"title": "A Book", "author": "A Man", "text": text[i : i + 1500]} for i in range(0, 30_000, 1500)]
    sentiment = [
        dict.fromkeys(GLUE_COLUMNS, f"a {word} film {n}") | {"label": int(word == "good")}
        for n in range(8)
        for word in ("good", "bad")
    ]
    answer = {"text": ["the sea"], "answer_start": [7]}
    questions = [{"id": str(n), "context": "He saw the sea.", "question": "What?", "answers": answer} for n in range(8)]
    translations = [{"en": f"{n} dogs run", "de": f"{n} Hunde laufen"} for n in range(8)]
    choice = {"premise": "It rained.", "choice1": "He got wet.", "choice2": "He ate.", "question": "effect", "label": 0}
    pairs = [{"sentence_good": f"{n} dogs run", "sentence_bad": f"{n} dogs runs", "UID": "number"} for n in range(8)]
    found = {f"glue-{name}": sentiment for name in GLUE} | {"english-books": books, "squad": questions}
    found |= {"multi30k": translations, "fewglue-copa": [choice] * 4}
    for name, rows in found.items():
        for split in ("train", "validation", "validation_matched", "validation_mismatched"):
            write(folder / "data" / name / f"{split}.jsonl", rows)
    for split in ("validation.de", "validation.zh"):
        write(folder / "data" / "xquad" / f"{split}.jsonl", questions)
    write(folder / "data" / "blimp" / "test.jsonl", pairs)
    (folder / "reviews.csv").write_text("text,stars\n" + "".join(f"a film {n},{n % 2}\n" for n in range(40)))
    return folder


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def shortened(words: list[str]) -> list[str]:
    """The same command with a few steps to do."""
    words = [each for word in words for each in INSTEAD.get(word, [word]) if word != "tests/outside_package/conf"]
    if words[0] == "audit":
        return [*words, "examples=100"]
    return [*words, *SHORT] if words[0] in ("pretrain", "finetune") and "--cfg" not in words else words


@pytest.fixture
def no_hub(monkeypatch):
    """`lmlab data get` without a network: a data set that is there stands in for the hub's."""
    import datasets

    rows = datasets.Dataset.from_list([{"text": "To be, or not to be.\n" * 40}])
    found = datasets.DatasetDict(train=rows, validation=rows)
    monkeypatch.setattr("lmlab.text.sources.open_hub", lambda *_, **__: found)


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_of_the_readme(line, folder, monkeypatch, capsys, no_hub):
    words = shlex.split(line)
    monkeypatch.chdir(folder)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value) if name == "LMLAB_DATA" else monkeypatch.syspath_prepend(str(OUTSIDE))
    assert words.pop(0) == "lmlab"
    if words[:3] == ["data", "get", "squad"]:
        words[-1] = "to=fetched"
    code = main(shortened(words))
    assert code == 0, capsys.readouterr().err


def test_python_of_the_readme(tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(block.replace('"trainer=debug"', '"trainer=debug", "trainer.max_steps=2", "trainer.device=cpu"'), {})


def test_every_command_and_option_of_the_words_is_named():
    for name in COMMANDS:
        assert f"lmlab {name}" in README
    for group in (
        "model",
        "objective",
        "corruption",
        "corpus",
        "tokenizer",
        "optimizer",
        "schedule",
        "trainer",
        "task",
    ):
        for path in (REPOSITORY / "conf" / group).glob("*.yaml"):
            assert f"`{path.stem}`" in README, f"{group}={path.stem}"
