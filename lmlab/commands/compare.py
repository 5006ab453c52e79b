"""lmlab compare: runs side by side, with what differs between them, what came of it, and whether it is but noise.

lmlab compare
lmlab compare outputs/pretrain/2026-01-31 metric=perplexity
lmlab compare run-a run-b paired=true
lmlab compare outputs/finetune against=run-a html=table.html
lmlab compare outputs/evaluate x=formulation.shots plot=curve.png
"""

import argparse
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmlab.errors import UserError, nearest
from lmlab.formatting import console
from lmlab.runs.statistics import RESAMPLES

if TYPE_CHECKING:  # what reads and shows runs is imported once the words are understood
    from rich.console import Console

    from lmlab.runs.compare import Entry, Question, Row, Table
    from lmlab.tasks.base import Task

OPTIONS = ("metric", "paired", "against", "resamples", "format", "html", "x", "plot")
PATIENCE = 1.0  # seconds of silence before a line tells what takes so long


class Parser(argparse.ArgumentParser):
    """Tells a mistake as all commands do, instead of printing its usage and exiting with 2."""

    def error(self, message: str):
        raise UserError(f"{message}. See `lmlab compare --help`.")


def main(argv: list[str] | None = None) -> int:
    """Compare runs; `argv` is what follows `lmlab compare`. Returns the exit code.

    Raises:
        UserError: no runs, no such folder, option or metric, or nothing of which a difference can be tested.
    """
    options = _parser().parse_args(_as_flags(sys.argv[2:] if argv is None else argv))
    if bool(options.plot) != bool(options.x):
        raise UserError("plot=FILE and x=KEY go together: the picture, and the key of the config on its axis")
    compare(options)
    return 0


def compare_sweep(folder: Path) -> None:
    """Show the runs of a sweep that has just ended, if there is anything to compare."""
    from lmlab.runs.find import runs

    if sum(run.status() == "finished" for run in runs(folder)) > 1:
        print(f"\nlmlab compare {folder}")
        main([str(folder)])


def compare(options: argparse.Namespace) -> None:
    """Read the runs, arrange them, test their differences, show them."""
    from lmlab.runs import compare as runs

    metrics, asked = _names(options.metric), options.paired is True or options.against is not None
    entries, unreadable = runs.load(options.folders)
    tables = runs.tables(entries, metrics, by_arm=options.paired is True)
    if options.against and options.against not in _row_names(tables):
        entries, unreadable = runs.load([*(options.folders or [runs.outputs_root()]), options.against])
        tables = runs.tables(entries, metrics, by_arm=True)
    if asked or (options.paired is None and len(options.folders) == 2):
        add_tests(tables, options, asked)
    if options.html:
        write_html(Path(options.html), tables)
    if options.plot:
        write_plot(Path(options.plot), tables, options.x)
    if options.format == "json":
        print(runs.as_json(tables, unreadable))
        return
    show(tables, console())
    for path, reason in unreadable.items():
        print(f"left out, cannot be read: {path} ({reason})", file=sys.stderr)


def show(tables: "list[Table]", console: "Console") -> None:
    """Print the tables, one below the other."""
    from lmlab.runs.compare import render

    for table in tables:
        console.print(render(table, console))
        console.print()


def write_html(path: Path, tables: "list[Table]") -> None:
    """The tables as a page that needs no other file."""
    from rich.console import Console

    from lmlab.files import atomic_write

    _refuse_no_folder("html", path)
    with open(os.devnull, "w") as nowhere:
        console = Console(highlight=False, force_jupyter=False, width=400, record=True, file=nowhere)
        show(tables, console)
    atomic_write(path, console.export_html())


def write_plot(path: Path, tables: "list[Table]", key: str) -> None:
    """The first metric of the tables against a key of the config, as a picture."""
    from lmlab.runs import compare as runs

    _refuse_no_folder("plot", path)
    panels = runs.panels(tables, key)
    runs.draw(path, panels, key)
    for name in (name for panel in panels for name in panel.left_out):
        print(f"left out of {path}, has no number at {key}: {name}", file=sys.stderr)


def _refuse_no_folder(option: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"{option}={path}: there is no folder {path.parent}")


# ---- whether rows differ


