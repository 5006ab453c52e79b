"""Rows that hold several questions, as flat rows."""

from collections.abc import Iterator
from typing import Any

from lmlab.errors import UserError, nearest


def unfold(row: dict, columns: dict[str, str], where: str) -> Iterator[dict]:
    """Flat rows of a nested one.

    Args:
        columns: for each column its path: `passage.text` steps into mappings; `passage.questions[].answer` gives
            one row for each element of a list. Paths may enter lists in lists, but not two lists side by side.

    Raises:
        UserError: a path leads nowhere.
    """
    flat = {name: step_into(row, path, where) for name, path in columns.items() if "[]" not in path}
    inside = {name: path.split("[].", 1) for name, path in columns.items() if "[]." in path}
    lists = {first for first, _ in inside.values()}
    if not lists:
        yield flat
        return
    if len(lists) > 1:
        raise UserError(f"task.columns: {' and '.join(sorted(lists))} are two lists side by side; rows can follow one")
    for element in step_into(row, lists.pop(), where):
        for rest in unfold(element, {name: path for name, (_, path) in inside.items()}, where):
            yield flat | rest


def step_into(node: Any, path: str, where: str) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            there = list(node) if isinstance(node, dict) else []
            hint = nearest(key, there)
            raise UserError(f"{where}: no column '{key}' of {path}{hint}; columns there: {', '.join(there) or 'none'}")
        node = node[key]
    return node
