"""A metric against a number of the config, such as the shots: a curve for each other difference of the runs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from lmlab.errors import UserError, nearest
from lmlab.files import atomic_write
from lmlab.runs.compare.arranging import Table
from lmlab.runs.compare.row import Row
from lmlab.runs.compare.showing import setting, short_keys

MISSING = "it takes matplotlib (pip install matplotlib, or lmlab with its extra `plot`)"
FORMATS = ("png", "svg", "pdf")
LOGARITHMIC = 10  # a scale of logarithms where the largest number is so many times the smallest
MANY = 12  # more numbers than these are not all written at the axis
INK, FAINT, LINES = "#2b2d42", "#6c757d", "#e9ecef"


class Point(NamedTuple):
    """Runs that differ in nothing but the seed: the mean of the metric, and half of its 95 % interval (one seed: 0)."""

    x: float
    mean: float
    half: float


@dataclass
class Curve:
    """Points from left to right, and what sets them apart from those of other curves."""

    label: str
    points: list[Point]


@dataclass
class Panel:
    """The curves of a table.

    Attributes:
        title: command and task.
        metric: what is drawn.
        left_out: names of finished rows that have no number at the key.
    """

    title: str
    metric: str
    curves: list[Curve]
    left_out: list[str]


def panels(tables: Iterable[Table], key: str) -> list[Panel]:
    """For each table whose runs have different numbers at a key: its first metric against them.

    Raises:
        UserError: no run has the key, it is no number, or it is the same in all runs.
    """
    tables = [table for table in tables if not table.is_suite]
    found = [_panel(table, key) for table in tables if len(_numbers(table, key)) > 1]
    if not found:
        raise UserError(f"x={key}: {_why_none(tables, key)}")
    return found


def _panel(table: Table, key: str) -> Panel:
    measured = _measured(table)
    rows = [row for row in measured if _number(row, key) is not None]
    others = [each for each in table.keys if each != key and not _follows(each, key, rows)]
    names, curves = short_keys([*others, key]), {}
    for row in rows:
        label = ", ".join(f"{names[each]}={setting(row, each)}" for each in others)
        found = row.statistics(table.metrics[0])
        half = 0.0 if found["interval"] is None else found["interval"][1] - found["mean"]
        curves.setdefault(label, []).append(Point(_number(row, key), found["mean"], half))
    in_order = [Curve(label, sorted(points)) for label, points in sorted(curves.items())]
    title = " · ".join(filter(None, (table.command, table.task)))
    return Panel(title, table.metrics[0], in_order, [row.name for row in measured if row not in rows])


def _follows(other: str, key: str, rows: Sequence[Row]) -> bool:
    """Whether another number of the config, or a hash, goes along with the key, so that it tells nothing more."""
    pairs = {(setting(row, other), _number(row, key)) for row in rows}
    together = len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs})
    return together and (other.endswith("_hash") or all(_number(row, other) is not None for row in rows))


def _number(row: Row, key: str) -> float | None:
    """What a row has at a key, if it is a number."""
    try:
        number = float(row.entries[0].show(key))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _numbers(table: Table, key: str) -> set[float]:
    return {_number(row, key) for row in _measured(table)} - {None}


def _measured(table: Table) -> list[Row]:
    """The finished rows of which the first metric is known."""
    return [row for row in table.rows if row.status == "finished" and row.mean(table.metrics[0]) is not None]


def _why_none(tables: Sequence[Table], key: str) -> str:
    """What keeps a key from being an axis, and which other ones could be."""
    rows = [row for table in tables for row in table.rows]
    known = dict.fromkeys(name for row in rows for name in row.entries[0].config)
    fitting = [name for name in known if any(len(_numbers(table, name)) > 1 for table in tables)]
    others = f"numbers that differ between the runs of a table: {', '.join(fitting) or 'none'}"
    if key not in known:
        return f"no run has this key{nearest(key, fitting) or nearest(key, known)}; {others}"
    values = ", ".join(dict.fromkeys(row.entries[0].show(key) for row in rows))
    return f"a curve takes two different numbers, in finished runs of one table, and there is {values}; {others}"


# ---- the picture


def draw(path: Path, panels: Sequence[Panel], key: str) -> None:
    """Draw the curves, panels side by side; the ending of the file says its format.

    Raises:
        UserError: another format, or there is no matplotlib.
    """
    if (kind := path.suffix.removeprefix(".")) not in FORMATS:
        raise UserError(f"plot={path}: the file must end in one of {', '.join(f'.{each}' for each in FORMATS)}")
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError(f"plot={path}: {MISSING}") from error
    figure = Figure(figsize=(7 * len(panels), 4.5), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, panel, key)
    content = BytesIO()
    figure.savefig(content, format=kind, dpi=200)
    atomic_write(path, content.getvalue())


def _draw_panel(axes: Any, panel: Panel, key: str) -> None:
    for curve in panel.curves:
        xs, means, halves = zip(*curve.points, strict=True)
        axes.errorbar(xs, means, yerr=halves, marker="o", capsize=3, linewidth=1.8, elinewidth=1, label=curve.label)
    _scale(axes, sorted({point.x for curve in panel.curves for point in curve.points}))
    axes.set_xlabel(key, color=INK)
    axes.set_ylabel(panel.metric, color=INK)
    axes.set_title(panel.title, loc="left", color=INK, fontweight="bold")
    axes.grid(axis="y", color=LINES)
    axes.tick_params(length=0, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    if any(curve.label for curve in panel.curves):
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2)
    if any(point.half for curve in panel.curves for point in curve.points):
        note = "bars: 95 % interval of the mean over seeds (Student's t)"
        axes.annotate(note, (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=8, color=FAINT)


def _scale(axes: Any, xs: Sequence[float]) -> None:
    """Powers side by side where numbers span several, 0 among them; the numbers themselves where they are few."""
    positive = [x for x in xs if x > 0]
    if positive and xs[0] >= 0 and positive[-1] >= LOGARITHMIC * positive[0]:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
    if len(xs) <= MANY:
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.minorticks_off()
