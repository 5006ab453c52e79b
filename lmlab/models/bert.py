"""BERT: a bidirectional encoder (Devlin et al. 2018, arXiv:1810.04805)."""

from functools import partial

from torch import Tensor, nn

from lmlab.errors import UserError
from lmlab.models.base import Model, initialize
from lmlab.models.layers.attention import Attention, padding_bias
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.feed_forward import ACTIVATIONS, FeedForward
from lmlab.models.layers.vocabulary import VocabularyHead


class Bert(Model):
    """Post-norm transformer encoder with learned positions and segments.

    Args:
        vocab_size: rows of the token embedding.
        hidden_size: width of the hidden states.
        embedding_size: width of the embeddings, projected to hidden_size where it is another (ALBERT, ELECTRA: Lan et
            al. 2019, arXiv:1909.11942, section 3.1); hidden_size when null.
        num_layers: number of blocks.
        num_heads: attention heads of a block.
        intermediate_size: width inside the feed-forward network.
        max_positions: the longest sequence.
        num_segments: kinds of segments (sentence A and B).
        activation: of the feed-forward network and of the vocabulary head.
        dropout: on embeddings and on the output of each part of a block.
        attention_dropout: on attention weights.
        norm_eps: of the layer normalisations.
        pre_norm: normalise the input of each part and once at the end, rather than the residual sums (BERT): easier to
            train (Xiong et al. 2020, arXiv:2002.04745), as Megatron-LM's BERT does.
        init_std: deviation of the truncated normal distribution of all matrices.
    """

    layout = "encoder"

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        intermediate_size: int = 3072,
        max_positions: int = 512,
        num_segments: int = 2,
        activation: str = "gelu",
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        norm_eps: float = 1e-12,
        pre_norm: bool = False,
        init_std: float = 0.02,
        embedding_size: int | None = None,
    ):
        super().__init__()
        self.vocab_size, self.hidden_size, self.max_positions = vocab_size, hidden_size, max_positions
        self.embedding_size = embedding_size or hidden_size
        self.activation, self.init_std = activation, init_std
        self.norm = partial(nn.LayerNorm, eps=norm_eps)
        norm = partial(self.norm, hidden_size)
        self.tokens = nn.Embedding(vocab_size, self.embedding_size)
        self.positions = nn.Embedding(max_positions, self.embedding_size)
        self.segments = nn.Embedding(num_segments, self.embedding_size)
        self.embedding_norm = self.norm(self.embedding_size)
        self.embedding_dropout = Dropout(dropout)
        self.embedding_projection = self._projection()
        self.stack = Stack(
            (
                Block(
                    attention=Attention(hidden_size, num_heads, dropout=attention_dropout),
                    feed_forward=FeedForward(hidden_size, intermediate_size, activation),
                    norm=norm,
                    dropout=dropout,
                    pre_norm=pre_norm,
                )
                for _ in range(num_layers)
            ),
            final_norm=norm() if pre_norm else None,
        )
        initialize(self, std=init_std)

    def _projection(self) -> nn.Module:
        """From the width of the embeddings to that of the blocks, where it is another."""
        if self.embedding_size == self.hidden_size:
            return nn.Identity()
        projection = nn.Linear(self.embedding_size, self.hidden_size)
        initialize(projection, std=self.init_std)
        return projection

    def share_embeddings(self, other: Model) -> None:
        """Read tokens, positions and segments by the embeddings and the norm of `other`, whatever their width.

        Heads over the vocabulary must be made after it. Raises UserError when the other is no BERT.
        """
        if not isinstance(other, Bert):
            raise UserError(f"{type(other).__name__} has no embeddings that a BERT could share; choose a BERT")
        self.tokens, self.positions, self.segments = other.tokens, other.positions, other.segments
        self.embedding_norm, self.embedding_size = other.embedding_norm, other.embedding_size
        self.max_positions = other.max_positions
        self.embedding_projection = self._projection()

    def embed(self, input_ids: Tensor, segment_ids: Tensor | None = None) -> Tensor:
        """(B, T) -> (B, T, H); without segments every token belongs to the first."""
        place = self.positions.weight[: input_ids.shape[1]]
        kind = self.segments.weight[0] if segment_ids is None else self.segments(segment_ids)
        embedded = self.embedding_norm(self.tokens(input_ids) + (place + kind))
        return self.embedding_projection(self.embedding_dropout(embedded))

    def forward(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of `input_ids` (B, T); `attention_mask` (B, T) is true at real tokens, None if all are."""
        x = self.embed(input_ids, segment_ids)
        bias = None if attention_mask is None else padding_bias(attention_mask, x.dtype)
        return self.stack(x, bias, positions=positions, hidden_states=hidden_states)

    def vocabulary_head(self) -> VocabularyHead:
        """Dense layer to the embedding's width, activation and norm; the token embedding with a bias per token."""
        dense = nn.Linear(self.hidden_size, self.embedding_size)
        initialize(dense, std=self.init_std)
        transform = nn.Sequential(dense, Activation(self.activation), self.norm(self.embedding_size))
        return VocabularyHead(self.tokens.weight, bias=True, transform=transform)


class Activation(nn.Module):
    """An activation function as a module, by its name in `ACTIVATIONS`."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)
