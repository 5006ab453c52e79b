"""Blocks of another width than the hidden states between them (MobileBERT: Sun et al. 2020, arXiv:2004.02984).

Narrower ones are a bottleneck, which makes a deep network small; wider ones an inverted bottleneck, such as the
teacher's. Both leave hidden states of one width, which can be compared layer by layer.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lmlab.models.layers.attention import KeyValueCache
from lmlab.models.layers.block import Block
from lmlab.models.layers.dropout import Dropout


class Bottleneck(nn.Module):
    """A block between a linear map to its own width and one back, with a residual around them.

    Args:
        block: of the width `bottleneck_size`.
        hidden_size: H, the width of the hidden states.
        bottleneck_size: the width of the block.
        norm: makes a normalisation of the width it is given.
        dropout: on the output before the residual sum.
        attend_hidden: the block's self-attention reads the hidden states, not what has come through the bottleneck.
    """

    def __init__(
        self,
        block: Block,
        hidden_size: int,
        bottleneck_size: int,
        norm: Callable[[int], nn.Module],
        dropout: float,
        attend_hidden: bool,
    ):
        super().__init__()
        self.input = nn.Linear(hidden_size, bottleneck_size)
        self.input_norm = norm(bottleneck_size)
        self.block = block
        self.output = nn.Linear(bottleneck_size, hidden_size)
        self.output_norm = norm(hidden_size)
        self.dropout = Dropout(dropout)
        self.attend_hidden = attend_hidden

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        causal: bool = False,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
        positions: Tensor | None = None,
        cache: tuple[KeyValueCache, KeyValueCache] | None = None,
    ) -> Tensor:
        """See `Block.forward`."""
        attended = x if self.attend_hidden else None
        inner = self.input_norm(self.input(x))
        inner = self.block(inner, bias, causal, memory, memory_bias, positions, cache, attended)
        kept = x if positions is None else x.flatten(0, 1)[positions]
        return self.output_norm(kept + self.dropout(self.output(inner)))


class SharedBottleneckProjection(nn.Module):
    """Queries, keys and values of which the first two read a bottleneck that they share: (B, T, H) -> (B, T, 3 * I).

    The values read the hidden states themselves. It serves `Attention` as its `query_key_value`.

    Args:
        hidden_size: H.
        bottleneck_size: what queries and keys are computed from.
        inner_size: I, the width of the queries, of the keys and of the values.
        norm: makes a normalisation of the width it is given.
    """

    def __init__(self, hidden_size: int, bottleneck_size: int, inner_size: int, norm: Callable[[int], nn.Module]):
        super().__init__()
        self.bottleneck = nn.Linear(hidden_size, bottleneck_size)
        self.bottleneck_norm = norm(bottleneck_size)
        self.query_key = nn.Linear(bottleneck_size, 2 * inner_size)
        self.value = nn.Linear(hidden_size, inner_size)

    def forward(self, x: Tensor) -> Tensor:
        query_key = self.query_key(self.bottleneck_norm(self.bottleneck(x)))
        return torch.cat([query_key, self.value(x)], dim=-1)
