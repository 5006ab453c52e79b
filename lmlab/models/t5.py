"""T5: an encoder-decoder (Raffel et al. 2019, arXiv:1910.10683)."""

from functools import partial

from torch import Tensor, nn

from lmlab.models.base import Model
from lmlab.models.layers.attention import Attention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.positions import RelativePositionBias
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.models.layouts import EncoderDecoder


class T5(EncoderDecoder):
    """Pre-norm encoder and decoder without biases, relative positions per stack, one shared embedding.

    Args:
        vocab_size: rows of the token embedding.
        pad_id: the token that starts the decoder.
        hidden_size: width of the hidden states.
        num_layers: blocks of the encoder.
        num_decoder_layers: blocks of the decoder; as many as the encoder's when null.
        shared: the decoder's blocks have the self-attention, feed-forward network and norms of the encoder's, and
            cross-attention of their own (section 3.2 of the paper).
        num_heads: attention heads of a block.
        head_size: width of a head, free of hidden_size / num_heads.
        intermediate_size: width inside the feed-forward network.
        activation: of the feed-forward network (T5: relu; v1.1: gelu_tanh).
        gated: multiply the activation by a second map (T5 v1.1).
        tied: score the vocabulary by the embedding (T5), or by a matrix of its own (v1.1).
        dropout: everywhere, on attention weights too.
        norm_eps: of the root-mean-square normalisations.
        num_buckets, max_distance: of the relative positions.
        position_std: deviation of their initial scores; None takes T5's hidden_size ** -0.5.
    """

    max_positions = None

    def __init__(
        self,
        vocab_size: int,
        pad_id: int = 0,
        hidden_size: int = 512,
        num_layers: int = 6,
        num_decoder_layers: int | None = None,
        num_heads: int = 8,
        head_size: int = 64,
        intermediate_size: int = 2048,
        activation: str = "relu",
        gated: bool = False,
        tied: bool = True,
        dropout: float = 0.1,
        norm_eps: float = 1e-6,
        num_buckets: int = 32,
        max_distance: int = 128,
        shared: bool = False,
        position_std: float | None = None,
    ):
        super().__init__()
        num_decoder_layers = num_decoder_layers or num_layers
        if shared and num_decoder_layers != num_layers:
            raise ValueError(
                f"shared blocks need a decoder as deep as the encoder: num_layers={num_layers} and"
                f" num_decoder_layers={num_decoder_layers} differ"
            )
        self.vocab_size, self.hidden_size, self.start_id, self.tied = vocab_size, hidden_size, pad_id, tied
        stack = partial(
            t5_stack,
            hidden_size=hidden_size,
            num_heads=num_heads,
            head_size=head_size,
            intermediate_size=intermediate_size,
            activation=activation,
            gated=gated,
            dropout=dropout,
            norm_eps=norm_eps,
        )
        self.embeddings = Embeddings(vocab_size, hidden_size, dropout=dropout)
        self.encoder = stack(num_layers)
        self.decoder = stack(num_decoder_layers, causal=True, cross_attend=True)
        if shared:
            for block, encoder_block in zip(self.decoder.blocks, self.encoder.blocks, strict=True):
                block.share(encoder_block)
        self.encoder_positions = RelativePositionBias(num_heads, num_buckets, max_distance, bidirectional=True)
        self.decoder_positions = RelativePositionBias(num_heads, num_buckets, max_distance, bidirectional=False)
        self.last_dropout = Dropout(dropout)
        initialize_t5(self, position_std)

    def embed_input(self, input_ids: Tensor) -> Tensor:
        return self.embeddings(input_ids)

    def embed_output(self, decoder_input_ids: Tensor, num_seen: int) -> Tensor:
        return self.embeddings(decoder_input_ids)

    def encoder_bias(self, length: int) -> Tensor:
        return self.encoder_positions(length, length)

    def decoder_bias(self, num_queries: int, num_keys: int) -> Tensor:
        return self.decoder_positions(num_queries, num_keys)

    def vocabulary_head(self) -> VocabularyHead:
        """The embedding with the hidden states scaled by H ** -0.5, or a matrix of its own (v1.1)."""
        return t5_vocabulary_head(self.embeddings.tokens, self.tied)


def t5_stack(
    depth: int,
    hidden_size: int,
    num_heads: int,
    head_size: int,
    intermediate_size: int,
    activation: str,
    gated: bool,
    dropout: float,
    norm_eps: float,
    causal: bool = False,
    cross_attend: bool = False,
) -> Stack:
    """Pre-norm blocks without biases, and without the scale of the scores that `initialize_t5` makes up for."""
    attention = partial(Attention, hidden_size, num_heads, head_size, dropout=dropout, bias=False, scaled=False)
    norm = partial(nn.RMSNorm, hidden_size, eps=norm_eps)

    def make_block(number: int) -> Block:
        return Block(
            attention=attention(),
            cross_attention=attention() if cross_attend else None,
            feed_forward=FeedForward(hidden_size, intermediate_size, activation, dropout, bias=False, gated=gated),
            norm=norm,
            dropout=dropout,
            pre_norm=True,
        )

    return Stack(make_block, depth, final_norm=norm(), causal=causal)


def initialize_t5(model: Model, position_std: float | None = None) -> None:
    """Mesh TensorFlow's: the query's 1 / sqrt(head size) stands in for the missing scale of the scores.

    Scores of relative positions begin near 0, all alike, and an optimizer moves each by its learning rate at most:
    those of a small encoder had not moved after 1,500 steps of span corruption. `position_std` lets them begin apart.
    """
    width = model.hidden_size
    nn.init.normal_(model.embeddings.tokens.weight, std=1.0)
    for module in model.modules():
        if isinstance(module, Attention):
            query, key, value = module.query_key_value.weight.data.chunk(3)
            nn.init.normal_(query, std=(width * module.head_size) ** -0.5)
            nn.init.normal_(key, std=width**-0.5)
            nn.init.normal_(value, std=width**-0.5)
            nn.init.normal_(module.output.weight, std=module.inner_size**-0.5)
        elif isinstance(module, FeedForward):
            for linear in filter(None, (module.expand, module.gate, module.contract)):
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        elif isinstance(module, RelativePositionBias):
            nn.init.normal_(module.scores.weight, std=width**-0.5 if position_std is None else position_std)


def t5_vocabulary_head(tokens: nn.Embedding, tied: bool) -> VocabularyHead:
    """Score by the embedding, the hidden states scaled by H ** -0.5, or by a matrix of its own (v1.1)."""
    scale = tokens.embedding_dim**-0.5
    if tied:
        return VocabularyHead(tokens.weight, scale=scale)
    return VocabularyHead(nn.Parameter(tokens.weight.detach().clone().normal_(std=scale)))
