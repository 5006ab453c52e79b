"""What the nodes of a composed config say: the classes they name, and what those declare."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig

from lmlab.config.build import parameters_of, target_of
from lmlab.config.options import folders_of_job, option_files, read_option
from lmlab.errors import UserError

Node = Mapping[str, Any]


def nodes(value: Any, key: str) -> Iterator[tuple[str, Node]]:
    """All nodes with a `_target_` at or below `value`, with their dotted keys, outer ones first."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, value
        for name, each in value.items():
            yield from nodes(each, f"{key}.{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from nodes(each, f"{key}[{index}]")


def declares(node: Node, name: str) -> Any:
    """What the class of a node declares under `name`; None where it declares nothing, or only its objects know."""
    value = getattr(target_of(node["_target_"]), name, None)
    return None if isinstance(value, property) else value


def trait(node: Node, name: str) -> list[Any]:
    """What the classes of a node and of the nodes inside it declare under `name`, the outermost first."""
    declared = [declares(each, name) for _, each in nodes(node, "")]
    return [value for value in declared if value is not None]


def layout_of(model: Node) -> str | None:
    """The layout that a model declares."""
    return next(iter(trait(model, "layout")), None)


def value_of(node: Node, name: str) -> Any:
    """A key of a node, or the default of its class."""
    if name in node:
        return node[name]
    parameter = parameters_of(target_of(node["_target_"])).get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def option_name(group: str, node: Node) -> str:
    """The option's name as on the command line, or the class's name where no command line is known."""
    if HydraConfig.initialized():
        choice = HydraConfig.get().runtime.choices.get(group)
        if choice is not None:
            return str(choice)
    return str(node.get("_target_", "?")).rpartition(".")[2]


def options_that(group: str, fits: Callable[[Node], bool]) -> list[str]:
    """The names of a group's options that pass `fits`; one whose class cannot be read is left out."""
    folders = folders_of_job()
    names = []
    for name in option_files(group, folders):
        try:
            if fits(read_option(group, name, folders)):
                names.append(name)
        except (UserError, KeyError, ValueError, OSError):
            continue
    return names
