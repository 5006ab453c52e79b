"""BART: an encoder-decoder of BERT's blocks (Lewis et al. 2019, arXiv:1910.13461); MASS has the same shape.

MASS: Song et al. 2019, arXiv:1905.02450.
"""

from functools import partial

from torch import Tensor, nn

from lmlab.models.base import dense_pooler, initialize
from lmlab.models.layers.attention import Attention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.models.layouts import EncoderDecoder


class Bart(EncoderDecoder):
    """Post-norm encoder and decoder with learned positions each, one embedding of tokens and normalised embeddings.

    Args:
        vocab_size: rows of the token embedding.
        eos_id: the token that starts the decoder, as in BART.
        pad_id: it does so where the tokenizer has no end token.
        hidden_size: width of the hidden states.
        num_layers: blocks of the encoder.
        num_decoder_layers: blocks of the decoder; as many as the encoder's when null.
        num_groups: neighbouring layers of a stack share their weights, which makes so many blocks; null: each has its
            own.
        num_heads: attention heads of a block.
        intermediate_size: width inside the feed-forward network.
        max_positions: the longest sequence, of either side.
        position_offset: rows of the position embeddings before that of the first token (BART: 2).
        activation: of the feed-forward network.
        dropout: on embeddings and on the output of each part of a block.
        attention_dropout: on attention weights.
        norm_eps: of the layer normalisations.
        pre_norm: normalise the input of each part and once at the end of a stack, rather than the residual sums.
        init_std: deviation of the normal distribution of all matrices.
    """

    def __init__(
        self,
        vocab_size: int,
        eos_id: int | None = None,
        pad_id: int = 0,
        hidden_size: int = 768,
        num_layers: int = 6,
        num_decoder_layers: int | None = None,
        num_groups: int | None = None,
        num_heads: int = 12,
        intermediate_size: int = 3072,
        max_positions: int = 1024,
        position_offset: int = 2,
        activation: str = "gelu",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        norm_eps: float = 1e-5,
        pre_norm: bool = False,
        init_std: float = 0.02,
    ):
        super().__init__()
        self.vocab_size, self.hidden_size, self.max_positions = vocab_size, hidden_size, max_positions
        self.start_id = pad_id if eos_id is None else eos_id
        norm = partial(nn.LayerNorm, eps=norm_eps)
        attention = partial(Attention, hidden_size, num_heads, dropout=attention_dropout)

        def make_block(number: int, cross_attend: bool) -> Block:
            return Block(
                attention=attention(),
                cross_attention=attention() if cross_attend else None,
                feed_forward=FeedForward(hidden_size, intermediate_size, activation),
                norm=partial(norm, hidden_size),
                dropout=dropout,
                pre_norm=pre_norm,
            )

        def stack(depth: int, is_decoder: bool) -> Stack:
            make = partial(make_block, cross_attend=is_decoder)
            return Stack(make, depth, num_groups, norm(hidden_size) if pre_norm else None, causal=is_decoder)

        embeddings = partial(
            Embeddings,
            vocab_size,
            hidden_size,
            max_positions=max_positions,
            position_offset=position_offset,
            norm=norm,
            dropout=dropout,
        )
        self.input_embeddings, self.output_embeddings = embeddings(), embeddings()
        self.output_embeddings.tokens = self.input_embeddings.tokens
        self.encoder, self.decoder = stack(num_layers, False), stack(num_decoder_layers or num_layers, True)
        initialize(self, std=init_std, truncated=False)

    def embed_input(self, input_ids: Tensor) -> Tensor:
        return self.input_embeddings(input_ids)

    def embed_output(self, decoder_input_ids: Tensor, num_seen: int) -> Tensor:
        return self.output_embeddings(decoder_input_ids, num_seen=num_seen)

    def pooler(self) -> nn.Module:
        """Dense layer and tanh on the last hidden state of the decoder."""
        return dense_pooler(self.hidden_size, "tanh")

    def vocabulary_head(self) -> VocabularyHead:
        """The token embedding itself."""
        return VocabularyHead(self.input_embeddings.tokens.weight)
