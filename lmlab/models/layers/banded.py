"""Attention to the near past alone, at a cost that grows with the length and not with its square.

A band of the causal matrix, as in the Sparse Transformer (Child et al. 2019, arXiv:1904.10509) and in every second
layer of GPT-3 (Brown et al. 2020, arXiv:2005.14165, section 2.1).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lmlab.models.layers.attention import Attention, attend


class BandedAttention(Attention):
    """Attention in which a token sees no more than `window` tokens back, itself included.

    What lies ahead is hidden as in `Attention`: all of it, but for what a prefix LM may see.

    Args:
        window: how many.
        named: what `Attention` takes.
    """

    def __init__(self, *, window: int, **named):
        super().__init__(**named)
        if window < 1:
            raise ValueError(f"local_window={window} must be at least 1")
        self.window = window

    def mix(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool) -> Tensor:
        """Cut into pieces what is a whole sequence with nothing hidden but the future; else hide what is far."""
        num_queries, num_keys = q.shape[2], k.shape[2]
        if num_keys <= self.window:
            return super().mix(q, k, v, bias, causal)
        if causal and bias is None and num_queries == num_keys:
            return attend_in_pieces(q, k, v, self.window, self.dropout if self.training else 0.0)
        far = far_bias(num_queries, num_keys, self.window, q)
        return super().mix(q, k, v, far if bias is None else bias + far, causal)


def attend_in_pieces(q: Tensor, k: Tensor, v: Tensor, window: int, dropout: float) -> Tensor:
    """Causal attention of (B, A, T, D) to the last `window` positions: (B, A, T, D).

    A piece of the queries, as long as the window, needs its own keys and those of the piece before it: that makes
    T / window products of window x 2 window instead of one of T x T.
    """
    batch, heads, length, size = q.shape
    rest = -length % window
    pieces = (length + rest) // window

    def cut(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, rest)).view(batch * heads, pieces, window, size)

    def with_previous(x: Tensor) -> Tensor:
        x = cut(x)
        return torch.cat([F.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1], x], dim=2)

    bias = far_bias(window, 2 * window, window, q).repeat(pieces, 1, 1)
    bias[0, :, :window] = -math.inf  # nothing comes before the first piece
    mixed = attend(cut(q), with_previous(k), with_previous(v), bias, causal=True, dropout=dropout)
    return mixed.reshape(batch, heads, pieces * window, size)[:, :, :length]


def far_bias(num_queries: int, num_keys: int, window: int, like: Tensor) -> Tensor:
    """(T, S): -inf where key s lies `window` or more before query t, which is aligned with key t + S - T; else 0."""
    bias = torch.full((num_queries, num_keys), -math.inf, dtype=like.dtype, device=like.device)
    return bias.tril_(num_keys - num_queries - window)
