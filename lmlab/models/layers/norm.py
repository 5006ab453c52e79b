"""Normalisations that a family chooses by name, and what stands in for one where time counts."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


class NoNorm(nn.Module):
    """Scale and shift every element, with no mean or variance to compute: (..., H) -> (..., H).

    On a phone it takes a fraction of the time of a layer normalisation (MobileBERT: Sun et al. 2020, arXiv:2004.02984,
    section 3.3).
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias

    def extra_repr(self) -> str:
        return str(len(self.weight))


def norm_maker(name: str, eps: float) -> Callable[[int], nn.Module]:
    """What makes the normalisation of that name for the width that it is given; `eps` is that of `layer_norm`.

    Raises ValueError when there is none of that name.
    """
    makers = {"layer_norm": partial(nn.LayerNorm, eps=eps), "no_norm": NoNorm}
    if name not in makers:
        raise ValueError(f"norm={name!r} must be one of {', '.join(makers)}")
    return makers[name]
