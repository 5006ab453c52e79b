"""From entries to tables: which runs share a row, which keys tell them apart, which is best."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lmlab.errors import UserError, nearest
from lmlab.runs.compare.reading import Entry
from lmlab.runs.compare.row import Row
from lmlab.runs.compare.testing import Test
from lmlab.runs.record import RunFolder
from lmlab.runs.statistics import lower_is_better


@dataclass
class Table:
    """The runs of one command (and task, or suite), best first."""

    command: str
    task: str | None
    metrics: list[str]  # the first decides the order
    keys: list[str]  # the config keys that differ
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)  # of the differences between rows

    @property
    def is_suite(self) -> bool:
        return self.rows[0].is_suite

    @property
    def title(self) -> str:
        count = sum(len(row.entries) + row.repeats for row in self.rows)
        noun, task = ("seed", f"{self.task}, the whole suite") if self.is_suite else ("run", self.task)
        words = [self.command, task, f"1 {noun}" if count == 1 else f"{count} {noun}s"]
        return " · ".join(word for word in words if word)


def tables(entries: Iterable[Entry], metrics: Sequence[str] = (), by_arm: bool = False) -> list[Table]:
    """A table for each command and task: scores on different questions do not belong in one column. Suites come last.

    A pre-trained run that answers a task without training stands beside those that were trained for the task.

    Args:
        by_arm: runs from different folders of the command line do not share a row, whatever their configs.

    Raises:
        UserError: no run has the metric asked for.
    """
    groups: dict[tuple, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[_place(entry), entry.is_suite, entry.summary["task"]].append(entry)
    there = sorted({name for group in groups.values() for entry in group for name in entry.metrics})
    for metric in metrics:
        if not any(Row("", [entry]).values(metric) for group in groups.values() for entry in group):
            known = f"; there are {', '.join(there)}" if there else ""
            raise UserError(f"No run has the metric {metric}{nearest(metric, there)}{known}.")
    in_order = sorted(groups.items(), key=lambda item: (*item[0][:2], item[0][2] or ""))
    return [_table(task, group, list(metrics), by_arm) for (_, _, task), group in in_order]


def _place(entry: Entry) -> str:
    """The command whose runs an entry is held against."""
    command = entry.summary["command"] or "unknown"
    answers_untrained = command == "evaluate" and entry.summary["task"] and not entry.summary["tuning"]
    return "finetune" if answers_untrained else command


def _table(task: str | None, entries: list[Entry], metrics: list[str], by_arm: bool) -> Table:
    command = ", ".join(sorted({entry.summary["command"] or "unknown" for entry in entries}, reverse=True))
    keys = differing(entries)
    metrics = list(entries[0].metrics) if entries[0].is_suite else metrics or main_metrics(entries)
    table = Table(command, task, metrics, keys, _rows(entries, keys, by_arm))
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
            by_option[entry.config.get(group)].add(entry.show(key))
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
            seen[tuple(entry.show(each) for each in keys)].add(entry.summary[key])
    return any(len(values) > 1 for values in seen.values())


def _without_echoes(keys: list[str], entries: Sequence[Entry], said: set[str]) -> list[str]:
    """Leave out what another key tells: one that was set and has the same value in every run, or, of the
    corruption, the objective that brings it along."""
    columns: dict[tuple, list[str]] = defaultdict(list)
    for key in keys:
        columns[tuple(entry.show(key) for entry in entries)].append(key)
    echoes = {key for same in columns.values() if said & set(same) for key in same if key not in said}
    if "objective" in keys and "corruption" not in said:
        pairs = {(entry.show("objective"), entry.show("corruption")) for entry in entries}
        echoes |= {"corruption"} if len(pairs) == len({objective for objective, _ in pairs}) else set()
    return [key for key in keys if key not in echoes]


def main_metrics(entries: Sequence[Entry]) -> list[str]:
    """What to judge runs by: the metric their checkpoints were chosen by, else the first that is no loss.

    Pre-trained models are judged by what was done with them afterwards, if anything was, else by their losses.
    """
    names = list(dict.fromkeys(name for entry in entries for name in entry.metrics))
    if entries[0].summary["command"] == "pretrain":
        later = _later_metrics(entries, names)
        losses = [name for name in ("loss", "perplexity") if name in names]
        return later + losses * (not later or len(_questions(entries)) == 1) or names[:1] or ["loss"]
    chosen = [(entry.summary["best"] or {}).get("metric") for entry in entries]
    chosen = [name for name in chosen if name in names and not lower_is_better(name)]
    scores = [name for name in names if not lower_is_better(name)]
    return (chosen or scores or names or ["loss"])[:1]


def _later_metrics(entries: Sequence[Entry], names: Sequence[str]) -> list[str]:
    """The main figure of everything that was done with the finished models."""
    followers = list(dict.fromkeys(name for entry in entries for name in entry.followers))
    figures: dict[str, list[str]] = {follower: [] for follower in followers}
    for name in names:
        whose = [follower for follower in followers if name.startswith(f"{follower}_")]
        if whose:
            figures[max(whose, key=len)].append(name)
    mains = (next((name for name in own if not lower_is_better(name)), own[0]) for own in figures.values() if own)
    return list(mains)


def _questions(entries: Sequence[Entry]) -> set[tuple]:
    """What the runs were asked in pre-training: their losses compare only if it is the same."""
    asked = ("objective", "corruption", "tokenizer_hash")
    questions = {tuple(entry.summary[key] for key in asked) for entry in entries}
    return {question for question in questions if all(question)}


def _rows(entries: Sequence[Entry], keys: list[str], by_arm: bool) -> list[Row]:
    names = short_names([entry.run for entry in entries])
    groups: dict[object, list[Entry]] = defaultdict(list)
    for entry in entries:  # newest first
        alike = (entry.arm if by_arm else 0, *(entry.show(key) for key in keys))
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


def _notes(table: Table, entries: Sequence[Entry]) -> list[str]:
    notes = []
    if any(len(row.entries) > 1 for row in table.rows):
        costs = "" if table.is_suite else "; speed and time are means"
        notes.append(f"mean over seeds ± half of its 95 % interval (Student's t){costs}")
    if repeats := sum(row.repeats for row in table.rows):
        notes.append(f"of each seed the newest run counts; older ones left out: {repeats}")
    notes += [f"{row.name}: {_degenerate(row)}" for row in table.rows if row.degenerate]
    if lost := [row.name for row in table.rows if _beaten(row, table.metrics[0])]:
        notes.append(f"not better than the baseline, an answer that is always the same: {', '.join(lost)}")
    notes += dict.fromkeys(note for row in table.rows if (note := _search(row)))
    if table.command == "pretrain" and {"loss", "perplexity"} & set(table.metrics) and len(_questions(entries)) > 1:
        notes.append("losses compare only under the same question: same objective, corruption and tokenizer")
    return notes


def _degenerate(row: Row) -> str:
    share = f"{len(row.degenerate)} of {len(row.entries)} seeds " if len(row.entries) > 1 else ""
    return f"{share}degenerate (the same answer to every example)"


def _beaten(row: Row, metric: str) -> bool:
    """Whether a row is no better than its baseline."""
    mean, baseline = row.mean(metric), row.baseline(metric)
    if mean is None or baseline is None:
        return False
    return mean >= baseline if lower_is_better(metric) else mean <= baseline


def _search(row: Row) -> str:
    """How a setting was chosen, for example the learning rate."""
    search = row.entries[0].summary["search"]
    if not search:
        return ""
    chosen = f"{search['key']}={search['chosen']:g} chosen among {', '.join(search['tried'])}"
    return f"{row.name}: {chosen} by {search['metric']} on {search['on']}"


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
