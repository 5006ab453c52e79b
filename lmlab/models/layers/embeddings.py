"""From token ids to the vectors that enter the first block."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lmlab.models.layers.dropout import Dropout


class Embeddings(nn.Module):
    """The sum of a token's, its position's and its segment's vector: (B, T) -> (B, T, H).

    It is normalised where the family normalises it, and projected to the width of the blocks where that is another:
    a narrow embedding makes a large vocabulary cheap (ALBERT: Lan et al. 2019, arXiv:1909.11942, section 3.1).

    Args:
        vocab_size: rows of the token embedding.
        hidden_size: H, the width of the blocks.
        embedding_size: width of the embeddings; H when None.
        max_positions: the longest sequence; None: no learned positions.
        position_offset: rows of the position embedding before that of the first token (RoBERTa, BART: 2).
        num_segments: kinds of segments; 0: none are told apart, and there are no weights for them.
        norm: makes a normalisation of the width it is given, or None.
        dropout: on the normalised sum.
        tokens: looks tokens up in another way than an embedding of `vocab_size` rows, as wide as the sum.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        embedding_size: int | None = None,
        max_positions: int | None = None,
        position_offset: int = 0,
        num_segments: int = 0,
        norm: Callable[[int], nn.Module] | None = None,
        dropout: float = 0.0,
        tokens: nn.Module | None = None,
    ):
        super().__init__()
        self.width = width = embedding_size or hidden_size  # of the sum, before the projection
        self.hidden_size, self.position_offset = hidden_size, position_offset
        self.tokens = tokens or nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(max_positions + position_offset, width) if max_positions else None
        self.segments = nn.Embedding(num_segments, width) if num_segments else None
        self.norm = norm(width) if norm is not None else None
        self.dropout = Dropout(dropout)
        self.projection = self._projection()

    def _projection(self) -> nn.Module:
        return nn.Identity() if self.width == self.hidden_size else nn.Linear(self.width, self.hidden_size)

    def share(self, other: "Embeddings") -> None:
        """Look tokens, positions and segments up where `other` does; the projection is new, and its own."""
        self.tokens, self.positions, self.segments = other.tokens, other.positions, other.segments
        self.norm, self.position_offset, self.width = other.norm, other.position_offset, other.width
        self.projection = self._projection()

    def forward(self, input_ids: Tensor, segment_ids: Tensor | None = None, num_seen: int | Tensor = 0) -> Tensor:
        """Embed `input_ids` (B, T), which follow `num_seen` others, (B, 1) where rows differ.

        Without `segment_ids` (B, T) every token belongs to the first segment, as in a family that knows only one.
        """
        x = self.tokens(input_ids)
        if (added := self._added(input_ids.shape[1], segment_ids, num_seen)) is not None:
            x = x + added
        if self.norm is not None:
            x = self.norm(x)
        return self.projection(self.dropout(x))

    def _added(self, length: int, segment_ids: Tensor | None, num_seen: int | Tensor) -> Tensor | None:
        """What position and segment add; they are summed first, since the sum is smaller than a batch."""
        place = kind = None
        if self.positions is not None:
            start = self.position_offset + num_seen
            if isinstance(num_seen, int):
                place = self.positions.weight[start : start + length]
            else:  # padding on the left lies before the first place
                places = start + torch.arange(length, device=start.device)
                place = self.positions(places.clamp_min(self.position_offset))
        if self.segments is not None:
            several = segment_ids is not None and self.segments.num_embeddings > 1
            kind = self.segments(segment_ids) if several else self.segments.weight[0]
        if place is None or kind is None:
            return kind if place is None else place
        return place + kind
