"""The beginning that many texts have in common, read by a decoder once for all of them."""

import numpy as np
import torch
from torch import Tensor, nn

from lmlab.models.layers.attention import KeyValueCache
from lmlab.models.layouts import Cache


class CommonBeginning(KeyValueCache):
    """Keys and values (1, A, S, D) of tokens that stand before every row of a batch; what follows is not kept."""

    def __init__(self, read: KeyValueCache) -> None:
        self.keys, self.values = read.keys, read.values

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The positions of each row (B, A, S + T, D) of which these (B, A, T, D) are the last."""
        before = (each.expand(len(keys), -1, -1, -1) for each in (self.keys, self.values))
        return tuple(torch.cat(pair, dim=2) for pair in zip(before, (keys, values), strict=True))


@torch.no_grad()
def cache_of(decoder: nn.Module, ids: np.ndarray) -> Cache | None:
    """The cache of a decoder that has read `ids` (S,), for batches of any size; None where there are none."""
    if not len(ids):
        return None
    device, cache = next(decoder.parameters()).device, decoder.new_cache()
    last = torch.tensor([len(ids) - 1], device=device)  # only the keys and values are of use
    decoder(input_ids=torch.tensor(ids, device=device)[None], positions=last, cache=cache)
    return [(CommonBeginning(own), memory) for own, memory in cache]
