"""One layer of a transformer, and a stack of them."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from lmlab.models.layers.attention import Attention, KeyValueCache
from lmlab.models.layers.dropout import Dropout


class Block(nn.Module):
    """Self-attention, attention over a memory (decoders of T5 and BART), feed-forward, each with a residual.

    Args:
        attention: the self-attention.
        feed_forward: the feed-forward network.
        norm: makes one normalisation layer.
        dropout: on the output of each part before the residual sum.
        pre_norm: normalise the input of each part (GPT-2, T5) rather than the residual sum (BERT, GPT-1).
        cross_attention: attention over the memory, or None.
        more_feed_forwards: networks that follow the first (MobileBERT).
    """

    def __init__(
        self,
        attention: Attention,
        feed_forward: nn.Module,
        norm: Callable[[], nn.Module],
        dropout: float,
        pre_norm: bool,
        cross_attention: Attention | None = None,
        more_feed_forwards: Sequence[nn.Module] = (),
    ):
        super().__init__()
        self.attention = attention
        self.attention_norm = norm()
        self.cross_attention = cross_attention
        self.cross_attention_norm = norm() if cross_attention is not None else None
        self.feed_forward = feed_forward
        self.feed_forward_norm = norm()
        self.more_feed_forwards = nn.ModuleList(more_feed_forwards)
        self.more_feed_forward_norms = nn.ModuleList(norm() for _ in more_feed_forwards)
        self.dropout = Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        causal: bool = False,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
        positions: Tensor | None = None,
        cache: tuple[KeyValueCache, KeyValueCache] | None = None,
        attended: Tensor | None = None,
    ) -> Tensor:
        """(B, T, H) -> (B, T, H), or (N, H) when only the flat `positions` (N,) of B * T are wanted.

        Self-attention reads `attended` (B, T, its own width) where given, in place of the block's input.
        """
        own_cache, memory_cache = cache or (None, None)
        last = positions if self.cross_attention is None else None

        def self_attend(y: Tensor) -> Tensor:
            return self.attention(y if attended is None else attended, bias, causal, positions=last, cache=own_cache)

        def cross_attend(y: Tensor) -> Tensor:
            return self.cross_attention(y, memory_bias, memory=memory, positions=positions, cache=memory_cache)

        x = self._residual(x, self_attend, self.attention_norm, last)
        if self.cross_attention is not None:
            x = self._residual(x, cross_attend, self.cross_attention_norm, positions)
        x = self._residual(x, self.feed_forward, self.feed_forward_norm)
        for feed_forward, norm in zip(self.more_feed_forwards, self.more_feed_forward_norms, strict=True):
            x = self._residual(x, feed_forward, norm)
        return x

    def share(self, other: "Block") -> None:
        """Use the self-attention and the feed-forward network of `other`, and their norms, as its own."""
        self.attention, self.attention_norm = other.attention, other.attention_norm
        self.feed_forward, self.feed_forward_norm = other.feed_forward, other.feed_forward_norm
        self.more_feed_forwards = other.more_feed_forwards
        self.more_feed_forward_norms = other.more_feed_forward_norms

    def _residual(
        self, x: Tensor, part: Callable[[Tensor], Tensor], norm: nn.Module, positions: Tensor | None = None
    ) -> Tensor:
        kept = x if positions is None else x.flatten(0, 1)[positions]
        if self.pre_norm:
            return kept + self.dropout(part(norm(x)))
        return norm(kept + self.dropout(part(x)))


def num_seen(cache: list[tuple[KeyValueCache, KeyValueCache]] | None) -> int:
    """How many positions a stack's cache holds."""
    keys = None if cache is None else cache[0][0].keys
    return 0 if keys is None else keys.shape[2]


class Stack(nn.Module):
    """Blocks one after the other, and a last normalisation where the family has one.

    Args:
        make_block: makes the layer of a number, counted from 0.
        num_layers: how many layers there are.
        num_groups: neighbouring layers share all weights, so that there are only so many blocks (ALBERT: Lan et al.
            2019, arXiv:1909.11942); None: each layer has its own.
        final_norm: applied after the last block (GPT-2, T5), or None (BERT).
        causal: hide the future in self-attention; an encoder's stack is not causal.
    """

    def __init__(
        self,
        make_block: Callable[[int], nn.Module],
        num_layers: int,
        num_groups: int | None = None,
        final_norm: nn.Module | None = None,
        causal: bool = False,
    ):
        super().__init__()
        num_groups = num_groups or num_layers
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers} must be at least 1")
        if num_layers % num_groups:
            raise ValueError(f"num_layers={num_layers} cannot be shared equally by num_groups={num_groups}")
        depth = num_layers // num_groups
        groups = [make_block(number * depth) for number in range(num_groups)]
        self.blocks = nn.ModuleList(groups[number // depth] for number in range(num_layers))
        self.final_norm = final_norm
        self.causal = causal

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        causal: bool | None = None,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
        positions: Tensor | None = None,
        cache: "list[tuple[KeyValueCache, KeyValueCache]] | None" = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """(B, T, H) -> (B, T, H), or (N, H) at the flat `positions` (N,): the last block then computes no others.

        Args:
            bias: added to the scores of self-attention, broadcast to (B, A, T, T).
            causal: overrules the stack's own (a prefix that sees itself brings its own bias).
            memory, memory_bias: hidden states of an encoder and their padding.
            cache: one pair of caches a block, for generation.
            hidden_states: a list or deque that receives the input and the output of every block, at `positions`.
        """
        causal = self.causal if causal is None else causal
        caches = cache or [None] * len(self.blocks)
        if hidden_states is not None:
            hidden_states.append(_at(x, positions))
        for number, (block, block_cache) in enumerate(zip(self.blocks, caches, strict=True), start=1):
            wanted = positions if number == len(self.blocks) else None
            x = block(x, bias, causal, memory, memory_bias, wanted, block_cache)
            if hidden_states is not None:
                hidden_states.append(_at(x, positions))
        if self.final_norm is not None:
            x = self.final_norm(x)
            if hidden_states is not None:
                hidden_states[-1] = x
        return x

    def new_cache(self) -> list[tuple[KeyValueCache, KeyValueCache]]:
        """Empty caches for one generation: a pair (own positions, memory) a block."""
        return [(KeyValueCache(), KeyValueCache()) for _ in self.blocks]


def _at(x: Tensor, positions: Tensor | None) -> Tensor:
    """(B, T, H) at the flat `positions` (N,): (N, H), which the last block has given already."""
    return x if positions is None or x.dim() == 2 else x.flatten(0, 1)[positions]
