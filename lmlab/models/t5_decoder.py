"""A decoder alone, of T5's parts (Raffel et al. 2019, arXiv:1910.10683, section 3.2)."""

from torch import Tensor, nn

from lmlab.models.base import Model, mask_bias
from lmlab.models.layers.attention import KeyValueCache
from lmlab.models.layers.block import num_seen
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.positions import RelativePositionBias
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.models.t5 import initialize_t5, t5_stack, t5_vocabulary_head


class T5Decoder(Model):
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

    layout = "decoder"
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
        self.tokens = nn.Embedding(vocab_size, hidden_size)
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
        self.dropout = Dropout(dropout)
        initialize_t5(self)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: list[tuple[KeyValueCache, KeyValueCache]] | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of `input_ids` (B, T).

        Args:
            attention_mask: (B, T), true at real tokens; not needed for padding on the right, which nothing sees.
            prefix_mask: (B, T), true at tokens that all others may see (prefix LM, if `bidirectional_prefix`).
            positions: flat indices (N,) of B * T; the result is then (N, H).
            cache: of the tokens before `input_ids`, from `new_cache`.
        """
        x = self.dropout(self.tokens(input_ids))
        length = x.shape[1]
        bias = self.positions(length, num_seen(cache) + length)
        prefix_mask = prefix_mask if self.bidirectional_prefix else None
        hidden, causal = mask_bias(attention_mask, prefix_mask, x.dtype), prefix_mask is None
        bias = bias if hidden is None else bias + hidden
        return self.dropout(self.stack(x, bias, causal, positions=positions, cache=cache, hidden_states=hidden_states))

    def new_cache(self) -> list[tuple[KeyValueCache, KeyValueCache]]:
        """Empty caches for one generation."""
        return self.stack.new_cache()

    def vocabulary_head(self) -> VocabularyHead:
        """The embedding with the hidden states scaled by H ** -0.5, or a matrix of its own (v1.1)."""
        return t5_vocabulary_head(self.tokens, self.tied)
