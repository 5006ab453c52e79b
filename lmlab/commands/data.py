"""lmlab data: which data sets there are, where they were found, and a copy of one for a machine without
network.

lmlab data list
lmlab data get squad to=data
lmlab data microworld to=data
lmlab data microworld report
LMLAB_DATA=data lmlab finetune task=squad
"""

import argparse
import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from lmlab.errors import UserError, nearest
from lmlab.text import sources

GROUPS = ("corpus", "task")  # the groups of options that name data sets


@dataclass
class DataSet:
    """A data set that an option in conf/ knows."""

    option: str  # how it is used, for example "task=squad"
    what: str  # the option's description
    name: str | None  # its folder in LMLAB_DATA
    hub: str | None  # its name on the hub
    config: str | None
    revision: str | None
    splits: dict[str, str]  # our names of splits -> the hub's, where they differ
    limit: int | None  # rows of each split that the option uses
    streaming: bool
    found: str  # where it is now


def main(argv: list[str] | None = None) -> int:
    """Run `lmlab data`; `argv` is what follows the command. Returns the exit code.

    Raises:
        UserError: an argument is wrong, or a data set cannot be had.
    """
    options = _parser().parse_args(_as_flags(sys.argv[2:] if argv is None else argv))
    if options.action == "list":
        show(options.data_dir, options.format)
    elif options.action == "microworld":
        from lmlab.commands import microworld

        microworld.main(options)
    else:
        get(options.name, Path(options.to), options.config, options.rows)
    return 0


# --- list -----------------------------------------------------------------------------------------------


def show(data_dir: str | None, output: str) -> None:
    """Print every data set that conf/ knows, as a table or as JSON."""
    known = data_sets(data_dir)
    if output == "json":
        print(json.dumps([asdict(entry) for entry in known], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("use", "folder", "found", "hub", "what"):
        table.add_column(column, overflow="fold", no_wrap=column in ("use", "folder"))
    for entry in known:
        hub = " ".join(part for part in (entry.hub, entry.config) if part)
        table.add_row(entry.option, entry.name or "", entry.found, hub, entry.what)
    is_narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if is_narrow else 200, highlight=False, markup=False).print(table)
    print(f"\nLMLAB_DATA: {data_dir or 'not set (a folder with one sub-folder per data set)'}")


def data_sets(data_dir: str | None) -> list[DataSet]:
    """Read every option of the groups `corpus` and `task`."""
    from lmlab.config import conf_dir

    folders = {group: Path(conf_dir(), group) for group in GROUPS}
    files = [(group, path) for group in GROUPS for path in sorted(folders[group].glob("*.yaml"))]
    return [_data_set(group, path, data_dir) for group, path in files]


def _data_set(group: str, path: Path, data_dir: str | None) -> DataSet:
    text = path.read_text("utf-8")
    settings = yaml.safe_load(text) or {}
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    name = settings.get("name" if group == "corpus" else "source")
    hub = settings if group == "corpus" else settings.get("hub")
    hub = {"path": hub} if isinstance(hub, str) else dict(hub or {})
    is_own = "train" in settings or "???" in settings.values()
    is_own = is_own or (group == "corpus" and "name" in settings and not name)
    entry = DataSet(
        option=f"{group}={path.stem}",
        what=comments[0] if comments else "",
        name=name,
        hub=None if is_own else hub.get("path"),
        config=hub.get("config"),
        revision=hub.get("revision"),
        splits=dict(hub.get("splits") or {}),
        limit=settings.get("max_documents"),
        streaming=bool(settings.get("streaming")),
        found="yours" if is_own else "embedded",
    )
    if not is_own and (entry.name or entry.hub):
        entry.found = _where(entry, data_dir)
    return entry


def _where(entry: DataSet, data_dir: str | None) -> str:
    """Where a data set is: the splits in LMLAB_DATA, "cache" for the hub's cache, or "-"."""
    splits = sources.local_splits(entry.name, data_dir) if entry.name else []
    if splits:
        return f"LMLAB_DATA ({', '.join(splits)})"
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    stored = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()
    folder = stored / (entry.hub or "").replace("/", "___")
    return "cache" if entry.hub and (folder / (entry.config or "")).is_dir() else "-"


# --- get ------------------------------------------------------------------------------------------------


def get(name: str, to: Path, config: str | None = None, rows: int | None = None) -> None:
    """Fetch a data set from the hub and write `<to>/<name>/<split>.jsonl.gz`; all of it or nothing.

    Args:
        name: a folder name or an option as `lmlab data list` shows them, or a name on the hub (owner/name).
        to: the folder that LMLAB_DATA will name.
        config: another configuration than the option's.
        rows: write at most so many rows of each split; None: what the option says, mostly all.

    Raises:
        UserError: the name is unknown, it cannot be fetched, or the folder exists already.
    """
    entry = _known(name)
    folder = to / (entry.name or name.rsplit("/", 1)[-1])
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it first, or give another folder with to=")
    config, limit = config or entry.config, rows or entry.limit
    try:
        splits = sources.open_hub(entry.hub, config, entry.revision, entry.streaming or limit is not None)
    except UserError as error:
        raise UserError(f"'{entry.hub}' cannot be fetched from the hub: {error}") from error
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir(parents=True)
        counts = {}
        for split, dataset in splits.items():
            ours = _our_name(split, entry.splits)
            print(f"{folder.name}: writing {ours} ...", file=sys.stderr)
            counts[ours] = write_rows(partial / f"{ours}.jsonl.gz", islice(sources.dataset_rows(dataset, split), limit))
        os.replace(partial, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); nothing was left behind") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{folder}: " + ", ".join(f"{split} {count:,} rows" for split, count in counts.items()))
    if "=" in entry.option:
        command = "pretrain" if entry.option.startswith("corpus") else "finetune"
        print(f"next: LMLAB_DATA={to} lmlab {command} {entry.option}")


