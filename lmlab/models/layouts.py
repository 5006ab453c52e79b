"""What an encoder, a decoder and both together do, whatever they are made of; their families fill in the parts."""

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from lmlab.errors import UserError
from lmlab.models.base import Model, initialize, prefix_bias, sum_of
from lmlab.models.layers.attention import KeyValueCache, padding_bias
from lmlab.models.layers.block import Stack, num_seen
from lmlab.models.layers.embeddings import Embeddings

Cache = list[tuple[KeyValueCache, KeyValueCache]]


class Encoder(Model):
    """A stack that sees embedded tokens in both directions.

    Attributes:
        embeddings: of tokens, positions and segments.
        stack: the blocks.
        embeds_neighbours: a token's vector is made of its neighbours' too, so that no mask hides them (MobileBERT).
        make_stack: makes so many blocks of the family, `causal`, and with attention to a memory if they `cross_attend`.
        init_std: deviation of the initial matrices.
    """

    layout = "encoder"
    embeddings: Embeddings
    stack: Stack
    embeds_neighbours: bool = False
    make_stack: Callable[..., Stack] | None = None
    init_std: float = 0.02

    def forward(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        hidden_states: list[Tensor] | None = None,
        prefix_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Hidden states of `input_ids` (B, T).

        Args:
            segment_ids: (B, T); None: all tokens belong to the first segment.
            attention_mask: true at real tokens; None: all are. (B, T), or (B, S + T) after the S tokens of a cache.
            positions: flat indices (N,) of B * T; the result is then (N, H).
            hidden_states: see `Model.hidden_states`.
            prefix_mask: (B, T), true at tokens that all others see; the others see those before them alone, which
                lets an encoder write (UniLM: Dong et al. 2019, arXiv:1905.03197). None: all see all.
            cache: of the tokens before `input_ids`, from `new_cache`; padding then stands on the left.
        """
        x = self.embeddings(input_ids, segment_ids, num_before(cache, attention_mask))
        bias = sum_of(padding_bias(attention_mask, x.dtype), prefix_bias(prefix_mask, x.dtype))
        return self.stack(x, bias, positions=positions, cache=cache, hidden_states=hidden_states)

    def new_cache(self) -> Cache:
        """Empty caches for one generation."""
        return self.stack.new_cache()

    def decoder_stack(self, num_layers: int) -> Stack:
        """Make fresh causal blocks of the encoder's shape that attend to its hidden states.

        Raises UserError when the family does not say what they are made of.
        """
        if self.make_stack is None:
            raise UserError(f"{type(self).__name__} has no `make_stack`, which makes a decoder of an encoder's shape")
        stack = self.make_stack(num_layers, causal=True, cross_attend=True)
        initialize(stack, std=self.init_std)
        return stack


class Decoder(Model):
    """A causal stack over embedded tokens.

    Attributes:
        stack: the blocks.
        bidirectional_prefix: the tokens of `prefix_mask` see each other in both directions; false leaves them causal.
        last_dropout: on the last hidden states (T5).
    """

    layout = "decoder"
    stack: Stack
    bidirectional_prefix: bool

    def __init__(self) -> None:
        super().__init__()
        self.last_dropout: nn.Module = nn.Identity()

    @abstractmethod
    def embed(self, input_ids: Tensor, num_seen: int | Tensor) -> Tensor:
        """Embed `input_ids` (B, T), which follow `num_seen` others, (B, 1) where rows differ: (B, T, H)."""

    def position_bias(self, num_queries: int, num_keys: int) -> Tensor | None:
        """What the distance of two tokens adds to their score, (1, A, T, S), or None."""
        return None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of `input_ids` (B, T).

        Args:
            attention_mask: (B, T), true at real tokens; not needed for padding on the right, which nothing sees.
                (B, S + T) after the S tokens of a cache; padding then stands on the left.
            prefix_mask: (B, T), true at tokens that all others may see (prefix LM, if `bidirectional_prefix`).
            positions: flat indices (N,) of B * T; the result is then (N, H).
            cache: of the tokens before `input_ids`, from `new_cache`.
            hidden_states: see `Model.hidden_states`.
        """
        seen, length = num_seen(cache), input_ids.shape[1]
        x = self.embed(input_ids, num_before(cache, attention_mask))
        prefix_mask = prefix_mask if self.bidirectional_prefix else None
        hidden = sum_of(padding_bias(attention_mask, x.dtype), prefix_bias(prefix_mask, x.dtype))
        bias, causal = sum_of(self.position_bias(length, seen + length), hidden), prefix_mask is None
        x = self.stack(x, bias, causal, positions=positions, cache=cache, hidden_states=hidden_states)
        return self.last_dropout(x)

    def new_cache(self) -> Cache:
        """Empty caches for one generation."""
        return self.stack.new_cache()


class EncoderDecoder(Model):
    """A stack that reads the inputs, and a causal one that writes the targets and attends to them.

    Attributes:
        encoder, decoder: the two stacks.
        last_dropout: on the last hidden states of either (T5).
    """

    layout = "encoder-decoder"
    encoder: Stack
    decoder: Stack

    def __init__(self) -> None:
        super().__init__()
        self.last_dropout: nn.Module = nn.Identity()

    @abstractmethod
    def embed_input(self, input_ids: Tensor) -> Tensor:
        """Embed what the encoder reads: (B, S) -> (B, S, H)."""

    @abstractmethod
    def embed_output(self, decoder_input_ids: Tensor, num_seen: int) -> Tensor:
        """Embed what the decoder reads, (B, T), after `num_seen` other tokens: (B, T, H)."""

    def encoder_bias(self, length: int) -> Tensor | None:
        """What the distance of two tokens adds to their score in the encoder, (1, A, S, S), or None."""
        return None

    def decoder_bias(self, num_queries: int, num_keys: int) -> Tensor | None:
        """The same for the last queries and all keys of the decoder."""
        return None

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of the encoder for `input_ids` (B, S): (B, S, H), or (N, H) at flat `positions`."""
        x = self.embed_input(input_ids)
        bias = sum_of(self.encoder_bias(x.shape[1]), padding_bias(attention_mask, x.dtype))
        return self.last_dropout(self.encoder(x, bias, positions=positions, hidden_states=hidden_states))

    def decode(
        self,
        decoder_input_ids: Tensor,
        memory: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of the decoder (B, T, H), or (N, H) at flat `positions`, over the encoder's (B, S, H)."""
        seen, length = num_seen(cache), decoder_input_ids.shape[1]
        x = self.embed_output(decoder_input_ids, seen)
        bias = sum_of(self.decoder_bias(length, seen + length), padding_bias(decoder_attention_mask, x.dtype))
        x = self.decoder(
            x,
            bias,
            memory=memory,
            memory_bias=padding_bias(attention_mask, x.dtype),
            positions=positions,
            cache=cache,
            hidden_states=hidden_states,
        )
        return self.last_dropout(x)

    def forward(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        hidden_states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of the decoder for the inputs (B, S) and the shifted targets (B, T).

        Without targets the decoder is left out, and the hidden states are the encoder's.
        """
        if decoder_input_ids is None:
            return self.encode(input_ids, attention_mask, positions, hidden_states)
        memory = self.encode(input_ids, attention_mask)
        return self.decode(
            decoder_input_ids,
            memory,
            attention_mask,
            decoder_attention_mask,
            positions,
            hidden_states=hidden_states,
        )

    def new_cache(self) -> Cache:
        """Empty caches for one generation."""
        return self.decoder.new_cache()


def num_before(cache: Cache | None, attention_mask: Tensor | None) -> int | Tensor:
    """How many tokens stand before the new ones; (B, 1) with padding on the left, which takes no place."""
    if cache is None or attention_mask is None:
        return num_seen(cache)
    return num_seen(cache) - (attention_mask.cumsum(1) == 0).sum(1, keepdim=True)
