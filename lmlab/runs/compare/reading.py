"""From run folders to entries of a table."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from lmlab.errors import UserError
from lmlab.runs.find import gatherings, outputs_root, place, resolve, runs
from lmlab.runs.record import RunFolder, config_hash, defines_experiment, flatten, plain

# The groups whose option the summary names; the option's name stands for all the keys it brings.
WORDS = ("model", "objective", "corruption", "corpus", "task", "formulation", "ensemble", "tuning")
ABSENT = "-"


@dataclass
class Entry:
    """One run that was read, or one seed's pass through a suite of tasks.

    Attributes:
        config: dotted key -> value of what defines the experiment; a group's key holds its option's name.
        said: the keys that the user set for this run, as far as that is known.
        status: finished, interrupted, failed or running.
        metrics: the final figures; of an unfinished run the last evaluation.
        followers: what was done with its model (`then`), in order; their figures are metrics called <name>_<metric>.
        arm: which of the folders named on the command line it is from, the innermost one; 0 where none is named.
        is_suite: whether it is of a suite: `run` is then the suite's folder, the same for all seeds, and `metrics` are
            the averages and every task's number.
    """

    run: RunFolder
    summary: dict
    config: dict[str, str]
    said: set[str]
    status: str
    metrics: dict[str, float | None]
    started: float
    followers: list[str]
    arm: int = 0
    is_suite: bool = False

    def show(self, key: str) -> str:
        """A key of the config, or a hash of the summary, as text."""
        if key in ("data_hash", "tokenizer_hash"):
            return _text(self.summary[key])
        return self.config.get(key, ABSENT)


def load(folders: Sequence[str | os.PathLike] = ()) -> tuple[list[Entry], dict[str, str]]:
    """Read all runs in the folders given (default: `outputs`), which may be named as the tables name them.

    Returns:
        The runs, newest first, and after them those of suites; path -> reason for those that cannot be read.

    Raises:
        UserError: a folder does not exist, or there is no run at all.
    """
    roots = [_folder(folder) for folder in folders] or [outputs_root()]
    found = {run: None for root in roots for run in runs(root)}
    if not found:
        where = ", ".join(str(Path(root).absolute()) for root in roots)
        raise UserError(f"There is no run in {where} yet: make one with `lmlab pretrain`, then compare.")
    entries, unreadable = [], {}
    for run in found:
        try:
            entries.append(replace(read(run), arm=_innermost(run.path, roots)))
        except ValueError as error:
            unreadable[str(run.path)] = str(error)
    if not entries:
        reasons = "; ".join(f"{path} ({reason})" for path, reason in unreadable.items())
        raise UserError(f"None of the runs can be read: {reasons}")
    name_sources(entries)
    folders = dict.fromkeys(folder for root in roots for folder in gatherings(root))
    suites = [entry for folder in folders for entry in read_suite(folder, entries, _innermost(folder.path, roots))]
    return entries + suites, unreadable


def _folder(name: str | os.PathLike) -> Path:
    path = place(name)
    return path if path.is_dir() else resolve(path).path  # which says what is wrong with a file


def _innermost(path: Path, roots: Sequence[Path]) -> int:
    """The index of the root that holds a path; where roots hold each other, of the deepest."""
    above = {path.absolute(), *path.absolute().parents}
    depths = [len(root.absolute().parts) if root.absolute() in above else -1 for root in roots]
    return depths.index(max(depths))


def read(run: RunFolder) -> Entry:
    """Read one run. Raises ValueError when its summary or its config cannot be read."""
    summary, status = run.read_summary(), run.status()
    metrics = summary["metrics"] if isinstance(summary["metrics"], dict) else {}
    if status != "finished":
        lines = run.metrics()
        steps = [line["step"] for line in lines if isinstance(line.get("step"), int)]
        summary["steps"] = summary["steps"] or max(steps, default=None)
        metrics = metrics or next((line for line in reversed(lines) if line.get("split") == "validation"), {})
    numbers = {
        name: value
        for name, value in metrics.items()
        if name not in ("step", "tokens", "split") and isinstance(value, int | float | None)
    }
    config = run.config()
    return Entry(
        run,
        summary,
        _experiment(config, run, summary),
        _said(run),
        status,
        numbers,
        run.started(),
        list(config.get("then") or {}),
    )


def name_sources(entries: Sequence[Entry]) -> None:
    """Where models of several seeds were evaluated, the path of the first stands for all: their seeds are one row."""
    first: dict[str, str] = {}
    for entry in sorted(entries, key=lambda entry: entry.started):
        if entry.summary["command"] == "evaluate" and (source := entry.config.get("init")):
            name = first.setdefault(_without_seed(source), source)
            entry.config |= {"init": name, "run": name}


def _without_seed(source: str) -> str:
    """What a run and those of other seeds have in common; of what is no run, or cannot be read, its name."""
    try:
        return config_hash(RunFolder(source).config() | {"seed": None})
    except ValueError:
        return source


def read_suite(folder: RunFolder, entries: Sequence[Entry], arm: int) -> list[Entry]:
    """An entry for each seed of a suite; none if the folder is not that of a finished suite.

    Args:
        entries: runs that were read, among them those of the suite: what these have in common is its config.
    """
    summary = folder.read_summary()
    parts = [entry for entry in entries if folder.path.absolute() in entry.run.path.absolute().parents]
    if "average" not in summary["statistics"] or not parts:
        return []
    config = {
        key: value for key, value in parts[0].config.items() if all(each.config.get(key) == value for each in parts)
    }
    said, started = set().union(*(each.said for each in parts)), max(each.started for each in parts)
    found = []
    for seed in summary["statistics"]["average"]["values"]:
        metrics = {name: each["values"].get(seed) for name, each in summary["statistics"].items()}
        own = summary | {"seed": int(seed)}
        found.append(Entry(folder, own, config, said, "finished", metrics, started, [], arm, is_suite=True))
    return found


def _experiment(config: dict, run: RunFolder, summary: dict) -> dict[str, str]:
    named = {key: value["_target_"].rsplit(".", 1)[-1] for key, value in config.items() if _is_word(value)}
    named |= {key: summary[key] for key in WORDS if summary[key] is not None}
    flat = {key: value for key, value in flatten(config).items() if defines_experiment(key)}
    flat = {key: value for key, value in flat.items() if key != "seed" and not key.endswith("_target_")}
    facts = {"init": summary["init"], "device": run.environment().get("device")}  # what they turned out to be
    found = {**named, **flat, **{key: value for key, value in facts.items() if value is not None}}
    return {key: _text(value) for key, value in found.items()}


def _is_word(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("_target_"), str)


def _said(run: RunFolder) -> set[str]:
    """The keys that the user set, from Hydra's record (it knows each job of a sweep) or the command line."""
    try:
        words = yaml.safe_load((run.path / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")) or []
    except (OSError, yaml.YAMLError):
        words = str(run.environment().get("command_line", "")).split()
    return {str(word).split("=", 1)[0].lstrip("+~") for word in words if "=" in str(word)}


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
