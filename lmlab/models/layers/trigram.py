"""Token embeddings that are narrower than the blocks and widened by their neighbours (MobileBERT)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TrigramEmbedding(nn.Embedding):
    """A token's vector between those of the next and the previous token, mapped to the blocks: (B, T) -> (B, T, H).

    That is a convolution of width 3 over the vectors, with zeros beyond both ends; it makes up for their narrowness
    (Sun et al. 2020, arXiv:2004.02984, section 3.4). Padding is no end: the last token before it reads its vector, as
    in the published network.

    Args:
        vocab_size: rows of the embedding.
        embedding_size: width of a vector.
        hidden_size: H.
        trigram: whether the neighbours are read; false: a token's own vector is mapped alone.
    """

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, trigram: bool = True):
        super().__init__(vocab_size, embedding_size)
        self.trigram = trigram
        self.projection = nn.Linear((3 if trigram else 1) * embedding_size, hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = super().forward(input_ids)
        return self.projection(with_neighbours(x) if self.trigram else x)


def with_neighbours(x: Tensor) -> Tensor:
    """(B, T, E) -> (B, T, 3 * E): next, own and previous vector, as the published weights have them."""
    following = F.pad(x[:, 1:], (0, 0, 0, 1))
    previous = F.pad(x[:, :-1], (0, 0, 1, 0))
    return torch.cat([following, x, previous], dim=-1)
