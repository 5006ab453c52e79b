"""What fine-tuning shows at its end: a panel, a table over seeds, over a suite, or over tasks never trained for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from lmlab.commands.session import relative
from lmlab.engine.progress import final_panel
from lmlab.formatting import console, figure
from lmlab.runs.record import RunFolder
from lmlab.tasks.suite import Suite

BASELINE = "baseline: what an answer that is always the same scores, the best of each metric in the training rows"
INTERVAL = "±: half of the 95 % interval of the mean over {} seeds (Student's t)"


def report(title: str, folder: Path, metrics: Mapping[str, float], write_log: Any = None) -> None:
    """The short panel at the end: final figures, where the run lies, what to try next."""
    place = relative(folder)
    final_panel(title, {**metrics, "run": place}, f"lmlab compare {place.parent}", write_log)


def show_seeds(folder: RunFolder) -> None:
    """The statistics of several seeds, and what makes them less than they seem."""
    summary = folder.read_summary()
    statistics, baseline = summary["statistics"], summary["baseline"] or {}
    shown = {name: found for name, found in statistics.items() if not is_flag(name)}
    num_seeds = len(next(iter(shown.values()))["values"])
    table = Table("metric", "mean", "median", "std", "best", "baseline", title=f"{summary['task']}: {num_seeds} seeds")
    for name, found in shown.items():
        best = f"{figure(found['best'])} (seed {found['best_seed']})"
        constant = figure(baseline.get(name))
        table.add_row(name, mean(found), figure(found["median"]), figure(found["std"]), best, constant)
    notes = [*([INTERVAL.format(num_seeds)] if num_seeds > 1 else []), *([BASELINE] if baseline else [])]
    notes += [*warnings(summary), f"run: {relative(folder.path)}"]
    display(table, notes)
    show_elsewhere(elsewhere_in(shown), summary["task"], {name: mean(found) for name, found in shown.items()})


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the numbers: runs that learnt nothing, and a learning rate that was searched."""
    statistics, found = summary["statistics"], []
    for name, flags in ((name, each["values"]) for name, each in statistics.items() if is_flag(name)):
        constant = [seed for seed, flag in flags.items() if flag]
        found.append(f"{name}, the same answer to everything: {len(constant)} of {len(flags)} seeds")
    name, values = next(iter((name, each["values"]) for name, each in statistics.items()))
    bar = (summary["baseline"] or {}).get(name)
    if below := [seed for seed, value in values.items() if bar is not None and value <= bar]:
        found.append(f"no better than the baseline ({name} {figure(bar)}): seeds {', '.join(map(str, below))}")
    if search := summary["search"]:
        tried = ", ".join(f"{rate}: {tried_out(value)}" for rate, value in search["tried"].items())
        found.append(f"{search['key']}={search['chosen']:g} chosen by {search['metric']} on {search['on']} ({tried})")
    return found


def tried_out(score: float | None) -> str:
    """What came of a trial."""
    return "diverged" if score is None else figure(score)


def is_flag(name: str) -> bool:
    """Whether a metric is no score but tells that all answers were the same."""
    return name.rpartition(".")[2].startswith("degenerate")


def elsewhere_in(metrics: Mapping[str, Any]) -> list[str]:
    """The other tasks that metrics called `<task>.<metric>` speak of."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in metrics if "." in name))


def show_elsewhere(names: Sequence[str], trained: str, metrics: Mapping[str, Any]) -> None:
    """The table of transfer: the task that was trained, and those that were only scored."""
    if not names:
        return
    rows = {trained: {key: value for key, value in metrics.items() if "." not in key and not is_flag(key)}}
    for name in names:
        found = {key.removeprefix(f"{name}."): value for key, value in metrics.items() if key.startswith(f"{name}.")}
        rows[name] = {key: value for key, value in found.items() if not is_flag(key)}
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    table = Table("task", *columns, title=f"trained on {trained} alone")
    for name, row in rows.items():
        table.add_row(name, *(text(row.get(key)) for key in columns))
    display(table, [])


def show_suite(suite: Suite, folder: RunFolder, runs: Mapping[str, RunFolder]) -> None:
    """A row for each task with its own metrics, and the averages."""
    statistics = folder.read_summary()["statistics"]
    num_seeds = len(statistics["average"]["values"])
    table = Table("task", "metrics", "baseline", "in the average", title=f"{suite.name}: {num_seeds} seeds")
    notes = [*([INTERVAL.format(num_seeds)] if num_seeds > 1 else []), BASELINE]
    for name, run in runs.items():
        summary = run.read_summary()
        counted = [
            key for key in summary["statistics"] if any(f"{key}_".startswith(f"{each}_") for each in suite.tasks[name])
        ]
        scores = "  ".join(f"{key} {mean(summary['statistics'][key])}" for key in counted)
        constant = "  ".join(figure((summary["baseline"] or {}).get(key)) for key in counted)
        table.add_row(name, scores, constant, mean(statistics[name]))
        notes += [f"{name}: {warning}" for warning in warnings(summary)]
    table.add_section()
    for name in (name for name in statistics if name not in runs):
        table.add_row(name.replace("_", " "), "", "", mean(statistics[name]))
    display(table, [*notes, f"run: {relative(folder.path)}"])


def mean(statistics: Mapping[str, Any]) -> str:
    """`0.834 ± 0.012`: the mean and half of its interval, where there is one."""
    value = statistics["mean"]
    if statistics["interval"] is None:
        return figure(value)
    low, high = statistics["interval"]
    decimals = 2 if abs(value) >= 10 else 4
    return f"{value:.{decimals}f} ± {(high - low) / 2:.{decimals}f}"


def text(value: Any) -> str:
    """A cell: numbers rounded, all else as it is."""
    return value if isinstance(value, str) else figure(value)


def display(table: Table, notes: Sequence[str]) -> None:
    """A table and lines below it, on standard output."""
    screen = console()
    screen.print(table)
    for note in notes:
        screen.print(note, markup=False, style="dim")
