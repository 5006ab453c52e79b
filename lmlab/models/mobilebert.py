"""MobileBERT: a deep and narrow encoder for phones, and the teacher it imitates (Sun et al. 2020, arXiv:2004.02984).

IB-BERT, the teacher, is the same network with other settings: its blocks are wider than the hidden states.
"""

from functools import partial

from torch import nn

from lmlab.models.base import dense_pooler, initialize
from lmlab.models.bert import bert_stack
from lmlab.models.layers.attention import Attention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.bottleneck import Bottleneck, SharedBottleneckProjection
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.feed_forward import Activation, FeedForward
from lmlab.models.layers.norm import norm_maker
from lmlab.models.layers.trigram import TrigramEmbedding
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.models.layouts import Encoder

ATTENTION_INPUTS = ("split", "hidden", "bottleneck")


class MobileBert(Encoder):
    """Transformer encoder whose blocks have another width than the hidden states between them.

    Args:
        vocab_size: rows of the token embedding.
        hidden_size: width of the hidden states.
        embedding_size: width of the token embedding, below hidden_size.
        bottleneck_size: width of the blocks.
        num_layers: number of blocks.
        num_heads: attention heads of a block.
        intermediate_size: width inside a feed-forward network.
        num_feed_forward: feed-forward networks of a block, one after the other.
        attention_input: what attention reads. "split": queries and keys a bottleneck that they share, values the hidden
            states (MobileBERT); "hidden": all the hidden states (IB-BERT); "bottleneck": all what the block works on
            (MobileBERT-Tiny).
        trigram: a token's vector is laid beside those of its two neighbours before it is mapped to hidden_size.
        max_positions: the longest sequence.
        num_segments: kinds of segments (sentence A and B).
        activation: of the feed-forward networks and of the vocabulary head.
        norm: "no_norm", which only scales and shifts, or "layer_norm".
        norm_eps: of the layer normalisations.
        pooler_activation: of the dense layer between the first hidden state and what is asked of the whole sequence;
            null: none, the hidden state is read as it is.
        dropout: on embeddings and on the output of each block.
        attention_dropout: on attention weights.
        init_std: deviation of the truncated normal distribution of all matrices.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 512,
        embedding_size: int = 128,
        bottleneck_size: int = 128,
        num_layers: int = 24,
        num_heads: int = 4,
        intermediate_size: int = 512,
        num_feed_forward: int = 4,
        attention_input: str = "split",
        trigram: bool = True,
        max_positions: int = 512,
        num_segments: int = 2,
        activation: str = "relu",
        norm: str = "no_norm",
        norm_eps: float = 1e-12,
        pooler_activation: str | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.1,
        init_std: float = 0.02,
    ):
        super().__init__()
        if embedding_size >= hidden_size:
            raise ValueError(f"embedding_size={embedding_size} must be below hidden_size={hidden_size}")
        if bottleneck_size % num_heads:
            raise ValueError(f"bottleneck_size={bottleneck_size} cannot be shared equally by num_heads={num_heads}")
        if num_feed_forward < 1:
            raise ValueError(f"num_feed_forward={num_feed_forward} must be at least 1")
        if attention_input not in ATTENTION_INPUTS:
            raise ValueError(f"attention_input={attention_input!r} must be one of {', '.join(ATTENTION_INPUTS)}")
        self.vocab_size, self.hidden_size, self.max_positions = vocab_size, hidden_size, max_positions
        self.activation, self.pooler_activation = activation, pooler_activation
        self.norm_eps, self.init_std, self.embeds_neighbours = norm_eps, init_std, trigram
        self.make_stack = partial(  # of BERT's blocks: a bottleneck is narrower than the states it would attend to
            bert_stack,
            hidden_size=hidden_size,
            num_heads=num_heads,
            intermediate_size=4 * hidden_size,
            activation=activation,
            dropout=dropout,
            attention_dropout=attention_dropout,
            norm_eps=norm_eps,
        )
        make_norm = norm_maker(norm, norm_eps)
        attend_hidden = attention_input != "bottleneck"

        def make_attention() -> Attention:
            projection = None
            if attention_input == "split":
                projection = SharedBottleneckProjection(hidden_size, bottleneck_size, bottleneck_size, make_norm)
            return Attention(
                hidden_size if attend_hidden else bottleneck_size,
                num_heads,
                head_size=bottleneck_size // num_heads,
                dropout=attention_dropout,
                output_size=bottleneck_size,
                query_key_value=projection,
            )

        def make_feed_forward() -> FeedForward:
            return FeedForward(bottleneck_size, intermediate_size, activation)

        def make_block(number: int) -> Bottleneck:
            block = Block(
                attention=make_attention(),
                feed_forward=make_feed_forward(),
                norm=partial(make_norm, bottleneck_size),
                dropout=0.0,
                pre_norm=False,
                more_feed_forwards=[make_feed_forward() for _ in range(num_feed_forward - 1)],
            )
            return Bottleneck(block, hidden_size, bottleneck_size, make_norm, dropout, attend_hidden)

        self.embeddings = Embeddings(
            vocab_size,
            hidden_size,
            max_positions=max_positions,
            num_segments=num_segments,
            norm=make_norm,
            dropout=dropout,
            tokens=TrigramEmbedding(vocab_size, embedding_size, hidden_size, trigram),
        )
        self.stack = Stack(make_block, num_layers)
        initialize(self, std=init_std)

    def pooler(self) -> nn.Module:
        """Dense layer and activation on the first token's hidden state, or nothing, as `pooler_activation` says."""
        if self.pooler_activation is None:
            return super().pooler()
        return dense_pooler(self.hidden_size, self.pooler_activation)

    def vocabulary_head(self) -> VocabularyHead:
        """Dense layer, activation and layer normalisation; the token embedding, widened by columns of the head's own.

        There is a bias per token.
        """
        dense = nn.Linear(self.hidden_size, self.hidden_size)
        columns = nn.Embedding(self.vocab_size, self.hidden_size - self.embeddings.tokens.embedding_dim)
        head = VocabularyHead(
            self.embeddings.tokens.weight,
            bias=True,
            transform=nn.Sequential(
                dense, Activation(self.activation), nn.LayerNorm(self.hidden_size, eps=self.norm_eps)
            ),
            more_columns=columns.weight,
        )
        for part in (dense, columns):
            initialize(part, std=self.init_std)
        return head
