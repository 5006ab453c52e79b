"""Continuing a sequence token by token."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

NextHidden = Callable[[Tensor], Tensor]
"""Takes all tokens so far, (B, T), and gives the hidden state that predicts the next one, (B, H)."""


def sample(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float, generator: torch.Generator | None
) -> Tensor:
    """Draw one token a row from `logits` (B, V); temperature 0 takes the most likely.

    Args:
        top_k: keep the k most likely tokens only; None keeps all.
        top_p: of those keep the fewest whose probabilities sum to at least p (Holtzman et al. 2019, arXiv:1904.09751).
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits, ids = (logits.float() / temperature).sort(dim=-1, descending=True)
    if top_k is not None:
        logits, ids = logits[:, :top_k], ids[:, :top_k]
    probabilities = logits.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0)
    choice = torch.multinomial(probabilities, 1, generator=generator)
    return ids.gather(1, choice).squeeze(1)


@torch.no_grad()
def continue_tokens(
    next_hidden: NextHidden,
    head: nn.Module,
    tokens: Tensor,
    max_new_tokens: int,
    stop_id: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    banned_ids: Tensor | None = None,
) -> Iterator[Tensor]:
    """Yield the next token of every row, (B,), until all rows have had `stop_id` or `max_new_tokens` are there.

    Args:
        next_hidden: runs the model.
        head: scores the vocabulary.
        tokens: what there is so far, (B, T).
        banned_ids: tokens that are never drawn.
    """
    stopped = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    for _ in range(max_new_tokens):
        logits = head(next_hidden(tokens))
        if banned_ids is not None:
            logits[:, banned_ids] = -torch.inf
        new = sample(logits, temperature, top_k, top_p, generator)
        yield new
        stopped |= new == stop_id if stop_id is not None else False
        if stopped.all():
            return
        tokens = torch.cat([tokens, new[:, None]], dim=1)


def decoder_steps(model: nn.Module, max_positions: int | None, sees_prompt_whole: bool = False) -> NextHidden:
    """Run a decoder with a cache; text longer than `max_positions` is read anew from the last half of them.

    With `sees_prompt_whole`, tokens that are read together see each other in both directions (a prefix LM's inputs).
    """
    cache, seen, start = model.new_cache(), 0, 0

    def next_hidden(tokens: Tensor) -> Tensor:
        nonlocal cache, seen, start
        if max_positions is not None and tokens.shape[1] - start > max_positions:
            cache = model.new_cache()
            seen = start = tokens.shape[1] - max(1, max_positions // 2)
        new = tokens[:, seen:]
        is_prompt = sees_prompt_whole and seen == start
        hidden = model(new, prefix_mask=torch.ones_like(new, dtype=torch.bool) if is_prompt else None, cache=cache)
        seen = tokens.shape[1]
        return hidden[:, -1]

    return next_hidden


def encoder_decoder_steps(model: nn.Module, input_ids: Tensor, attention_mask: Tensor | None = None) -> NextHidden:
    """Run the decoder of an encoder-decoder with a cache over the encoded `input_ids` (B, S)."""
    memory, cache, seen = model.encode(input_ids, attention_mask), model.new_cache(), 0

    def next_hidden(tokens: Tensor) -> Tensor:
        nonlocal seen
        hidden = model.decode(tokens[:, seen:], memory, attention_mask, cache=cache)
        seen = tokens.shape[1]
        return hidden[:, -1]

    return next_hidden
