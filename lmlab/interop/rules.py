"""Which of our weights is which of the format's, and the move in either direction.

A table names modules, ours on the left and the format's on the right; a weight keeps its last name (`weight`, `bias`).
A weight that has another last name there stands in the table itself. `{i}` is the number of a layer. On the right is

    "name"             one module
    ("q", "k", "v")    several, whose rows one after the other are our packed matrix
    Transposed("name") one that keeps its matrix as (inputs, outputs): GPT's Conv1D
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lmlab.errors import UserError

MOST_LISTED = 20  # tensors of one kind in a message


class Transposed(NamedTuple):
    """The name of a module that keeps its matrix the other way round."""

    name: str


Rules = Mapping[str, str | tuple[str, ...] | Transposed]


class Place(NamedTuple):
    """Where the format keeps one of our weights: in parts, maybe the other way round."""

    names: tuple[str, ...]
    transposed: bool = False

    def shape(self, ours: torch.Size) -> tuple[int, ...]:
        """Of each part, where our weight has the shape `ours`."""
        rows, *columns = ours
        shape = (rows // len(self.names), *columns)
        return shape[::-1] if self.transposed else shape

    def join(self, parts: list[Tensor]) -> Tensor:
        """Our weight from the format's parts."""
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        return whole.T.contiguous() if self.transposed else whole

    def split(self, weight: Tensor) -> dict[str, Tensor]:
        """The format's parts of our weight, by name."""
        whole = weight.T if self.transposed else weight
        return {name: part.contiguous() for name, part in zip(self.names, whole.chunk(len(self.names)), strict=True)}


def under(ours: str, theirs: str, rules: Rules) -> Rules:
    """The table with a name before every entry, on either side; "" is the module of that name itself."""

    def below(name: str) -> str:
        return f"{theirs}.{name}" if name else theirs

    moved = {}
    for name, other in rules.items():
        if isinstance(other, Transposed):
            moved_other = Transposed(below(other.name))
        else:
            moved_other = below(other) if isinstance(other, str) else tuple(map(below, other))
        moved[f"{ours}.{name}" if name else ours] = moved_other
    return moved


def places(names: Iterable[str], rules: Rules, layers_per_block: int = 1) -> dict[str, Place | None]:
    """Where each of our weights lies in the format; None for one that the table does not know.

    Args:
        names: of our weights; of those that layers share, the first layer's.
        layers_per_block: how many neighbouring layers share their weights; the format counts blocks.
    """
    patterns = [(re.compile(re.escape(ours).replace(r"\{i\}", r"(\d+)")), theirs) for ours, theirs in rules.items()]

    def look_up(name: str, suffix: str, is_matrix: bool) -> Place | None:
        for pattern, theirs in patterns:
            if match := pattern.fullmatch(name):
                number = int(match[1]) // layers_per_block if match.groups() else 0
                parts = (theirs,) if isinstance(theirs, str) else tuple(theirs)
                filled = tuple(part.format(i=number) + suffix for part in parts)
                return Place(filled, isinstance(theirs, Transposed) and is_matrix)
        return None

    def find(name: str) -> Place | None:
        module, _, leaf = name.rpartition(".")
        return look_up(name, "", is_matrix=True) or look_up(module, f".{leaf}", is_matrix=leaf == "weight")

    return {name: find(name) for name in names}


def to_ours(shapes: Mapping[str, torch.Size], tensors: Mapping[str, Tensor], where: Mapping[str, Place]) -> dict:
    """Our weights, by name, from the tensors of a folder.

    Args:
        shapes: of our weights.
        tensors: of the folder; each must be wanted.
        where: the place of each of our weights.

    Raises:
        UserError: it lists all tensors that are missing, left over or of another shape.
    """
    wanted = {part: place.shape(shapes[name]) for name, place in where.items() for part in place.names}
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    misshapen = [
        f"{name}: {tuple(tensors[name].shape)} in the file, {shape} by config.json"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ]
    kinds = {"missing": missing, "left over": extra, "of another shape": misshapen}
    if problems := [line for kind, names in kinds.items() for line in _listed(kind, names)]:
        raise UserError("the weights do not fit the model that config.json describes:\n" + "\n".join(problems))
    return {name: place.join([tensors[part] for part in place.names]) for name, place in where.items()}


def to_theirs(weights: Mapping[str, Tensor], where: Mapping[str, Place]) -> dict[str, Tensor]:
    """The format's tensors, by name, from our weights."""
    return {name: part for ours, weight in weights.items() for name, part in where[ours].split(weight).items()}


def _listed(kind: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"  {kind} ({len(names)}):"
        yield from (f"    {name}" for name in sorted(names)[:MOST_LISTED])
    if len(names) > MOST_LISTED:
        yield f"    and {len(names) - MOST_LISTED} more"
