"""lmlab compare: runs side by side, with what differs between them and what came of it.

lmlab compare
lmlab compare outputs/pretrain/2026-01-31 metric=perplexity
lmlab compare run-a run-b format=json
"""

import argparse
import os
import re
import sys
from pathlib import Path

from lmlab.errors import UserError, nearest

OPTIONS = ("metric", "format")


class Parser(argparse.ArgumentParser):
    """Tells a mistake as all commands do, instead of printing its usage and exiting with 2."""

    def error(self, message: str):
        raise UserError(f"{message}. See `lmlab compare --help`.")


def main(argv: list[str] | None = None) -> int:
    """Compare runs; `argv` is what follows `lmlab compare`. Returns the exit code.

    Raises:
        UserError: no runs, no such folder, option or metric.
    """
    compare(_parser().parse_args(_as_flags(sys.argv[2:] if argv is None else argv)))
    return 0


def compare_sweep(folder: Path) -> None:
    """Show the runs of a sweep that has just ended, if there is anything to compare."""
    from lmlab.runs.find import runs

    if sum(run.status() == "finished" for run in runs(folder)) > 1:
        print(f"\nlmlab compare {folder}")
        main([str(folder)])


def compare(options: argparse.Namespace) -> None:
    """Read the runs, arrange them, show them."""
    from lmlab.runs import compare as runs

    entries, unreadable = runs.load(options.folders)
    tables = runs.tables(entries, _names(options.metric))
    if options.format == "json":
        print(runs.as_json(tables, unreadable))
        return
    console = _console()
    for table in tables:
        console.print(runs.render(table, console))
        console.print()
    for path, reason in unreadable.items():
        print(f"left out, cannot be read: {path} ({reason})", file=sys.stderr)


def _console():
    """A console as wide as the terminal; as wide as needed in a file or a pipe."""
    from rich.console import Console

    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, force_jupyter=False, width=400 if wide else None)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lmlab compare",
        allow_abbrev=False,
        description="A table of runs, best first: the config keys that differ (only those), the metric, "
        "tokens/s, time and parameters. Runs that differ only in their seed make one row: mean ± standard "
        "deviation.",
        epilog="examples: lmlab compare | lmlab compare outputs/pretrain metric=perplexity | "
        "lmlab compare RUN RUN format=json",
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="runs or folders of runs (default: outputs)")
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="order by this metric, also written metric=NAME; several, separated by commas, are all shown "
        "(default: what the pre-trained models did afterwards, else their loss and perplexity; else the task's metric)",
    )
    formats = {"choices": ("table", "json"), "default": "table"}
    parser.add_argument("--format", **formats, help="also written format=json: one JSON object, nothing else")
    return parser


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
            known = " and ".join(f"{name}=" for name in OPTIONS)
            raise UserError(f"compare has no {key}={nearest(key, OPTIONS)}; it takes folders, {known}.")
    return flags


def _names(given: list[str] | None) -> list[str]:
    return [name.strip() for each in given or [] for name in each.split(",") if name.strip()]
