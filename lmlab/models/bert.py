"""BERT: a bidirectional encoder (Devlin et al. 2018, arXiv:1810.04805).

RoBERTa (Liu et al. 2019, arXiv:1907.11692), XLM-R (Conneau et al. 2019, arXiv:1911.02116), ERNIE (Sun et al. 2019,
arXiv:1904.09223), ALBERT (Lan et al. 2019, arXiv:1909.11942), ELECTRA (Clark et al. 2020, arXiv:2003.10555), DistilBERT
(Sanh et al. 2019, arXiv:1910.01108) and TinyBERT (Jiao et al. 2019, arXiv:1909.10351) are the same network with other
settings.
"""

from functools import partial

from torch import nn

from lmlab.errors import UserError
from lmlab.models.base import Model, dense_pooler, initialize
from lmlab.models.layers.attention import Attention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.feed_forward import Activation, FeedForward
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.models.layouts import Encoder


class Bert(Encoder):
    """Transformer encoder with learned positions and segments.

    Args:
        vocab_size: rows of the token embedding.
        hidden_size: width of the hidden states.
        embedding_size: width of the embeddings, projected to hidden_size where it is another (ALBERT, ELECTRA);
            hidden_size when null.
        num_layers: number of blocks.
        num_groups: neighbouring layers share their weights, which makes so many blocks (ALBERT: 1); null: each has its
            own.
        num_heads: attention heads of a block.
        intermediate_size: width inside the feed-forward network.
        max_positions: the longest sequence.
        position_offset: rows of the position embedding before that of the first token (RoBERTa: 2).
        num_segments: kinds of segments (sentence A and B); with fewer than 2 they are not told apart.
        activation: of the feed-forward network and of the vocabulary head.
        pooler_activation: of the dense layer between the first hidden state and what is asked of the whole sequence
            (BERT: tanh; DistilBERT: relu; ELECTRA: gelu).
        dropout: on embeddings and on the output of each part of a block.
        attention_dropout: on attention weights.
        norm_eps: of the layer normalisations.
        pre_norm: normalise the input of each part and once at the end, rather than the residual sums (BERT): easier to
            train (Xiong et al. 2020, arXiv:2002.04745), as Megatron-LM's BERT does.
        init_std: deviation of the truncated normal distribution of all matrices.
    """

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
        num_groups: int | None = None,
        position_offset: int = 0,
        pooler_activation: str = "tanh",
    ):
        super().__init__()
        self.vocab_size, self.hidden_size, self.max_positions = vocab_size, hidden_size, max_positions
        self.activation, self.pooler_activation, self.init_std = activation, pooler_activation, init_std
        self.norm = partial(nn.LayerNorm, eps=norm_eps)
        self.make_stack = partial(
            bert_stack,
            hidden_size=hidden_size,
            num_heads=num_heads,
            intermediate_size=intermediate_size,
            activation=activation,
            dropout=dropout,
            attention_dropout=attention_dropout,
            norm_eps=norm_eps,
            pre_norm=pre_norm,
        )
        self.embeddings = Embeddings(
            vocab_size,
            hidden_size,
            embedding_size,
            max_positions,
            position_offset,
            num_segments,
            norm=self.norm,
            dropout=dropout,
        )
        self.stack = self.make_stack(num_layers, num_groups=num_groups)
        initialize(self, std=init_std)

    def share_embeddings(self, other: Model) -> None:
        """Read tokens, positions and segments by the embeddings and the norm of `other`, whatever their width.

        Heads over the vocabulary must be made after it. Raises UserError when the other is no BERT.
        """
        if not isinstance(other, Bert):
            raise UserError(f"{type(other).__name__} has no embeddings that a BERT could share; choose a BERT")
        self.embeddings.share(other.embeddings)
        self.max_positions = other.max_positions
        initialize(self.embeddings.projection, self.init_std)

    def pooler(self) -> nn.Module:
        """Dense layer and activation on the first token's hidden state."""
        return dense_pooler(self.hidden_size, self.pooler_activation)

    def vocabulary_head(self) -> VocabularyHead:
        """Dense layer to the embedding's width, activation and norm; the token embedding with a bias per token."""
        width = self.embeddings.width
        dense = nn.Linear(self.hidden_size, width)
        initialize(dense, std=self.init_std)
        transform = nn.Sequential(dense, Activation(self.activation), self.norm(width))
        return VocabularyHead(self.embeddings.tokens.weight, bias=True, transform=transform)


def bert_stack(
    depth: int,
    hidden_size: int,
    num_heads: int,
    intermediate_size: int,
    activation: str,
    dropout: float,
    attention_dropout: float,
    norm_eps: float,
    pre_norm: bool = False,
    num_groups: int | None = None,
    causal: bool = False,
    cross_attend: bool = False,
) -> Stack:
    """Blocks with biases and layer normalisation; see `Bert` for the settings."""
    attention = partial(Attention, hidden_size, num_heads, dropout=attention_dropout)
    norm = partial(nn.LayerNorm, hidden_size, eps=norm_eps)

    def make_block(number: int) -> Block:
        return Block(
            attention=attention(),
            cross_attention=attention() if cross_attend else None,
            feed_forward=FeedForward(hidden_size, intermediate_size, activation),
            norm=norm,
            dropout=dropout,
            pre_norm=pre_norm,
        )

    return Stack(make_block, depth, num_groups, final_norm=norm() if pre_norm else None, causal=causal)
