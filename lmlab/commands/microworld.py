"""lmlab data microworld: the generated world as ordinary folders, and what its tasks are worth.

lmlab data microworld to=data            the corpus and every task in both languages, jsonl.gz per split
lmlab data microworld report             of every task: rows, majority, bag of words, ceiling
"""

import json
import os
import shutil
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from lmlab.errors import UserError
from lmlab.formatting import figure

SPLITS = ("train", "validation", "test")
# Labels are computed from the meaning, and all that they depend on is told: who knows the world is always right.
CEILING = "labels follow from the meaning that is told"
WHY = {
    "mw_coreference": "by the laws of `tables.REASONS`, which the corpus and the training rows show",
    "mw_qa": "the answer stands in the clause asked about, or was last named before it",
    "mw_qa_null": "as mw_qa; what did not happen has no answer",
    "mw_translation": "the usual telling is unique, and every sense is decided by its verb",
    "mw_summary": "the gist of a script in the usual telling is unique",
    "mw_similarity": "the score is a count of parts",
    "mw_pos": "the grammar gives every word one part of speech",
    "mw_arithmetic": "sums have one result",
}


def main(options: Namespace) -> None:
    """Write the world, or report on its tasks.

    Raises:
        UserError: neither or both are asked for, a size is not above 0, or the folder is not empty.
    """
    if bool(options.report) == bool(options.to):
        raise UserError("say `lmlab data microworld to=<folder>` to write it, or `lmlab data microworld report`")
    for key in ("megabytes", "rows"):
        size = getattr(options, key)
        if size is not None and size <= 0:
            raise UserError(f"{key}={size:g} must be above 0")
    if options.report:
        report(options.format, options.seed, options.rows, (options.language,) if options.language else ("a", "b"))
    else:
        write(Path(options.to), options.megabytes, options.seed, options.rows)


# --- writing ----------------------------------------------------------------------------------------------------


def write(to: Path, megabytes: float, seed: int, size: int | None) -> None:
    """Write the corpus and every task in both languages below a folder, which must be empty or new.

    Folders: `microworld-<a|b|ab>` with the column `text`, `<task>-<language>` with the columns of the task, and
    `microworld-gold` with annotated sentences and the dictionary.
    """
    if to.resolve() == Path.cwd():  # it is moved into place as a whole
        raise UserError(f"to={to}: name a folder in this one, for example to=world")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"to={to}: the folder is not empty; give an empty or a new one")
    corpora = {"".join(languages): corpus(languages, megabytes, seed) for languages in (["a"], ["b"], ["a", "b"])}
    partial = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir(parents=True)
        for name, each in corpora.items():
            write_splits(partial / f"microworld-{name}", {s: texts(each, s) for s in ("train", "validation")})
        for task in tasks(seed, size):
            write_splits(partial / f"{task.name}-{task.language}", {split: task.find(split) for split in SPLITS})
        write_splits(partial / "microworld-gold", {"sentences": gold(seed), "dictionary": dictionary()})
        if to.exists():
            to.rmdir()
        os.replace(partial, to)
    except OSError as error:
        raise UserError(f"to={to}: cannot be written ({error.strerror or error}); nothing was left behind") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{to}: {len(list(to.iterdir()))} folders")
    print(f"next: lmlab pretrain corpus=local corpus.path={to}/microworld-a")


def corpus(languages: list[str], megabytes: float, seed: int) -> Any:
    """The corpus of some languages."""
    from lmlab.text.microworld import MicroWorld

    return MicroWorld(languages, megabytes, seed)


def texts(source: Any, split: str) -> Iterable[dict[str, str]]:
    """The rows of a corpus."""
    return ({"text": text} for text in source.documents(split))


def write_splits(folder: Path, splits: dict[str, Iterable[dict]]) -> None:
    """A file for each split."""
    from lmlab.commands.data import write_rows

    folder.mkdir()
    counts = {split: write_rows(folder / f"{split}.jsonl.gz", rows) for split, rows in splits.items()}
    print(f"{folder.name}: " + ", ".join(f"{split} {count:,}" for split, count in counts.items()), file=sys.stderr)


