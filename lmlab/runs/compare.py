"""Runs side by side: what differs between them, and what came of it.

`load` reads run folders, `tables` arranges them (a table for each command and task, runs that differ only in
their seed in one row), `render` and `as_json` show them. Only files of the run folder are read.
"""

import json
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from lmlab.errors import UserError, nearest
from lmlab.formatting import duration, figure, short_number
from lmlab.runs.find import outputs_root, resolve, runs
from lmlab.runs.record import RunFolder, defines_experiment, flatten, plain

LOWER_IS_BETTER = {"loss", "perplexity", "bits_per_byte", "error", "wall_seconds", "train_seconds"}
# The groups whose option the summary names; the option's name stands for all the keys it brings.
WORDS = ("model", "objective", "corruption", "corpus", "task", "formulation", "tuning")
ABSENT = "-"


@dataclass
class Entry:
    """One run that was read.

    Attributes:
        config: dotted key -> value of what defines the experiment; a group's key holds its option's name.
        said: the keys that the user set for this run, as far as that is known.
        status: finished, interrupted, failed or running.
        metrics: the final figures; of an unfinished run the last evaluation.
    """

    run: RunFolder
    summary: dict
    config: dict[str, str]
    said: set[str]
    status: str
    metrics: dict[str, float | None]
    started: float


