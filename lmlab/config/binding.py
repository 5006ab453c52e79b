"""Whether the keys of a node fit the signature of its class."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from lmlab.config.build import RESERVED, parameters_of, target_of
from lmlab.config.nodes import Node, nodes
from lmlab.errors import UserError, nearest


def binding_problems(value: Any, key: str) -> list[str]:
    """What is wrong with the keys of `value` and of all nodes inside it that have a `_target_`."""
    problems = []
    for where, node in nodes(value, key):
        try:
            target = target_of(node["_target_"], where)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += _signature_problems(target, node, where)
    return problems


def _signature_problems(target: Callable[..., Any], node: Node, key: str) -> list[str]:
    takes = parameters_of(target)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    hints = _annotations(target)
    problems = []
    for name, value in node.items():
        if name in RESERVED:
            continue
        if name not in takes and not takes_any:
            hint = nearest(name, takes)
            all_names = ", ".join(takes) or "nothing"
            problems.append(f"{key}.{name}: {target.__name__} takes no {name!r}{hint} (it takes: {all_names})")
        elif name in hints and not _fits(value, hints[name]):
            problems.append(f"{key}.{name} must be {_in_words(hints[name])}, not {_in_yaml(value)}")
    return problems


def _annotations(target: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters, those that a class hands on to its parent included."""
    hints: dict[str, Any] = {}
    for each in reversed(inspect.getmro(target)) if inspect.isclass(target) else (target,):
        function = each.__init__ if isinstance(each, type) else each
        with suppress(NameError, TypeError):  # a name that is imported for type checking only
            hints |= typing.get_type_hints(function)
    return hints


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value has the annotated type; annotations that are not simple take anything."""
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is Literal:
        return value in arguments
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (str, bool):
        return isinstance(value, annotation)
    kind = origin or annotation
    if kind in (list, tuple, Sequence, Iterable):
        return _fits_sequence(value, kind, arguments)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    return True


def _fits_sequence(value: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(value, list):
        return False
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    return not arguments or all(_fits(each, arguments[0]) for each in value)


def _in_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _in_words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_in_words(each) for each in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    simple = {int: "an integer", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if annotation in simple:
        return simple[annotation]
    if (origin or annotation) in (list, tuple, Sequence, Iterable):
        inside = ", ".join(_in_words(each) for each in arguments if each is not ...)
        return f"a list ({inside})" if inside else "a list"
    return str(getattr(annotation, "__name__", annotation))