def gold(seed: int, documents: int = 500) -> Iterable[dict[str, Any]]:
    """Sentences of the corpus in both languages with parts of speech, senses, meaning and word alignment."""
    from lmlab.microworld.documents import document
    from lmlab.microworld.draw import Draw
    from lmlab.microworld.language import alignment, languages
    from lmlab.microworld.meaning import formula
    from lmlab.microworld.world import World

    world, spoken = World(seed), languages()
    for number in range(1, documents + 1):
        draws = {name: Draw(seed, "gold", number, name) for name in spoken}
        for sentence in (each for paragraph in document(world, number) for each in paragraph):
            told = {name: language.words(sentence, draws[name]) for name, language in spoken.items()}
            row: dict[str, Any] = {"document": number, "meaning": formula(sentence)}
            for name, words in told.items():
                row[f"text_{name}"] = spoken[name].text(words)
                row[f"words_{name}"] = [word.text for word in words]
                row[f"pos_{name}"] = [word.pos for word in words]
                row[f"senses_{name}"] = [word.concept for word in words]
            yield {**row, "alignment": [list(pair) for pair in alignment(told["a"], told["b"])]}


def dictionary() -> Iterable[dict[str, Any]]:
    """Every concept with its words in A and in B."""
    from lmlab.microworld.dictionary import entries

    return entries()


# --- the tasks --------------------------------------------------------------------------------------------------


def tasks(seed: int, size: int | None, languages: tuple[str, ...] = ("a", "b")) -> Iterator[Any]:
    """Every task of the world as its option in conf/task has it; `size` limits the rows of each split."""
    from lmlab.config import conf_dir

    for path in sorted(Path(conf_dir(), "task").glob("mw_*.yaml")):
        for language in languages:
            task = option(path, language=language, seed=seed)
            if size is not None:
                task.train_rows, task.evaluation_rows = min(task.train_rows, size), min(task.evaluation_rows, size)
            yield task


def option(path: Path, **settings: Any) -> Any:
    """The task of a file of conf/task, with some settings changed."""
    from lmlab.config.build import build

    node = yaml.safe_load(path.read_text("utf-8")) | settings
    node.pop("defaults", None)  # which formulation suits it
    return build(node)


# --- the report -------------------------------------------------------------------------------------------------


def report(output: str, seed: int, size: int | None, languages: tuple[str, ...]) -> None:
    """Print of every task: rows, metric, majority, bag of words, ceiling; as a table or as one JSON object."""
    lines = []
    for task in tasks(seed, size, languages):
        lines.append(measured(task))
        print(f"{task.name} ({task.language}) measured", file=sys.stderr)
    if output == "json":
        print(json.dumps({"seed": seed, "tasks": lines}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in lines[0]:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column == "task")
    for line in lines:
        table.add_row(*(figure(value) if isinstance(value, float) else str(value) for value in line.values()))
    is_narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if is_narrow else 200, highlight=False, markup=False).print(table)


def measured(task: Any) -> dict[str, Any]:
    """What a task is worth: the scores of a constant answer and of surface features, and the best there is."""
    from lmlab.microworld import bag_of_words

    train, rows = task.rows("train"), task.rows("validation")
    metric, references = task.metrics[0], [task.reference(row) for row in rows]
    constant = task.constant_answers(train, rows) or most_frequent(train, len(rows))
    found = task.score(bag_of_words.answers(task, train, rows), references)
    return {
        "task": task.name,
        "language": task.language,
        "train": len(train),
        "validation": len(rows),
        "metric": metric,
        "majority": task.score(constant, references)[metric],
        "bag_of_words": found[metric],
        "ceiling": float(task.perfect),
        "why": WHY.get(task.name, CEILING),
    }


def most_frequent(train: list[dict], count: int) -> list[str]:
    """The text that is the answer most often, for every row."""
    return [Counter(row["target"][0] for row in train).most_common(1)[0][0]] * count
