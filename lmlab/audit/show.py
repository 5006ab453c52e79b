"""A report as a table or as JSON."""

import math
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmlab.audit.figures import CHANCE, SHARE, Figure, Histogram
from lmlab.audit.judge import IMPOSSIBLE, OFF, OK, judge, problems

STYLES = {OK: "green", OFF: "yellow", IMPOSSIBLE: "bold red", "": ""}
NUM_BINS = 12  # lengths of spans that are shown one by one; longer ones together
BAR = 30  # characters of the longest bar


@dataclass(frozen=True)
class Report:
    """What an audit found.

    Attributes:
        words: the sentence of the experiment: model, objective, corruption, corpus, tokenizer.
        num_sequences: how many were counted.
        parts: name -> figures: one part for each forward pass, and one for the text.
        histograms: name of a part -> its spans.
    """

    words: dict[str, str]
    num_sequences: int
    parts: dict[str, list[Figure]]
    histograms: dict[str, Histogram]

    @property
    def figures(self) -> list[Figure]:
        """Those of all parts, which are judged together."""
        return [figure for figures in self.parts.values() for figure in figures]

    @property
    def problems(self) -> list[str]:
        """What is impossible, one sentence each."""
        return problems(self.figures)


def as_json(report: Report) -> dict[str, Any]:
    """The report in plain values."""
    verdicts = iter(judge(report.figures))
    parts = []
    for name, figures in report.parts.items():
        rows = [
            {
                "group": each.group,
                "name": each.name,
                **asdict(each.estimate),
                "verdict": next(verdicts),
                "note": each.note,
            }
            for each in figures
        ]
        part: dict[str, Any] = {"name": name, "figures": rows}
        if histogram := report.histograms.get(name):
            expected = None if histogram.expected is None else histogram.expected.round(6).tolist()
            part["spans"] = {"unit": histogram.unit, "found": histogram.found.tolist(), "expected": expected}
        parts.append(part)
    num_off = sum(row["verdict"] == OFF for part in parts for row in part["figures"])
    return {
        **report.words,
        "sequences": report.num_sequences,
        "parts": parts,
        "off": num_off,
        "impossible": report.problems,
    }


def show(report: Report) -> None:
    """Print the report on standard output, as wide as the terminal."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(highlight=False, force_jupyter=False, width=110 if wide else None)
    sentence = "  ".join(f"{group}={option}" for group, option in report.words.items())
    console.print(Text(f"Audit of {report.num_sequences:,} sequences: {sentence}"), soft_wrap=True)
    verdicts = judge(report.figures)
    rest = iter(verdicts)
    for name, figures in report.parts.items():
        if len(report.parts) > 2:  # several forward passes, and the text
            console.print(Text(name, style="bold reverse"))
        console.print(_table(figures, [next(rest) for _ in figures]))
        if histogram := report.histograms.get(name):
            console.print(_bars(histogram))
    console.print(Text(_closing(verdicts)), soft_wrap=True)


def _table(figures: list[Figure], verdicts: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for heading in ("measured", "95 % interval", "expected"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    group = None
    for figure, verdict in zip(figures, verdicts, strict=True):
        if figure.group != group:
            group = figure.group
            table.add_row(Text(group, style="bold"))
        table.add_row(*_cells(figure), Text(verdict, style=STYLES[verdict]))
    return table


def _cells(figure: Figure) -> tuple[Text, str, str, str]:
    known, note = figure.estimate, f" ({figure.note})" if figure.note else ""
    interval = ""
    if known.low is not None:
        ends = np.clip((known.low, known.high), 0, 1 if figure.kind == SHARE else None)  # a normal one may go beyond
        interval = " - ".join(_written(float(end), figure.kind) for end in ends)
    expected = "" if known.expected is None else _written(known.expected, figure.kind)
    name = Text(f"  {figure.name}").append(note, style="dim")
    return name, _written(known.value, figure.kind), interval, expected


def _written(value: float, kind: str) -> str:
    if kind == SHARE:
        return f"{100 * value:.2f} %"
    if kind == CHANCE:
        return f"{value:.1g}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{2 if value < 1000 else 0}f}"


def _bars(histogram: Histogram) -> Table:
    """Spans by length in percent, with a bar each; what is expected beside it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"  length in {histogram.unit}", justify="right")
    table.add_column("spans", justify="right")
    table.add_column("" if histogram.expected is None else "expected", justify="right")
    table.add_column("", no_wrap=True)
    expected = histogram.found if histogram.expected is None else histogram.expected
    last = min(NUM_BINS, np.flatnonzero((histogram.found > 0) | (expected >= 1)).max(initial=0))
    shares = [np.append(each[:last], each[last:].sum()) / each.sum() for each in (histogram.found, expected)]
    for length, (found, wanted) in enumerate(zip(*shares, strict=True)):
        if length or found or wanted:
            name = f"{length}+" if length == last == NUM_BINS else str(length)
            beside = "" if histogram.expected is None else f"{wanted:.2%}"
            table.add_row(name, f"{found:.2%}", beside, "▇" * math.ceil(BAR * found / shares[0].max()))
    return table


def _closing(verdicts: list[str]) -> str:
    num_judged = sum(verdict != "" for verdict in verdicts)
    off, impossible = verdicts.count(OFF), verdicts.count(IMPOSSIBLE)
    wrong = ", ".join(f"{number} {what}" for number, what in ((off, OFF), (impossible, IMPOSSIBLE)) if number)
    meaning = " Off: further from the expected value than chance allows in 999 of 1,000 reports." if off else ""
    return f"{num_judged} figures judged: {wrong or 'all are ok'}.{meaning}"
