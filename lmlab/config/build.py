"""From a node with a `_target_` to the object it names, with the facts that only the running command knows.

A fact (vocabulary size, padding id, number of labels, ...) is passed as a keyword to those classes whose
signature takes it and is never written into the config; a value in the config is stronger than a fact.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lmlab.errors import UserError, nearest

RESERVED = ("_target_", "_convert_", "_recursive_", "_partial_", "_published_")


def build(node: DictConfig | Mapping[str, Any], _key: str | None = None, **facts: Any) -> Any:
    """Instantiate `node`, the nodes inside it first. Every class receives plain Python values.

    `_key` is where the node stands, for messages; a DictConfig knows it itself.
    Raises UserError with the dotted key when the class is not found or refuses its values.
    """
    if isinstance(node, DictConfig):
        _key = _key or node._get_full_key(None)
    return _build(to_plain(node), _key or "", facts)


def to_plain(node: Any) -> Any:
    """OmegaConf to dicts, lists and numbers, interpolations resolved; anything else as it is."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def target_of(path: str, key: str = "") -> Callable[..., Any]:
    """The class or function that a `_target_` names. Raises UserError when there is none."""
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        missing = getattr(error, "name", None) or module_name
        if not isinstance(error, ModuleNotFoundError) or not f"{module_name}.".startswith(f"{missing}."):
            raise UserError(f"{key}._target_: importing {module_name!r} fails: {error}") from error
        raise UserError(f"{key}._target_: there is no module {missing!r} on the Python path") from error
    if not hasattr(module, name):
        raise UserError(f"{key}._target_: {module_name!r} has no {name!r}{nearest(name, dir(module))}")
    return getattr(module, name)


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that `target` takes by keyword.

    A class that hands `**others` on to its parent takes what the parent takes; a parameter of kind VAR_KEYWORD is left
    in the answer only where anything at all is taken.
    """
    parameters: dict[str, inspect.Parameter] = {}
    for each in inspect.getmro(target) if inspect.isclass(target) else (target,):
        own = inspect.signature(each).parameters
        named = {n: p for n, p in own.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        parameters = named | parameters
        others = {n: p for n, p in own.items() if p.kind is p.VAR_KEYWORD}
        if not others:
            return parameters
    return parameters | others


def _build(value: Any, key: str, facts: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_build(each, f"{key}[{index}]", facts) for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    items = ((name, each) for name, each in value.items() if name not in RESERVED)
    built = {name: _build(each, _join(key, name), facts) for name, each in items}
    return _call(value["_target_"], key, built, facts) if "_target_" in value else built


def _call(path: str, key: str, values: dict[str, Any], facts: dict[str, Any]) -> Any:
    target = target_of(path, key)
    takes = parameters_of(target)
    known = {name: fact for name, fact in facts.items() if name in takes and values.get(name) is None}
    try:
        inspect.signature(target).bind(**(values | known))
    except TypeError as error:
        raise UserError(f"{key}: {path}: {error}") from error
    try:
        return target(**(values | known))
    except (TypeError, ValueError) as error:
        raise UserError(f"{key}: {error}") from error


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)
