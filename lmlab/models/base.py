"""What every model offers, whatever its family."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmlab.models.layers.attention import padding_bias
from lmlab.models.layers.vocabulary import VocabularyHead


class Model(nn.Module, ABC):
    """A network from token ids to hidden states. Heads and losses live with whoever asks the question.

    Attributes:
        layout: "encoder" (sees both sides), "decoder" (sees the past) or "encoder-decoder".
        hidden_size: width of the hidden states.
        vocab_size: rows of the token embedding.
        max_positions: the longest sequence, or None where there is no limit.
    """

    layout: ClassVar[str]
    hidden_size: int
    vocab_size: int
    max_positions: int | None

    @abstractmethod
    def forward(self, **inputs: Tensor) -> Tensor:
        """Return the last hidden states, (B, T, H), or (N, H) at the flat indices `positions` (N,) of B * T."""

    def hidden_states(self, **inputs: Tensor) -> list[Tensor]:
        """Return one (B, T, H) a layer, the embeddings first; of the decoder for an encoder-decoder.

        `forward` fills the list that it is given as `hidden_states`.
        """
        states: list[Tensor] = []
        self.forward(**inputs, hidden_states=states)
        return states

    @abstractmethod
    def vocabulary_head(self) -> VocabularyHead:
        """Make the family's head over the vocabulary, tied to the embedding where the family ties it."""

    def pooler(self) -> nn.Module:
        """Make the map from the first token's hidden state to that of the sequence (BERT's dense layer and tanh)."""
        dense = nn.Linear(self.hidden_size, self.hidden_size)
        initialize(dense, std=0.02)
        return nn.Sequential(dense, nn.Tanh())


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


def mask_bias(attention_mask: Tensor | None, prefix_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Bias that hides padding and, for a prefix LM, the future behind the prefix; None without either mask."""
    padding = None if attention_mask is None else padding_bias(attention_mask, dtype)
    prefix = None if prefix_mask is None else prefix_bias(prefix_mask, dtype)
    if padding is None or prefix is None:
        return padding if prefix is None else prefix
    return padding + prefix


def prefix_bias(prefix_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Bias (B, 1, T, T) of a prefix LM: all see the prefix, true in `prefix_mask` (B, T); the rest is causal."""
    length = prefix_mask.shape[1]
    lowest = torch.finfo(dtype).min
    future = torch.full((length, length), lowest, dtype=dtype, device=prefix_mask.device).triu_(1)
    return (future * ~prefix_mask.bool()[:, None, :])[:, None]
