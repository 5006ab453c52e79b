"""GPT: a causal decoder (Radford et al. 2018, 2019; Brown et al. 2020, arXiv:2005.14165).

Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053), Turing-NLG and Grover (Zellers et al. 2019, arXiv:1905.12616) are
the same network in other sizes.
"""

from functools import partial

from torch import Tensor, nn

from lmlab.models.base import initialize
from lmlab.models.layers.attention import Attention
from lmlab.models.layers.banded import BandedAttention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.models.layouts import Decoder


class Gpt(Decoder):
    """Causal transformer decoder with learned positions and an output tied to the embedding.

    Args:
        vocab_size: tokens that there are.
        vocab_multiple: the rows of the token embedding are rounded up to a multiple of it, so that GPUs can share them
            equally (Megatron-LM: 128 for each GPU); the further tokens do not occur.
        embedding_size: width of the embeddings, projected to hidden_size where it is another; hidden_size when null.
        hidden_size: width of the hidden states.
        num_layers: number of blocks.
        num_groups: neighbouring layers share their weights, which makes so many blocks; null: each has its own.
        local_window: every second layer, the first not among them, sees only so many tokens, each its own included
            (GPT-3; the paper does not say how many); null: all see everything before them.
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
        vocab_multiple: int = 1,
        embedding_size: int | None = None,
        num_groups: int | None = None,
        local_window: int | None = None,
    ):
        super().__init__()
        vocab_size += -vocab_size % vocab_multiple
        if local_window is not None and num_groups not in (None, num_layers):
            raise ValueError(
                f"local_window={local_window} sets every second layer apart from the others, so that num_groups="
                f"{num_groups} cannot let neighbours share their weights: leave one of the two null"
            )
        self.vocab_size, self.hidden_size, self.max_positions = vocab_size, hidden_size, max_positions
        self.bidirectional_prefix, self.init_std = bidirectional_prefix, init_std
        norm = partial(nn.LayerNorm, hidden_size, eps=norm_eps)

        def make_block(number: int) -> Block:
            banded = local_window is not None and number % 2 == 1
            attention = partial(BandedAttention, window=local_window) if banded else Attention
            return Block(
                attention=attention(hidden_size=hidden_size, num_heads=num_heads, dropout=attention_dropout),
                feed_forward=FeedForward(hidden_size, intermediate_size or 4 * hidden_size, activation),
                norm=norm,
                dropout=dropout,
                pre_norm=pre_norm,
            )

        self.embeddings = Embeddings(vocab_size, hidden_size, embedding_size, max_positions, dropout=dropout)
        self.stack = Stack(make_block, num_layers, num_groups, norm() if pre_norm else None, causal=True)
        initialize(self, std=init_std, truncated=False)
        if pre_norm:
            for block in self.stack.blocks:
                for onto_residual in (block.attention.output, block.feed_forward.contract):
                    nn.init.normal_(onto_residual.weight, std=init_std / (2 * num_layers) ** 0.5)

    def embed(self, input_ids: Tensor, num_seen: int | Tensor) -> Tensor:
        return self.embeddings(input_ids, num_seen=num_seen)

    def vocabulary_head(self) -> VocabularyHead:
        """The token embedding itself, after a map to its width where that is another."""
        if self.embeddings.width == self.hidden_size:
            return VocabularyHead(self.embeddings.tokens.weight)
        narrow = nn.Linear(self.hidden_size, self.embeddings.width)
        initialize(narrow, std=self.init_std, truncated=False)
        return VocabularyHead(self.embeddings.tokens.weight, transform=narrow)