def add_tests(tables: "list[Table]", options: argparse.Namespace, asked: bool) -> None:
    """Hold the rows of each table against each other. Not `asked`: only where there are just two; a note says why not.

    Raises:
        UserError: tests were asked for, and there is nothing that can be tested.
    """
    from lmlab.runs.compare import test

    references = _references(tables, options.against) if options.against else [None] * len(tables)
    for table, reference in zip(tables, references, strict=True):
        finished = [row for row in table.rows if row.status == "finished"]
        if not asked and (why := _why_not_two(finished)):
            table.notes.append(f"not tested: {why}")
        elif len(finished) > 1 and (reference or not options.against):
            with telling(f"{table.title}: drawing examples anew {options.resamples} times"):
                table.tests = test(finished, table.metrics, question, reference, options.resamples)
    correct_suites(tables)
    found = [each for table in tables for each in table.tests]
    if asked and not any(each.found for each in found):
        raise UserError(f"No difference can be tested. {_why_none(tables, [each.problem for each in found])}")


def _why_not_two(finished: "list[Row]") -> str:
    """Why the finished rows of two folders are not tested unasked; "" if they are."""
    if len(finished) == 2:
        return ""
    if len(finished) > 2:
        return f"{len(finished)} rows; paired=true holds each against the best one"
    if len({entry.arm for row in finished for entry in row.entries}) > 1:
        return "both folders hold the same experiment, one row; paired=true keeps them apart"
    return "it takes two finished rows of one command and task"


def correct_suites(tables: "list[Table]") -> None:
    """Correct the tests of a suite's tasks for the number of all of them, not for each task by itself."""
    from lmlab.runs.compare import correct

    suites = [entry.run.path.absolute() for table in tables if table.is_suite for entry in _entries(table)]
    parts = [table for table in tables if not table.is_suite and all(_in_one(suites, each) for each in _entries(table))]
    tests = [(table, each) for table in parts for each in table.tests if each.found]
    families = {(table.title, each.metric): each.family for table, each in tests}
    correct([each for _, each in tests], sum(families.values()))


def _entries(table: "Table") -> "list[Entry]":
    return [entry for row in table.rows for entry in row.entries]