@dataclass
class Row:
    """Runs that differ in nothing but the seed; all finished, or one that is not."""

    name: str
    entries: list[Entry]
    repeats: int = 0  # further runs of a seed that is counted already

    @property
    def status(self) -> str:
        return self.entries[0].status

    @property
    def seeds(self) -> list:
        return sorted({entry.summary["seed"] for entry in self.entries} - {None})

    def values(self, metric: str) -> list[float]:
        found = [entry.metrics.get(metric, entry.summary.get(metric)) for entry in self.entries]
        return [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.fmean(values) if values and len(values) == len(self.entries) else None

    def std(self, metric: str) -> float | None:
        """Standard deviation over seeds (n - 1), None for a single one."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 and len(values) == len(self.entries) else None


@dataclass
class Table:
    """The runs of one command (and task), best first."""

    command: str
    task: str | None
    metrics: list[str]  # the first decides the order
    keys: list[str]  # the config keys that differ
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        count = sum(len(row.entries) + row.repeats for row in self.rows)
        words = [self.command, self.task, "1 run" if count == 1 else f"{count} runs"]
        return " · ".join(word for word in words if word)


# ---- reading


def load(folders: Sequence[str] = ()) -> tuple[list[Entry], dict[str, str]]:
    """Read all runs in the folders given (default: `outputs`), which may be named as the tables name them.

    Returns:
        The runs, newest first, and path -> reason for those that cannot be read.

    Raises:
        UserError: a folder does not exist, or there is no run at all.
    """
    named = [folder if Path(folder).is_dir() else resolve(folder, checkpoint=False).path for folder in folders]
    roots = named or [outputs_root()]
    found = {run: None for root in roots for run in runs(root)}
    if not found:
        where = ", ".join(str(Path(root).absolute()) for root in roots)
        raise UserError(f"There is no run in {where} yet: make one with `lmlab pretrain`, then compare.")
    entries, unreadable = [], {}
    for run in found:
        try:
            entries.append(read(run))
        except ValueError as error:
            unreadable[str(run.path)] = str(error)
    if not entries:
        reasons = "; ".join(f"{path} ({reason})" for path, reason in unreadable.items())
        raise UserError(f"None of the runs can be read: {reasons}")
    return entries, unreadable


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
    return Entry(run, summary, _experiment(run, summary), _said(run), status, numbers, run.started())


def _experiment(run: RunFolder, summary: dict) -> dict[str, str]:
    config = run.config()
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


# ---- arranging


def tables(entries: Iterable[Entry], metrics: Sequence[str] = ()) -> list[Table]:
    """A table for each command and task: scores on different questions do not belong in one column.

    Raises:
        UserError: no run has the metric asked for.
    """
    groups: dict[tuple, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.summary["command"] or "unknown", entry.summary["task"]].append(entry)
    there = sorted({name for group in groups.values() for entry in group for name in entry.metrics})
    for metric in metrics:
        if not any(Row("", [entry]).values(metric) for group in groups.values() for entry in group):
            known = f"; there are {', '.join(there)}" if there else ""
            raise UserError(f"No run has the metric {metric}{nearest(metric, there)}{known}.")
    in_order = sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [_table(command, task, group, list(metrics)) for (command, task), group in in_order]


def _table(command: str, task: str | None, entries: list[Entry], metrics: list[str]) -> Table:
    keys = differing(entries)
    metrics = metrics or main_metrics(entries)
    table = Table(command, task, metrics, keys, _rows(entries, keys))
    table.rows.sort(key=lambda row: _rank(row, metrics[0]))
    table.notes = _notes(table, entries)
    return table


def differing(entries: Sequence[Entry]) -> list[str]:
    """The config keys that tell these runs apart.

    A key inside a group (`model.num_layers`) counts if it differs between runs that chose the same option, or
    if the user set it: what merely follows from `model=bert` or `model=gpt` is told by `model` already. A key
    that some runs lack counts only if it was set, else every key that a later version brings would count.
    """
    keys = list(dict.fromkeys(key for entry in entries for key in entry.config))
    said = set().union(*(entry.said for entry in entries))
    found = [key for key in keys if _differs(key, entries, said)]
    found += [key for key in ("data_hash", "tokenizer_hash") if _differs_silently(key, entries, found)]
    return _without_echoes(found, entries, said)


def _differs(key: str, entries: Sequence[Entry], said: set[str]) -> bool:
    group = key.split(".")[0] if "." in key else None
    by_option: dict[object, set[str]] = defaultdict(set)
    for entry in entries:
        if key in entry.config:
            by_option[entry.config.get(group)].add(_show(entry, key))
    if any(len(values) > 1 for values in by_option.values()):
        return True
    if key not in said:
        return False
    return len(set().union(*by_option.values())) > 1 or any(key not in entry.config for entry in entries)


def _differs_silently(key: str, entries: Sequence[Entry], keys: list[str]) -> bool:
    """Do runs with the same config have other data (a file that changed, another Python's documentation)?"""
    seen: dict[tuple, set] = defaultdict(set)
    for entry in entries:
        if entry.summary[key] is not None:
            seen[tuple(_show(entry, each) for each in keys)].add(entry.summary[key])
    return any(len(values) > 1 for values in seen.values())


def _without_echoes(keys: list[str], entries: Sequence[Entry], said: set[str]) -> list[str]:
    """Leave out what another key tells: one that was set and has the same value in every run, or, of the
    corruption, the objective that brings it along."""
    columns: dict[tuple, list[str]] = defaultdict(list)
    for key in keys:
        columns[tuple(_show(entry, key) for entry in entries)].append(key)
    echoes = {key for same in columns.values() if said & set(same) for key in same if key not in said}
    if "objective" in keys and "corruption" not in said:
        pairs = {(_show(entry, "objective"), _show(entry, "corruption")) for entry in entries}
        echoes |= {"corruption"} if len(pairs) == len({objective for objective, _ in pairs}) else set()
    return [key for key in keys if key not in echoes]


def main_metrics(entries: Sequence[Entry]) -> list[str]:
    """What to judge runs by: the metric their checkpoints were chosen by, else the first that is no loss."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.metrics))
    if entries[0].summary["command"] == "pretrain":
        return [name for name in ("loss", "perplexity") if name in names] or names[:1] or ["loss"]
    chosen = [(entry.summary["best"] or {}).get("metric") for entry in entries]
    chosen = [name for name in chosen if name in names and name not in LOWER_IS_BETTER]
    scores = [name for name in names if name not in LOWER_IS_BETTER and not name.endswith("_loss")]
    return (chosen or scores or names or ["loss"])[:1]


def _rows(entries: Sequence[Entry], keys: list[str]) -> list[Row]:
    names = short_names([entry.run for entry in entries])
    groups: dict[object, list[Entry]] = defaultdict(list)
    for entry in entries:  # newest first
        alike = tuple(_show(entry, key) for key in keys)
        groups[alike if entry.status == "finished" else entry.run].append(entry)
    rows = []
    for group in groups.values():
        newest = {entry.summary["seed"]: entry for entry in reversed(group)}  # of each seed
        once = sorted(newest.values(), key=lambda entry: -entry.started)
        rows.append(Row(_row_name(group, entries, names), once, repeats=len(group) - len(once)))
    return rows


def _row_name(group: list[Entry], entries: Sequence[Entry], names: dict[RunFolder, str]) -> str:
    """The newest run's name; for several seeds of one command that of the folder that holds just them."""
    newest = names[group[0].run]
    parent = group[0].run.path.absolute().parent
    inside = [entry for entry in entries if entry.run.path.absolute().parent == parent]
    alone = len(group) > 1 and "/" in newest and len(inside) == len(group) and all(each in group for each in inside)
    return newest.rpartition("/")[0] if alone else newest


def _rank(row: Row, metric: str) -> tuple:
    mean = row.mean(metric)
    order = math.inf if mean is None else mean if lower_is_better(metric) else -mean
    return row.status != "finished", order, -row.entries[0].started


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of this metric is the better one."""
    return metric in LOWER_IS_BETTER or metric.endswith(("_loss", "_seconds", "_error"))


def _notes(table: Table, entries: Sequence[Entry]) -> list[str]:
    notes = []
    if any(len(row.entries) > 1 for row in table.rows):
        notes.append("mean ± standard deviation over seeds; speed and time are means")
    if repeats := sum(row.repeats for row in table.rows):
        notes.append(f"of each seed the newest run counts; older ones left out: {repeats}")
    asked = ("objective", "corruption", "tokenizer_hash")
    questions = {tuple(entry.summary[key] for key in asked) for entry in entries}
    questions = {question for question in questions if all(question)}
    if table.command == "pretrain" and {"loss", "perplexity"} & set(table.metrics) and len(questions) > 1:
        notes.append("losses compare only under the same question: same objective, corruption and tokenizer")
    return notes


def short_names(found: Sequence[RunFolder]) -> dict[RunFolder, str]:
    """The shortest end of each path that names one run only; `run=` and `lmlab compare` find it so."""
    parts = {run: run.path.absolute().parts for run in found}
    count = Counter(path[-length:] for path in parts.values() for length in range(1, len(path) + 1))
    names = {}
    for run, path in parts.items():
        shortest = run.name.count("/") + 1
        lengths = (length for length in range(shortest, len(path)) if count[path[-length:]] == 1)
        names[run] = "/".join(path[-next(lengths, len(path)) :])
    return names


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last component of each dotted key; more of them where two keys would look the same."""
    short = {}
    for key in keys:
        parts = key.split(".")
        lengths = range(1, len(parts) + 1)
        alone = (n for n in lengths if sum(other.split(".")[-n:] == parts[-n:] for other in keys) == 1)
        short[key] = ".".join(parts[-next(alone, len(parts)) :])
    return short


# ---- showing


def render(table: Table, console: Console) -> Group:
    """The table if it fits the console, else without what can be spared, else a paragraph for each run."""
    best = _best(table)
    spared = table.metrics[:1] if set(table.metrics) == {"loss", "perplexity"} else table.metrics
    for metrics, brief in ((table.metrics, False), (spared, False), (spared, True)):
        shown = _grid(table, metrics, best, brief)
        if Measurement.get(console, console.options.update(width=10_000), shown).maximum <= console.width:
            break
    else:
        shown = Group(*(_paragraph(table, row, row is best) for row in table.rows))
    return Group(Text(table.title, style="bold"), shown, *(Text(note, style="dim") for note in table.notes))


def _grid(table: Table, metrics: list[str], best: Row | None, brief: bool) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    names = _brief_names(table) if brief else {row.name: row.name for row in table.rows}
    status, seeds = _any_unfinished(table), _seeds_matter(table)
    keys = short_keys(table.keys)
    for name in ("run", *(["status"] * status), *keys.values()):
        grid.add_column(name, no_wrap=True)
    for name in (*(["seeds"] * seeds), *metrics, "tokens/s", "time", "parameters"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in table.rows:
        cells = [names[row.name], *([_mark(row)] * status), *(_setting(row, key) for key in keys)]
        cells += [*([_seeds(row)] * seeds), *(_score(row, name) for name in metrics), *_costs(row)]
        grid.add_row(*map(Text, cells), style="dim" if _mark(row) else "bold" if row is best else "")
    return grid


def _paragraph(table: Table, row: Row, best: bool) -> Text:
    """One run in a few lines, for terminals that are too narrow for the table."""
    scores = [f"{name} {_score(row, name)}" for name in table.metrics]
    if _seeds_matter(table):
        scores.append(f"seeds {_seeds(row)}")
    settings = [f"{short}={_setting(row, key)}" for key, short in short_keys(table.keys).items()]
    costs = zip(_costs(row), ("{} tokens/s", "{}", "{} parameters"), strict=True)
    lines = [scores, settings, [form.format(cost) for cost, form in costs if cost != ABSENT]]
    head = row.name
    if _mark(row):
        steps = row.entries[0].summary["steps"]
        head += f"  ({row.status})" if steps is None else f"  ({row.status} at step {steps})"
    text = Text(style="dim" if _mark(row) else "").append(head, style="bold" if best else "")
    return text.append("".join("\n  " + "  ".join(line) for line in lines if line) + "\n")


def _brief_names(table: Table) -> dict[str, str]:
    """Row name -> the time it begins with, where that names one row only."""
    brief = {row.name: re.match(r"(\d\d-\d\d-\d\d)?", row.name)[0] for row in table.rows}
    times = list(brief.values())
    return {name: time if time and times.count(time) == 1 else name for name, time in brief.items()}


def _best(table: Table) -> Row | None:
    finished = [row for row in table.rows if row.status == "finished" and row.mean(table.metrics[0]) is not None]
    return finished[0] if len(finished) > 1 else None


def _any_unfinished(table: Table) -> bool:
    return any(row.status != "finished" for row in table.rows)


def _seeds_matter(table: Table) -> bool:
    several = any(len(row.entries) > 1 for row in table.rows)
    return several or len({tuple(row.seeds) for row in table.rows}) > 1


def _mark(row: Row) -> str:
    """What is to be said of a run that did not finish."""
    return "" if row.status == "finished" else row.status


def _seeds(row: Row) -> str:
    seeds = row.seeds
    in_a_row = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    text = f"{seeds[0]}–{seeds[-1]}" if in_a_row else ", ".join(map(str, seeds)) or ABSENT
    return f"n = {len(row.entries)} ({text})" if len(row.entries) > 1 else text


def _score(row: Row, metric: str) -> str:
    mean, std = row.mean(metric), row.std(metric)
    if mean is None:
        bad = any(metric in entry.metrics for entry in row.entries)  # it was measured, and was no number
        return "nan" if bad else ABSENT
    return figure(mean) if std is None else f"{figure(mean)} ± {_like(std, figure(mean))}"


def _like(value: float, example: str) -> str:
    """A spread with as many decimals as the mean beside it, or in its own way where that would show 0."""
    decimals = len(example.partition(".")[2]) if "e" not in example else 0
    text = f"{value:,.{decimals}f}"
    return text if value == 0 or (text.strip("0.,") and "e" not in example) else f"{value:.1e}"


def _costs(row: Row) -> list[str]:
    rate, time = row.mean("tokens_per_second"), row.mean("wall_seconds")
    parameters = _parameters(row)
    return [
        ABSENT if rate is None else short_number(rate),
        ABSENT if time is None else duration(time),
        ABSENT if parameters is None else short_number(parameters),
    ]


def _parameters(row: Row) -> float | None:
    count = row.entries[0].summary["parameters"]
    return count.get("total") if isinstance(count, dict) else count


def _setting(row: Row, key: str) -> str:
    text = _show(row.entries[0], key)
    if key.endswith("_hash"):
        text = text[:8]
    if "/" in text and len(text) > 24:
        text = text.rstrip("/").rsplit("/", 1)[-1]
    return text if len(text) <= 32 else f"{text[:15]}…{text[-16:]}"


def _show(entry: Entry, key: str) -> str:
    if key in ("data_hash", "tokenizer_hash"):
        return _text(entry.summary[key])
    return entry.config.get(key, ABSENT)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)


def as_json(found: Sequence[Table], unreadable: dict[str, str]) -> str:
    """All tables as one JSON object; paths and values in full."""
    return json.dumps(
        plain({"tables": [_table_object(table) for table in found], "unreadable": unreadable}),
        ensure_ascii=False,
        indent=2,
    )


def _table_object(table: Table) -> dict:
    return {
        "command": table.command,
        "task": table.task,
        "metric": table.metrics[0],
        "higher_is_better": not lower_is_better(table.metrics[0]),
        "differing_keys": table.keys,
        "notes": table.notes,
        "rows": [_row_object(table, row) for row in table.rows],
    }


def _row_object(table: Table, row: Row) -> dict:
    return {
        "name": row.name,
        "runs": [str(entry.run.path) for entry in row.entries],
        "status": row.status,
        "steps": row.entries[0].summary["steps"],
        "seeds": [entry.summary["seed"] for entry in row.entries],
        "settings": {key: _show(row.entries[0], key) for key in table.keys},
        "metrics": {
            name: {"mean": row.mean(name), "std": row.std(name), "values": row.values(name)}
            for name in dict.fromkeys([*table.metrics, *row.entries[0].metrics])
        },
        "tokens_per_second": row.mean("tokens_per_second"),
        "wall_seconds": row.mean("wall_seconds"),
        "parameters": _parameters(row),
    }
