"""Relative positions as a bias on the attention scores (T5: Raffel et al. 2019, arXiv:1910.10683, section 2.1)."""

import math

import torch
from torch import Tensor, nn


def relative_buckets(distance: Tensor, num_buckets: int, max_distance: int, bidirectional: bool) -> Tensor:
    """Bucket of each distance key - query: exact when near, logarithmic when far, one for all beyond.

    Bidirectional buckets spend half of their number on keys that follow the query; causal ones none.
    """
    bucket = torch.zeros_like(distance)
    if bidirectional:
        num_buckets //= 2
        bucket += (distance > 0) * num_buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp_min(0)
    exact = num_buckets // 2
    steps = torch.log(distance.clamp_min(1) / exact) / math.log(max_distance / exact) * (num_buckets - exact)
    far = (exact + steps.long()).clamp_max(num_buckets - 1)
    return bucket + torch.where(distance < exact, distance, far)


class RelativePositionBias(nn.Module):
    """A learned number per head and bucket, shared by all layers of a stack."""

    def __init__(self, num_heads: int, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True):
        super().__init__()
        self.num_buckets, self.max_distance, self.bidirectional = num_buckets, max_distance, bidirectional
        self.scores = nn.Embedding(num_buckets, num_heads)

    def forward(self, num_queries: int, num_keys: int) -> Tensor:
        """Bias (1, A, T, S) of the last T of S positions as queries."""
        device = self.scores.weight.device
        keys = torch.arange(num_keys, device=device)
        distance = keys[None, :] - keys[num_keys - num_queries :, None]
        buckets = relative_buckets(distance, self.num_buckets, self.max_distance, self.bidirectional)
        return self.scores(buckets).permute(2, 0, 1).contiguous()[None]
