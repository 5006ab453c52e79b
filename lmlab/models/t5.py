"""T5: an encoder-decoder (Raffel et al. 2019, arXiv:1910.10683)."""

from functools import partial

from torch import Tensor, nn

from lmlab.models.base import Model
from lmlab.models.layers.attention import Attention, KeyValueCache, padding_bias
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.positions import RelativePositionBias
from lmlab.models.layers.vocabulary import VocabularyHead


class T5(Model):
    """Pre-norm encoder and decoder without biases, relative positions per stack, one shared embedding.

    Args:
        vocab_size: rows of the token embedding.
        pad_id: the token that starts the decoder.
        hidden_size: width of the hidden states.
        num_layers: blocks of the encoder.
        num_decoder_layers: blocks of the decoder; as many as the encoder's when null.
        num_heads: attention heads of a block.
        head_size: width of a head, free of hidden_size / num_heads.
        intermediate_size: width inside the feed-forward network.
        activation: of the feed-forward network (T5: relu; v1.1: gelu_tanh).
        gated: multiply the activation by a second map (T5 v1.1).
        tied: score the vocabulary by the embedding (T5), or by a matrix of its own (v1.1).
        dropout: everywhere, on attention weights too.
        norm_eps: of the root-mean-square normalisations.
        num_buckets, max_distance: of the relative positions.
    """

    layout = "encoder-decoder"
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
    ):
        super().__init__()
        self.vocab_size, self.hidden_size, self.start_id, self.tied = vocab_size, hidden_size, pad_id, tied
        attention = partial(Attention, hidden_size, num_heads, head_size, dropout=dropout, bias=False, scaled=False)
        feed_forward = partial(
            FeedForward, hidden_size, intermediate_size, activation, dropout=dropout, bias=False, gated=gated
        )
        norm = partial(nn.RMSNorm, hidden_size, eps=norm_eps)

        def stack(depth: int, decoder: bool) -> Stack:
            blocks = (
                Block(
                    attention=attention(),
                    cross_attention=attention() if decoder else None,
                    feed_forward=feed_forward(),
                    norm=norm,
                    dropout=dropout,
                    pre_norm=True,
                )
                for _ in range(depth)
            )
            return Stack(blocks, final_norm=norm(), causal=decoder)

        self.tokens = nn.Embedding(vocab_size, hidden_size)
        self.encoder = stack(num_layers, decoder=False)
        self.decoder = stack(num_decoder_layers or num_layers, decoder=True)
        self.encoder_positions = RelativePositionBias(num_heads, num_buckets, max_distance, bidirectional=True)
        self.decoder_positions = RelativePositionBias(num_heads, num_buckets, max_distance, bidirectional=False)
        self.dropout = Dropout(dropout)
        self._initialize()

    def _initialize(self) -> None:
        """Mesh TensorFlow's: the query's 1 / sqrt(head size) stands in for the missing scale of the scores."""
        width = self.hidden_size
        nn.init.normal_(self.tokens.weight, std=1.0)
        for module in self.modules():
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
                nn.init.normal_(module.scores.weight, std=width**-0.5)

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of the encoder (B, S, H) for `input_ids` (B, S)."""
        x = self.dropout(self.tokens(input_ids))
        bias = self.encoder_positions(x.shape[1], x.shape[1])
        if attention_mask is not None:
            bias = bias + padding_bias(attention_mask, x.dtype)
        return self.dropout(self.encoder(x, bias, hidden_states=hidden_states))

    def decode(
        self,
        decoder_input_ids: Tensor,
        memory: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: list[tuple[KeyValueCache, KeyValueCache]] | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of the decoder (B, T, H), or (N, H) at flat `positions`, over the encoder's (B, S, H)."""
        x = self.dropout(self.tokens(decoder_input_ids))
        length = x.shape[1]
        seen = 0 if cache is None or cache[0][0].keys is None else cache[0][0].keys.shape[2]
        bias = self.decoder_positions(length, seen + length)
        if decoder_attention_mask is not None:
            bias = bias + padding_bias(decoder_attention_mask, x.dtype)
        memory_bias = None if attention_mask is None else padding_bias(attention_mask, x.dtype)
        return self.dropout(
            self.decoder(
                x,
                bias,
                memory=memory,
                memory_bias=memory_bias,
                positions=positions,
                cache=cache,
                hidden_states=hidden_states,
            )
        )

    def forward(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of the decoder for the inputs (B, S) and the shifted targets (B, T)."""
        memory = self.encode(input_ids, attention_mask)
        return self.decode(
            decoder_input_ids,
            memory,
            attention_mask,
            decoder_attention_mask,
            positions,
            hidden_states=hidden_states,
        )

    def new_cache(self) -> list[tuple[KeyValueCache, KeyValueCache]]:
        """Empty caches for one generation."""
        return self.decoder.new_cache()

    def vocabulary_head(self) -> VocabularyHead:
        """The embedding with the hidden states scaled by H ** -0.5, or a matrix of its own (v1.1)."""
        if self.tied:
            return VocabularyHead(self.tokens.weight, scale=self.hidden_size**-0.5)
        own = nn.Parameter(self.tokens.weight.detach().clone().normal_(std=self.hidden_size**-0.5))
        return VocabularyHead(own)
