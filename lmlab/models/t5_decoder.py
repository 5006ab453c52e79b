"""A decoder alone, of T5's parts (Raffel et al. 2019, arXiv:1910.10683, section 3.2)."""

from torch import Tensor

from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.positions import RelativePositionBias
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.models.layouts import Decoder
from lmlab.models.t5 import initialize_t5, t5_stack, t5_vocabulary_head


class T5Decoder(Decoder):
    """T5's decoder without cross-attention: the paper's language model and prefix language model.

    Args:
        vocab_size: rows of the token embedding.
        hidden_size: width of the hidden states.
        num_layers: number of blocks.
        num_heads: attention heads of a block.
        head_size: width of a head, free of hidden_size / num_heads.
        intermediate_size: width inside the feed-forward network.
        activation: of the feed-forward network (T5: relu; v1.1: gelu_tanh).
        gated: multiply the activation by a second map (T5 v1.1).
        tied: score the vocabulary by the embedding (T5), or by a matrix of its own (v1.1).
        bidirectional_prefix: the tokens of `prefix_mask` see each other in both directions, and the relative positions
            tell ahead from behind (prefix LM); false leaves all causal (LM).
        dropout: everywhere, on attention weights too.
        norm_eps: of the root-mean-square normalisations.
        num_buckets, max_distance: of the relative positions.
    """

    max_positions = None

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 512,
        num_layers: int = 6,
        num_heads: int = 8,
        head_size: int = 64,
        intermediate_size: int = 2048,
        activation: str = "relu",
        gated: bool = False,
        tied: bool = True,
        bidirectional_prefix: bool = True,
        dropout: float = 0.1,
        norm_eps: float = 1e-6,
        num_buckets: int = 32,
        max_distance: int = 128,
    ):
        super().__init__()
        self.vocab_size, self.hidden_size, self.tied = vocab_size, hidden_size, tied
        self.bidirectional_prefix = bidirectional_prefix
        self.embeddings = Embeddings(vocab_size, hidden_size, dropout=dropout)
        self.stack = t5_stack(
            num_layers,
            hidden_size=hidden_size,
            num_heads=num_heads,
            head_size=head_size,
            intermediate_size=intermediate_size,
            activation=activation,
            gated=gated,
            dropout=dropout,
            norm_eps=norm_eps,
            causal=True,
        )
        self.positions = RelativePositionBias(num_heads, num_buckets, max_distance, bidirectional_prefix)
        self.last_dropout = Dropout(dropout)
        initialize_t5(self)

    def embed(self, input_ids: Tensor, num_seen: int | Tensor) -> Tensor:
        return self.embeddings(input_ids)

    def position_bias(self, num_queries: int, num_keys: int) -> Tensor:
        return self.positions(num_queries, num_keys)

    def vocabulary_head(self) -> VocabularyHead:
        """The embedding with the hidden states scaled by H ** -0.5, or a matrix of its own (v1.1)."""
        return t5_vocabulary_head(self.embeddings.tokens, self.tied)