def _known(name: str) -> DataSet:
    """The data set that a folder name, an option or a hub name means; it has a name on the hub."""
    known = data_sets(None)
    for entry in known:
        if name in (entry.name, entry.option, entry.option.split("=")[1]):
            if entry.hub:
                return entry
            raise UserError(f"'{name}' cannot be fetched: {entry.what}")
    if "/" in name or Path(name).is_dir():
        return DataSet(name, "", None, name, None, None, {}, None, False, "-")
    names = sorted({n for entry in known if entry.hub for n in (entry.name, entry.option.split("=")[1]) if n})
    hint = nearest(name, names) or "."
    raise UserError(f"unknown data set '{name}'{hint} Known: {', '.join(names)}; or a name on the hub (owner/name)")


def _our_name(split: str, renamed: Mapping[str, str]) -> str:
    """What lmlab calls a split of the hub."""
    for ours, theirs in renamed.items():
        if theirs == split:
            return ours
    return next((ours for ours, names in sources.OTHER_NAMES.items() if split in names), split)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as compressed JSON lines, the same bytes for the same rows. Returns how many."""
    count = 0
    with open(path, "wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
        for row in rows:
            try:
                line = json.dumps(row, ensure_ascii=False, default=_plain)
            except TypeError as error:
                raise UserError(
                    f"{path.name}, row {count + 1}: {error}; only text, numbers and lists are copied"
                ) from error
            file.write(line.encode() + b"\n")
            count += 1
    return count


def _plain(value: Any) -> Any:
    """What JSON has no word for: dates, and arrays."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a column holds {type(value).__name__}")


# --- the command line -----------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> None:
        raise UserError(f"lmlab data: {message}. See lmlab data --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lmlab data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(
        dest="action", required=True, parser_class=_Parser, metavar="list | get | microworld"
    )
    listing = actions.add_parser("list", help="every data set that conf/ knows, and where it was found")
    listing.add_argument(
        "--data_dir", default=os.environ.get("LMLAB_DATA"), help="instead of LMLAB_DATA: data_dir=FOLDER"
    )
    listing.add_argument("--format", choices=["table", "json"], default="table", help="format=json for programs")
    getting = actions.add_parser("get", help="fetch a data set from the hub: get NAME to=FOLDER")
    getting.add_argument("name", help="as `lmlab data list` shows it, or owner/name on the hub")
    getting.add_argument("--to", required=True, help="the folder that LMLAB_DATA will name: to=FOLDER")
    getting.add_argument("--config", help="which configuration of the hub data set: config=NAME")
    getting.add_argument("--rows", type=int, help="at most so many rows of each split: rows=1000")
    world = actions.add_parser("microworld", help="write the generated world to=FOLDER, or report on its tasks")
    world.add_argument("report", nargs="?", choices=["report"], help="of every task: majority, bag of words, ceiling")
    world.add_argument("--to", help="an empty or new folder for corpus and tasks: to=FOLDER")
    world.add_argument("--megabytes", type=float, default=10, help="size of each corpus: megabytes=10")
    world.add_argument("--seed", type=int, default=0, help="which world: seed=0")
    world.add_argument("--rows", type=int, help="at most so many rows of each split of a task: rows=1000")
    world.add_argument("--language", choices=["a", "b"], help="report on one language only: language=a")
    world.add_argument("--format", choices=["table", "json"], default="table", help="of the report: format=json")
    return parser


def _as_flags(words: list[str]) -> list[str]:
    """key=value, as everywhere in lmlab, becomes --key value; task=squad stays the name of a data set."""
    flags: list[str] = []
    for word in words:
        key, sign, value = word.partition("=")
        flags += [f"--{key}", value] if sign and key not in GROUPS and key.isidentifier() else [word]
    return flags
