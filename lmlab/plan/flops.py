"""Floating-point operations of training, counted as a multiplication and an addition for each number of a product.

Matrix products alone count, as in the papers (Kaplan et al. 2020, arXiv:2001.08361, table 1): all the rest is small.
The backward pass of a product takes two of its size, for the gradients of both factors.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from torch import nn

from lmlab.models.layers.attention import Attention
from lmlab.models.layers.banded import BandedAttention
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.objectives.base import Learner
from lmlab.plan.calls import Call, Calls
from lmlab.plan.parts import names_of
from lmlab.plan.uses import Text, Use, uses_of

FORWARD_AND_BACKWARD = 3  # times the forward pass


@dataclass(frozen=True)
class Flops:
    """Of one micro-batch, forward and backward.

    Attributes:
        parts: by part of the learner.
        scores: of all, those between queries and keys and over the values, which grow with the square of the length.
    """

    parts: Counter[str]
    scores: int

    @property
    def total(self) -> int:
        return self.parts.total()


def flops_of(learner: Learner, passes: Iterable[Calls]) -> Flops:
    """The operations of the networks that a micro-batch runs through in all of its passes."""
    names, parts, scores = names_of(learner), Counter(), 0
    for call in chain.from_iterable(passes):
        times = FORWARD_AND_BACKWARD if call.trained else 1
        if isinstance(call.network, VocabularyHead):
            parts[names[call.network]] += times * _vocabulary(call)
        for use in uses_of(call):
            parts[names[use.part]] += times * _forward(use)
            if isinstance(use.part, Attention):
                scores += times * _scores(use)
    return Flops(+parts, scores)


def _forward(use: Use) -> int:
    if isinstance(use.part, Attention):
        return _projections(use) + _scores(use)
    return 2 * use.rows * _matrices(use.part)


def _projections(use: Use) -> int:
    """Of queries, keys and values, the latter two maybe of a memory, and of the output."""
    text, packed = use.text, _matrices(use.part.query_key_value)
    read = text.rows * packed
    if use.crosses:
        read = text.rows * packed // 3 + text.batch * text.memory_length * packed * 2 // 3
    return 2 * (read + use.rows * _matrices(use.part.output))


def _scores(use: Use) -> int:
    """Queries by keys, and the weights by the values."""
    queries, keys = extent(use.part, use.text, use.crosses)
    return 2 * 2 * use.text.batch * queries * keys * use.part.inner_size


def _vocabulary(call: Call) -> int:
    return 2 * call.rows * sum(weight.numel() for weight in call.network.parameters(recurse=False) if weight.ndim > 1)


def _matrices(module: nn.Module) -> int:
    """Numbers in the matrices of a module that multiply; those of embeddings are looked up."""
    inside = (each for each in module.modules() if not isinstance(each, nn.Embedding))
    return sum(weight.numel() for each in inside for weight in each.parameters(recurse=False) if weight.ndim > 1)


def extent(attention: Attention, text: Text, crosses: bool) -> tuple[int, int]:
    """Queries of a sequence and keys that each of them is held against, the hidden ones among them included."""
    if crosses:
        return text.length, text.memory_length
    if in_pieces(attention, text):
        return -(-text.length // attention.window) * attention.window, 2 * attention.window
    return text.length, text.length


def in_pieces(attention: Attention, text: Text) -> bool:
    """Whether a band is computed alone, rather than everything and then hidden."""
    if not isinstance(attention, BandedAttention):
        return False
    return text.length > attention.window and not (text.masked or text.distances)
