"""What every model offers, whatever its family."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmlab.models.layers.feed_forward import Activation
from lmlab.models.layers.vocabulary import VocabularyHead


class Model(nn.Module, ABC):
    """A network from token ids to hidden states. Heads and losses live with whoever asks the question.

    Attributes:
        layout: "encoder" (sees both sides), "decoder" (sees the past) or "encoder-decoder".
        hidden_size: width of the hidden states.
        vocab_size: rows of the token embedding.
        max_positions: the longest sequence, or None where there is no limit.
        start_id: the token that a decoder over an encoder begins with; None for the other layouts.
    """

    layout: ClassVar[str]
    hidden_size: int
    vocab_size: int
    max_positions: int | None
    start_id: int | None = None

    @abstractmethod
    def forward(self, **inputs: Tensor) -> Tensor:
        """Return the last hidden states, (B, T, H), or (N, H) at the flat indices `positions` (N,) of B * T."""

    def hidden_states(self, *, last: int | None = None, **inputs: Tensor) -> list[Tensor]:
        """Return one (B, T, H) a layer, the embeddings first; of the decoder for an encoder-decoder.

        `forward` fills the list that it is given as `hidden_states`.

        Args:
            last: only of so many last layers; the others are not kept.
            inputs: of `forward`; with `positions` (N,) there is one (N, H) a layer.
        """
        states: deque[Tensor] = deque(maxlen=last)
        self.forward(**inputs, hidden_states=states)
        return list(states)

    @abstractmethod
    def vocabulary_head(self) -> VocabularyHead:
        """Make the family's head over the vocabulary, tied to the embedding where the family ties it."""

    def pooler(self) -> nn.Module:
        """Make the map from the hidden state that stands for a sequence to what its heads read; here: none."""
        return nn.Identity()


def dense_pooler(hidden_size: int, activation: str) -> nn.Module:
    """Make a dense layer with an activation, such as BERT's pooler."""
    dense = nn.Linear(hidden_size, hidden_size)
    initialize(dense, std=0.02)
    return nn.Sequential(dense, Activation(activation))


def initialize(module: nn.Module, std: float, truncated: bool = True) -> None:
    """Draw the matrices of `module` from a normal distribution, maybe cut at two deviations; zero its biases."""
    draw: Callable = _truncated if truncated else nn.init.normal_
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            draw(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


def _truncated(weight: Tensor, std: float) -> Tensor:
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def sum_of(*biases: Tensor | None) -> Tensor | None:
    """The sum of those that are given, None if none is."""
    given = [bias for bias in biases if bias is not None]
    return sum(given[1:], given[0]) if given else None


def prefix_bias(prefix_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Bias (B, 1, T, T) of a prefix LM: all see the prefix, true in `prefix_mask` (B, T); the rest is causal."""
    if prefix_mask is None:
        return None
    length = prefix_mask.shape[1]
    lowest = torch.finfo(dtype).min
    future = torch.full((length, length), lowest, dtype=dtype, device=prefix_mask.device).triu_(1)
    return (future * ~prefix_mask.bool()[:, None, :])[:, None]
