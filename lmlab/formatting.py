"""Numbers and durations as people read them."""

import math
import os
import sys
from typing import Any


def figure(value: float | None) -> str:
    """A loss, a score or a learning rate in few characters: 4.312, 0.8437, 9.2e-04, 1,234."""
    if value is None or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    size = abs(value)
    if not math.isfinite(value) or size == 0:
        return f"{value:g}"
    if size < 0.01:
        return f"{value:.1e}"
    return f"{value:,.{4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0}f}"


def short_number(value: float) -> str:
    """A count in few characters: 950, 31.2k, 4.2M, 11.0B."""
    if not math.isfinite(value):
        return f"{value:g}"
    for unit in ("", "k", "M", "B"):
        if abs(value) < 999.5 or unit == "B":
            return f"{value:.1f}{unit}" if unit else f"{value:.0f}"
        value /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """0:07, 3:20, 1:02:05, 2d 03:10."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def console() -> Any:
    """A rich console on standard output: as wide as the terminal, as wide as needed in a file or a pipe."""
    from rich.console import Console

    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, force_jupyter=False, width=400 if wide else None)
