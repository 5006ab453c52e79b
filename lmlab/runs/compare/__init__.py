"""Runs side by side: what differs between them, and what came of it.

`load` reads run folders, `tables` arranges them (a table for each command and task, runs that differ only in their seed
in one row), `render` and `as_json` show them. Only files of the run folder are read.
"""

from lmlab.runs.compare.arranging import tables
from lmlab.runs.compare.reading import load
from lmlab.runs.compare.showing import as_json, render

__all__ = ["as_json", "load", "render", "tables"]
