"""Multi-head attention (Vaswani et al. 2017), of a sequence over itself or over a memory.

Shapes: B batch, T queries, S keys, A heads, D size of a head, H hidden size.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.models.layers.dropout import dropout_mask

# On a CPU three plain matrix products beat the fused kernel up to about this many keys; beyond it the fused kernel,
# which never stores the (T, S) scores, wins.
PLAIN_UP_TO = 256
PLAIN_FORWARD_UP_TO = 1024  # the same without a backward pass, in bf16
VECTOR = 32  # numbers of 16 bits that a processor reads at once; PyTorch's soft-max takes what is left over one by one
LEFT_OVER = 4  # so many are taken one by one no slower than keys are padded


class KeyValueCache:
    """Keys and values of the positions that one attention layer has seen, for generation."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None  # (B, A, S, D)
        self.values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the new positions and return all of them."""
        if self.keys is not None:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (N,) of the batch; one may be taken several times."""
        if self.keys is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


class _PlainAttention(torch.autograd.Function):
    """softmax(q k' + bias) v with dropout on the weights, keeping only what the backward pass reads."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
        scores = q @ k.transpose(-1, -2)  # (B, A, T, S)
        if bias is not None:
            scores += bias
        weights = torch.softmax(scores, dim=-1)
        mask = dropout_mask(weights.shape, dropout, weights.dtype) if dropout else None
        kept = weights if mask is None else torch.mul(weights, mask, out=scores)
        ctx.save_for_backward(q, k, v, weights, mask, kept)
        ctx.bias_shape = bias.shape if bias is not None else None
        return kept @ v

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, mask, kept = ctx.saved_tensors
        grad_v = kept.transpose(-1, -2) @ grad
        grad_weights = grad @ v.transpose(-1, -2)
        if mask is not None:
            grad_weights *= mask
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_bias = grad_scores.sum_to_size(ctx.bias_shape) if ctx.needs_input_grad[3] else None
        return grad_scores @ k, grad_scores.transpose(-1, -2) @ q, grad_v, grad_bias, None


def attend_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q k' + bias) v without a backward pass; see `attend`."""
    batch, heads, num_queries, num_keys = *q.shape[:3], k.shape[2]
    whole = k.element_size() != 2 or num_keys % VECTOR <= LEFT_OVER
    if not whole and 4 * num_queries >= num_keys:  # for few queries the copies of all keys would cost more
        k, v, bias = pad_keys(k, v, bias)
    q, k, v = (each.flatten(0, 1) for each in (q, k.transpose(-1, -2), v))
    # The product that begins with the bias saves a walk over the scores.
    scores = q @ k if bias is None else torch.baddbmm(bias.expand(batch, heads, -1, -1).flatten(0, 1), q, k)
    return (torch.softmax(scores, dim=-1) @ v).unflatten(0, (batch, heads))


