"""GPT: a causal decoder (GPT-2: Radford et al. 2019; GPT-1 with `pre_norm: false`: Radford et al. 2018)."""

from functools import partial

from torch import Tensor, nn

from lmlab.models.base import Model, initialize, mask_bias
from lmlab.models.layers.attention import Attention, KeyValueCache
from lmlab.models.layers.block import Block, Stack, num_seen
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.vocabulary import VocabularyHead


class Gpt(Model):
    """Causal transformer decoder with learned positions and an output tied to the embedding.

    Args:
        vocab_size: rows of the token embedding.
        hidden_size: width of the hidden states.
        num_layers: number of blocks.
        num_heads: attention heads of a block.
        intermediate_size: width inside the feed-forward network; 4 * hidden_size when null.
        max_positions: the longest sequence.
        activation: of the feed-forward network.
        dropout: on embeddings and on the output of each part of a block.
        attention_dropout: on attention weights.
        norm_eps: of the layer normalisations.
        pre_norm: normalise the input of each part and once at the end (GPT-2), or the residual sums (GPT-1).
        bidirectional_prefix: the tokens of `prefix_mask` see each other in both directions; false leaves them causal.
        init_std: deviation of the normal distribution of all matrices; with `pre_norm` those that end on the
            residual stream are drawn smaller by sqrt(2 * num_layers).
    """

    layout = "decoder"

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        intermediate_size: int | None = None,
        max_positions: int = 1024,
        activation: str = "gelu_tanh",
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        norm_eps: float = 1e-5,
        pre_norm: bool = True,
        bidirectional_prefix: bool = True,
        init_std: float = 0.02,
    ):
        super().__init__()
        self.vocab_size, self.hidden_size, self.max_positions = vocab_size, hidden_size, max_positions
        self.bidirectional_prefix = bidirectional_prefix
        norm = partial(nn.LayerNorm, hidden_size, eps=norm_eps)
        self.tokens = nn.Embedding(vocab_size, hidden_size)
        self.positions = nn.Embedding(max_positions, hidden_size)
        self.embedding_dropout = Dropout(dropout)
        self.stack = Stack(
            (
                Block(
                    attention=Attention(hidden_size, num_heads, dropout=attention_dropout),
                    feed_forward=FeedForward(hidden_size, intermediate_size or 4 * hidden_size, activation),
                    norm=norm,
                    dropout=dropout,
                    pre_norm=pre_norm,
                )
                for _ in range(num_layers)
            ),
            final_norm=norm() if pre_norm else None,
            causal=True,
        )
        initialize(self, std=init_std, truncated=False)
        if pre_norm:
            for block in self.stack.blocks:
                for onto_residual in (block.attention.output, block.feed_forward.contract):
                    nn.init.normal_(onto_residual.weight, std=init_std / (2 * num_layers) ** 0.5)

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
        start = num_seen(cache)
        places = self.positions.weight[start : start + input_ids.shape[1]]
        x = self.embedding_dropout(self.tokens(input_ids) + places)
        prefix_mask = prefix_mask if self.bidirectional_prefix else None
        bias, causal = mask_bias(attention_mask, prefix_mask, x.dtype), prefix_mask is None
        return self.stack(x, bias, causal, positions=positions, cache=cache, hidden_states=hidden_states)

    def new_cache(self) -> list[tuple[KeyValueCache, KeyValueCache]]:
        """Empty caches for one generation."""
        return self.stack.new_cache()

    def vocabulary_head(self) -> VocabularyHead:
        """The token embedding itself."""
        return VocabularyHead(self.tokens.weight)