def _in_one(folders: list[Path], entry: "Entry") -> bool:
    return any(_inside(folder, entry) for folder in folders)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say on standard error what takes so long, if it does."""
    timer = threading.Timer(PATIENCE, print, [what], {"file": sys.stderr, "flush": True})
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _references(tables: "list[Table]", against: str) -> "list[Row | None]":
    """The row of each table that holds what was named."""
    from lmlab.runs.find import place

    named = [[row for row in table.rows if row.name == against] for table in tables]
    if not any(named):
        path = place(against).absolute()
        named = [[row for row in table.rows if all(_inside(path, each) for each in row.entries)] for table in tables]
    if not any(named):
        raise UserError(f"against={against} is none of the rows compared: {', '.join(_row_names(tables))}")
    for table, rows in zip(tables, named, strict=True):
        if len(rows) > 1:
            listed = ", ".join(row.name for row in rows)
            raise UserError(f"against={against} is several rows of the table {table.title}: name one of {listed}")
        if rows and rows[0].status != "finished":
            raise UserError(f"against={against}: {rows[0].name} did not finish ({rows[0].status})")
    return [rows[0] if rows else None for rows in named]


def _inside(path: Path, entry: "Entry") -> bool:
    return entry.run.path.absolute().is_relative_to(path)


def _row_names(tables: "list[Table]") -> list[str]:
    return [row.name for table in tables for row in table.rows]


def _why_none(tables: "list[Table]", problems: list[str]) -> str:
    if problems:
        return "; ".join(dict.fromkeys(problems))
    kinds = "; ".join(f"{table.title}: {', '.join(row.name for row in table.rows)}" for table in tables)
    return f"It takes two finished rows of one command and task, and there are {kinds}"


def question(entry: "Entry", metric: str) -> "Question":
    """How a metric of a run follows from its predictions, by the task in its config.

    Raises:
        ValueError: it does not.
    """
    from lmlab.runs.compare import Question

    other = next((name for name in _evaluated_on(entry) if metric.startswith(f"{name}.")), None)
    task, name = _task(entry, other), metric.removeprefix(f"{other}.")
    for split in task.evaluation_splits:
        if name.endswith(ending := task.metric_key("", split)):
            break
    else:
        raise ValueError(f"{metric} is not of one of the splits {', '.join(task.evaluation_splits)}")
    file, bare = f"predictions-{other}.jsonl" if other else "predictions.jsonl", name.removesuffix(ending)
    if bare not in task.metrics:
        raise ValueError(f"{metric} does not follow from predictions, only {', '.join(task.metrics)}")
    task.metrics = [bare]  # the others need not be computed
    return Question(file, split if ending else None, lambda lines: task.tallies(bare, *task.from_records(lines)))


def _evaluated_on(entry: "Entry") -> list[str]:
    """The other tasks that a run was scored on, the longest name first."""
    return sorted(entry.run.config().get("evaluate_on") or [], key=len, reverse=True)


def _task(entry: "Entry", other: str | None) -> "Task":
    """The task of a run, or another one by its name."""
    from lmlab.config.build import build
    from lmlab.config.options import read_option, search_folders
    from lmlab.runs.record import RunFolder

    config = entry.run.config()
    node: Any = read_option("task", other, search_folders()) if other else config.get("task")
    if not node and entry.summary["task"]:  # `evaluate` on the task that its run was trained for
        node = RunFolder(entry.summary["init"]).config().get("task")
    if not node:
        raise ValueError(f"{entry.run.path} was not scored on a task")
    try:
        return build(node, _key="task", data_dir=config.get("data_dir"), cache_dir=config.get("cache_dir"))
    except UserError as error:  # a class that is not here, ...
        raise ValueError(str(error)) from error


# ---- the command line


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lmlab compare",
        allow_abbrev=False,
        description="A table of runs, best first: the config keys that differ (only those), the metric, "
        "tokens/s, time and parameters. Runs that differ only in their seed make one row: mean ± half of its 95 % "
        "interval, and the best seed. The score of an answer that is always the same (baseline) stands beside. A suite "
        "has a table of its own, with its averages. Whether two rows differ by more than noise is tested on their "
        "predictions, with seeds and examples both counted as noise.",
        epilog="examples: lmlab compare | lmlab compare outputs/pretrain metric=perplexity | "
        "lmlab compare RUN RUN paired=true | lmlab compare RUN RUN format=json | "
        "lmlab compare outputs/evaluate x=formulation.shots plot=curve.png",
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="runs or folders of runs (default: outputs)")
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="order by this metric, also written metric=NAME; several, separated by commas, are all shown "
        "(default: what the pre-trained models did afterwards, else their loss and perplexity; else the task's metric)",
    )
    parser.add_argument(
        "--paired",
        type=_truth,
        metavar="true|false",
        help="test each row against the best one; runs of different FOLDERs then make different rows. By itself "
        "where two FOLDERs are given and a table has two rows",
    )
    parser.add_argument("--against", metavar="RUN", help="test each row against this run, row or folder of seeds")
    resamples = {"type": _count, "default": RESAMPLES, "metavar": "N"}
    parser.add_argument("--resamples", **resamples, help=f"draw the examples anew so often (default: {RESAMPLES})")
    formats = {"choices": ("table", "json"), "default": "table"}
    parser.add_argument("--format", **formats, help="also written format=json: one JSON object, nothing else")
    parser.add_argument("--html", metavar="FILE", help="write the tables to an HTML page, too")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the metric against a number of the config (png, svg, pdf): a curve for each other difference "
        "between the runs, with the 95 %% interval where there are several seeds",
    )
    parser.add_argument("--x", metavar="KEY", help="that number, with plot=: x=formulation.shots, x=optimizer.lr")
    return parser


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"true or false, not {text}")
    return text.lower() == "true"


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"a number of at least 2, not {text}")
    return int(text)


def _as_flags(argv: list[str]) -> list[str]:
    """Let `key=value` stand for `--key value`, as in the other commands; a folder's name may hold a `=`."""
    flags = []
    for word in argv:
        key, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+", key) or Path(word).exists():
            flags.append(word)
        elif key in OPTIONS:
            flags += [f"--{key}={value}"]
        else:
            known = ", ".join(f"{name}=" for name in OPTIONS)
            raise UserError(f"compare has no {key}={nearest(key, OPTIONS)}; it takes folders, {known}.")
    return flags


def _names(given: list[str] | None) -> list[str]:
    return [name.strip() for each in given or [] for name in each.split(",") if name.strip()]