def pad_keys(k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Fill S up to a multiple of `VECTOR` with keys that the bias hides.

    Measured with 2,048 tokens in bf16, 12 heads of 32: 2.0 in place of 6.7 ms at 31 keys, 6.3 in place of 9.8 at 155.
    """
    missing = -k.shape[2] % VECTOR
    bias = k.new_zeros(1, k.shape[2]) if bias is None else bias
    k, v = (F.pad(each, (0, 0, 0, missing)) for each in (k, v))
    return k, v, F.pad(bias, (0, missing), value=-math.inf)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool, dropout: float) -> Tensor:
    """Attention with the kernel that is fastest for this length and device; this is the one place that chooses.

    Args:
        q: queries (B, A, T, D), already scaled.
        k, v: keys and values (B, A, S, D).
        bias: added to the scores before the soft-max, broadcast to (B, A, T, S); -inf hides a key.
        causal: hide the keys that follow a query (query T-1 is aligned with key S-1).
        dropout: probability of dropping an attention weight.

    Returns:
        (B, A, T, D)
    """
    num_queries, num_keys = q.shape[2], k.shape[2]
    causal = causal and num_queries > 1
    on_cpu = q.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_cpu and (dropout or num_keys <= plain_up_to(q.dtype, causal)):
        if causal:
            bias = (
                causal_bias(num_queries, num_keys, q) if bias is None else bias + causal_bias(num_queries, num_keys, q)
            )
        if not (dropout or torch.is_grad_enabled()):
            return attend_forward(q, k, v, bias)
        return _PlainAttention.apply(q, k, v, bias, dropout)
    if causal and (bias is not None or num_queries != num_keys):
        hidden = causal_bias(num_queries, num_keys, q)
        bias, causal = hidden if bias is None else bias + hidden, False
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, is_causal=causal, scale=1.0)


def plain_up_to(dtype: torch.dtype, causal: bool) -> int:
    """Keys up to which the plain products are faster than PyTorch's kernel on a CPU.

    Without a backward pass it is the number format that decides: measured with 8,192 tokens, 384 keys, 12 heads of 32,
    44 against 76 ms in bf16, and 103 against 78 ms in fp32.
    """
    if causal or torch.is_grad_enabled():
        return PLAIN_UP_TO
    return PLAIN_FORWARD_UP_TO if dtype == torch.bfloat16 else 0


def causal_bias(num_queries: int, num_keys: int, like: Tensor) -> Tensor:
    """(T, S): 0 where query t may see key s, -inf where s lies in its future."""
    bias = torch.full((num_queries, num_keys), -math.inf, dtype=like.dtype, device=like.device)
    return bias.triu_(num_keys - num_queries + 1)


def padding_bias(attention_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Turn a (B, S) mask, true at real tokens, into a (B, 1, 1, S) bias with the lowest finite number at padding.

    The number is finite so that a row of padding alone gives no NaN. None, all tokens being real, stays None.
    """
    if attention_mask is None:
        return None
    bias = torch.zeros(attention_mask.shape, dtype=dtype, device=attention_mask.device)
    return bias.masked_fill_(~attention_mask.bool(), torch.finfo(dtype).min)[:, None, None, :]


class Attention(nn.Module):
    """Multi-head attention whose query, key and value projections are one packed matrix.

    Args:
        hidden_size: H.
        num_heads: A.
        head_size: D; H / A when not given (T5 chooses it freely).
        dropout: probability of dropping an attention weight.
        bias: whether the projections have biases (T5: no).
        scaled: divide the scores by sqrt(D) (T5 folds that into its initialisation).
        output_size: width of the output; H when not given.
        query_key_value: the map from H to the three of them side by side, 3 * A * D; a matrix when not given. One of
            another kind serves self-attention alone.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        head_size: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        scaled: bool = True,
        output_size: int | None = None,
        query_key_value: nn.Module | None = None,
    ):
        super().__init__()
        if num_heads < 1 or hidden_size < 1:
            raise ValueError(f"num_heads={num_heads} and hidden_size={hidden_size} must be at least 1")
        if head_size is None and hidden_size % num_heads:
            nearest = max(1, round(hidden_size / num_heads)) * num_heads
            raise ValueError(
                f"hidden_size={hidden_size} cannot be shared equally by num_heads={num_heads}: choose a multiple of"
                f" {num_heads}, such as {nearest}"
            )
        self.num_heads = num_heads
        self.head_size = head_size or hidden_size // num_heads
        self.inner_size = self.num_heads * self.head_size
        self.dropout = dropout
        self.scale = self.head_size**-0.5 if scaled else 1.0
        self.query_key_value = query_key_value or nn.Linear(hidden_size, 3 * self.inner_size, bias=bias)
        self.output = nn.Linear(self.inner_size, output_size or hidden_size, bias=bias)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        causal: bool = False,
        memory: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Mix the values of `x` (B, T, H), or of `memory` (B, S, H) where given.

        Args:
            bias: see `attend`.
            positions: flat indices (N,) into B * T; the output is computed there alone and is (N, H).
            cache: keys and values of earlier positions, extended by this call; with a memory they are computed once.
        """
        q, k, v = self._project(x, memory, cache)
        mixed = self.mix(q * self.scale, k, v, bias, causal)
        mixed = mixed.transpose(1, 2).reshape(*x.shape[:2], self.inner_size)
        if positions is not None:
            mixed = mixed.flatten(0, 1)[positions]
        return self.output(mixed)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool) -> Tensor:
        """Attend, with dropout while training: see `attend`."""
        return attend(q, k, v, bias, causal, self.dropout if self.training else 0.0)

    def _project(self, x: Tensor, memory: Tensor | None, cache: KeyValueCache | None) -> tuple[Tensor, Tensor, Tensor]:
        if memory is None:
            q, k, v = self._heads(self.query_key_value(x), 3)
            return (q, *cache.extend(k, v)) if cache is not None else (q, k, v)
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        cut = self.inner_size
        (q,) = self._heads(F.linear(x, weight[:cut], bias[:cut] if bias is not None else None), 1)
        if cache is not None and cache.keys is not None:
            return q, cache.keys, cache.values
        k, v = self._heads(F.linear(memory, weight[cut:], bias[cut:] if bias is not None else None), 2)
        return (q, *cache.extend(k, v)) if cache is not None else (q, k, v)

    def _heads(self, packed: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, T, parts * A * D) -> `parts` contiguous tensors (B, A, T, D)."""
        shape = (*packed.shape[:2], parts, self.num_heads, self.head_size)
        return packed.view(shape).permute(2, 0, 3, 1, 4).contiguous().unbind(0)
