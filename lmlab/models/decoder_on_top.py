"""A fresh decoder over a trained encoder, such as BERT2Rnd (Rothe et al. 2019, arXiv:1907.12461)."""

from functools import partial

from torch import Tensor, nn

from lmlab.models.base import initialize
from lmlab.models.layers.attention import padding_bias
from lmlab.models.layers.block import num_seen
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layouts import Cache, Encoder


class DecoderOnTop(nn.Module):
    """Causal blocks of an encoder's shape that attend to its hidden states, and embeddings with its token vectors.

    Sharing the vectors of tokens is what Vaswani et al. 2017 (arXiv:1706.03762, section 3.4), T5 and BART do; positions
    and the norm are its own.

    Args:
        encoder: what it reads; it is no part of this module.
        num_layers: number of blocks.
        max_positions: the longest text that it writes.
    """

    def __init__(self, encoder: Encoder, num_layers: int, max_positions: int):
        super().__init__()
        self.max_positions = max_positions
        self.stack = encoder.decoder_stack(num_layers)
        read = encoder.embeddings
        norm = partial(nn.LayerNorm, eps=getattr(self.stack.blocks[0].attention_norm, "eps", 1e-12))  # as in its blocks
        self.embeddings = Embeddings(
            encoder.vocab_size,
            encoder.hidden_size,
            embedding_size=read.tokens.embedding_dim,
            max_positions=max_positions,
            norm=norm,
            dropout=read.dropout.p,
            tokens=nn.Identity(),
        )
        initialize(self.embeddings, std=encoder.init_std)
        self.embeddings.tokens = nn.Embedding.from_pretrained(read.tokens.weight)  # the encoder's are not drawn anew
        self.embeddings.tokens.weight = read.tokens.weight

    def decode(
        self,
        decoder_input_ids: Tensor,
        memory: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Hidden states (B, T, H), or (N, H) at flat `positions`, over the encoder's (B, S, H)."""
        x = self.embeddings(decoder_input_ids, num_seen=num_seen(cache))
        bias = padding_bias(attention_mask, x.dtype)
        return self.stack(x, memory=memory, memory_bias=bias, positions=positions, cache=cache)

    def new_cache(self) -> Cache:
        """Empty caches for one generation."""
        return self.stack.new_cache()
