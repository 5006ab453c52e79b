"""The parts of a learner by name, and the parameters of each."""

from collections import Counter
from collections.abc import Iterator

from torch import nn

from lmlab.models.layers.attention import Attention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.positions import RelativePositionBias
from lmlab.objectives.base import Learner

KINDS = {
    Attention: "attention",
    FeedForward: "feed-forward",
    Embeddings: "embeddings",
    nn.Embedding: "embeddings",
    RelativePositionBias: "relative positions",
}  # what is inside these belongs to them


def parameters_of(learner: Learner) -> Counter[str]:
    """Parameters by part, each counted once, where it comes first: a tied matrix with the embeddings."""
    names, counts, seen = names_of(learner), Counter(), set()
    for module, name in names.items():
        for weight in module.parameters(recurse=False):
            counts[name] += weight.numel() if weight not in seen else 0
            seen.add(weight)
    return +counts


def names_of(learner: Learner) -> dict[nn.Module, str]:
    """The part that every module belongs to. A module that stands in two places belongs to the first."""
    names: dict[nn.Module, str] = {}
    for module, name in _named(learner.model, learner.model.layout):
        names.setdefault(module, name)
    for head, module in learner.heads.items():
        for each in module.modules():
            names.setdefault(each, f"head: {head}")
    return names


def _named(module: nn.Module, layout: str, stack: str = "", kind: str = "") -> Iterator[tuple[nn.Module, str]]:
    """`module` and all inside it with the name of their part, e.g. "encoder: attention"."""
    if isinstance(module, Stack):
        stack, kind = f"{role_of(module, layout)}: ", ""
    kind = kind or next((name for each, name in KINDS.items() if isinstance(module, each)), "")
    yield module, f"{stack}{kind or _kind_by_shape(module)}"
    cross = module.cross_attention if isinstance(module, Block) else None
    for child in module.children():
        yield from _named(child, layout, stack, "cross-attention" if child is cross else kind)


def _kind_by_shape(module: nn.Module) -> str:
    """A normalisation has vectors alone; what has matrices outside of the known parts is a map, as of a bottleneck."""
    weights = list(module.parameters(recurse=False))
    return "norms" if weights and all(weight.ndim == 1 for weight in weights) else "other maps"


def role_of(stack: Stack, layout: str) -> str:
    """Whether a stack encodes or decodes: in a model of both, the decoder's blocks attend to a memory."""
    if layout != "encoder-decoder":
        return layout
    return "decoder" if attends_to_memory(stack) else "encoder"


def attends_to_memory(stack: Stack) -> bool:
    """Whether the blocks of a stack have cross-attention."""
    return any(isinstance(each, Block) and each.cross_attention is not None for each in stack.modules())


def repeated_in(model: nn.Module) -> int:
    """Parameters of shared layers, once for every layer beyond the first that they stand in."""
    layers = [layer for each in model.modules() if isinstance(each, Stack) for layer in each.blocks]
    weights = [weight for layer in layers for weight in layer.parameters()]
    return sum(weight.numel() for weight in weights) - sum(weight.numel() for weight in set(weights))


def depths_of(model: nn.Module) -> str:
    """Layers of every stack of a model, such as "12" or "24+24"; "-" where there is no stack."""
    return "+".join(str(len(each.blocks)) for each in model.modules() if isinstance(each, Stack)) or "-"
