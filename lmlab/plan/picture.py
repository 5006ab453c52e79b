"""The race of sizes: a picture of how language models grew from ELMo to GPT-3."""

import math
from collections.abc import Mapping
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from lmlab.files import atomic_write
from lmlab.formatting import short_number

MISSING = "No picture: it is drawn by matplotlib (pip install matplotlib, or lmlab with its extra `plot`)."


class Entry(NamedTuple):
    """A model in the picture.

    Attributes:
        label: its name.
        published: when it was made known.
        preset: whose parameters are drawn.
        side: where the label stands beside the circle, as (right, up); (0, 0) inside.
        parameters: of a model that has no preset.
    """

    label: str
    published: date
    preset: str
    side: tuple[int, int]
    parameters: float | None = None


RACE = (
    Entry("ELMo", date(2018, 2, 15), "elmo", (1, 0), 93.6e6),  # Peters et al. 2018, arXiv:1802.05365
    Entry("BERT-Large", date(2018, 10, 11), "bert_large", (1, 0)),
    Entry("GPT-2 XL", date(2019, 2, 14), "gpt2_xl", (1, 0)),
    Entry("Megatron-LM", date(2019, 9, 17), "megatron_8_3b", (1, -1)),
    Entry("T5-11B", date(2019, 10, 23), "t5_11b", (-1, 1)),
    Entry("Turing-NLG", date(2020, 2, 13), "turing_nlg", (1, 0)),
    Entry("GPT-3", date(2020, 5, 28), "gpt3_175b", (0, 0)),
)
COLOURS = ("#577590", "#4d908e", "#43aa8b", "#90be6d", "#f9c74f", "#f8961e", "#e85d3d")
INK, FAINT, LINES = "#2b2d42", "#6c757d", "#e9ecef"
LARGEST = 9_000  # area of the largest circle in square points; those of the others are in proportion
GAP = 7  # points between a circle and its label


def draw(path: Path, counts: Mapping[str, int]) -> list[Path]:
    """Draw the models that there are as circles over time, whose areas are their parameters.

    Args:
        path: of the PNG; an SVG is written beside it.
        counts: parameters by preset.

    Returns:
        The files.

    Raises:
        ModuleNotFoundError: there is no matplotlib.
        OSError: the files cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.2), layout="constrained")
    axes = figure.add_subplot()
    sizes = {entry: counts.get(entry.preset, entry.parameters) for entry in RACE}
    _circles(axes, {entry: size for entry, size in sizes.items() if size is not None})
    _frame(axes)
    return [_write(figure, path.with_suffix(suffix)) for suffix in (".png", ".svg")]


def _circles(axes: Any, sizes: Mapping[Entry, float]) -> None:
    """A circle for each model, with its name and size."""
    colours = dict(zip(RACE, COLOURS, strict=True))
    for entry, size in sizes.items():
        area = LARGEST * size / max(sizes.values())
        axes.scatter(entry.published, size, s=area, color=colours[entry], linewidth=0, zorder=3)
        across, up = entry.side
        inside = not (across or up)
        axes.annotate(
            f"{entry.label}\n{short_number(size)}",
            (entry.published, size),
            xytext=_beside(entry.side, math.sqrt(area / math.pi) + GAP),
            textcoords="offset points",
            ha=("center", "left", "right")[across],
            va="center",
            color="white" if inside else INK,
            fontsize=15 if inside else 11,
            fontweight="bold" if inside else "normal",
            linespacing=1.3,
            zorder=4,
        )


def _beside(side: tuple[int, int], distance: float) -> tuple[float, float]:
    """Points from the middle of a circle to its label."""
    length = math.hypot(*side) or 1
    return distance * side[0] / length, 1.6 * distance * side[1] / length


def _frame(axes: Any) -> None:
    """Orders of magnitude, years, and what the picture says."""
    axes.set_yscale("log")
    axes.set_ylim(4e7, 8e11)
    axes.set_yticks([1e8, 1e9, 1e10, 1e11], ["100M", "1B", "10B", "100B"])
    axes.set_xlim(date(2017, 12, 1), date(2020, 9, 15))
    months = [date(year, month, 1) for year in (2018, 2019, 2020) for month in (1, 7)]
    axes.set_xticks(months, [f"{month:%b}\n{month:%Y}" if month.month == 1 else f"{month:%b}" for month in months])
    axes.minorticks_off()
    axes.tick_params(length=0, labelcolor=FAINT, labelsize=11)
    axes.grid(axis="y", color=LINES, linewidth=1.2, zorder=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Parameters of language models", loc="left", fontsize=16, fontweight="bold", color=INK, pad=26)
    note = "when they were made known; the area of a circle is the number of parameters"
    axes.text(0, 1.025, note, transform=axes.transAxes, fontsize=11, color=FAINT)


def _write(figure: Any, path: Path) -> Path:
    """Save the picture, which has the same content every time: its SVG has no date and no random names."""
    from matplotlib import rc_context

    kind = path.suffix.removeprefix(".")
    content = BytesIO()
    with rc_context({"svg.hashsalt": "lmlab"}):
        figure.savefig(content, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
    atomic_write(path, content.getvalue())
    return path
