"""Runs side by side: what differs between them, what came of it, and whether the difference is more than noise.

`load` reads run folders, `tables` arranges them (a table for each command and task, runs that differ only in their seed
in one row), `test` holds the rows against each other, `render` and `as_json` show them, `panels` and `draw` make a
picture of them. Only files of the run folder are read.
"""

from lmlab.runs.compare.arranging import Table, tables
from lmlab.runs.compare.curves import draw, panels
from lmlab.runs.compare.reading import Entry, load
from lmlab.runs.compare.row import Row
from lmlab.runs.compare.showing import as_json, render
from lmlab.runs.compare.testing import Question, correct, test
from lmlab.runs.find import outputs_root

__all__ = [
    "Entry",
    "Question",
    "Row",
    "Table",
    "as_json",
    "correct",
    "draw",
    "load",
    "outputs_root",
    "panels",
    "render",
    "tables",
    "test",
]
