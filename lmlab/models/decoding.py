"""Continuing a sequence token by token."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lmlab.models.layouts import Cache

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


class CachedSteps:
    """Runs a network with a cache over rows of tokens that grow; see `NextHidden`.

    Args:
        run: maps the tokens that are new, (B, T), to hidden states; it takes the `cache` and what is `given` by name.
        cache: empty caches of the network.
        given: what else the rows read, each (B, ...), such as the hidden states of an encoder; None is left out. It is
            the same for all rows of a text.
    """

    def __init__(self, run: Callable[..., Tensor], cache: Cache, **given: Tensor | None) -> None:
        self.run, self.cache, self.num_seen = run, cache, 0
        self.given = {name: each for name, each in given.items() if each is not None}

    def __call__(self, tokens: Tensor) -> Tensor:
        hidden = self.run(tokens[:, self.num_seen :], cache=self.cache, **self.given)
        self.num_seen = tokens.shape[1]
        return hidden[:, -1]

    def select(self, rows: Tensor, same_texts: bool = False) -> None:
        """Go on with these rows (N,); one may be taken several times.

        With `same_texts` each row gives way to one of the same text: what a text's rows share stays where it is.
        """
        for own, memory in self.cache:
            own.select(rows)
            if not same_texts:
                memory.select(rows)
        if not same_texts:
            self.given = {name: each[rows] for name, each in self.given.items()}


def encoder_decoder_steps(model: nn.Module, input_ids: Tensor, attention_mask: Tensor | None = None) -> CachedSteps:
    """Run the decoder of an encoder-decoder with a cache over the encoded `input_ids` (B, S)."""
    memory = model.encode(input_ids, attention_mask)
    return CachedSteps(model.decode, model.new_cache(), memory=memory, attention_mask=attention_mask)


@torch.no_grad()
def beam_search(
    steps: CachedSteps,
    head: nn.Module,
    tokens: Tensor,
    max_new_tokens: int,
    stop_id: int,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    banned_ids: Tensor | None = None,
) -> list[list[int]]:
    """The best continuation of every row, without `stop_id`; one beam is greedy search.

    Each step looks at the 2 * num_beams best continuations of a text. Of the first num_beams those that stop are
    results; of all that do not, the best num_beams go on. The score of a text is its sum of log-probabilities over
    length ** length_penalty (Wu et al. 2016, arXiv:1609.08144, section 7; the penalty as in BART's code). The search is
    over when num_beams results score as well as what goes on, at its present length, or at `max_new_tokens`, where what
    has not stopped is a result too.

    Args:
        steps: runs the network; it has seen nothing yet.
        head: scores the vocabulary.
        tokens: what there is so far, (B, T).
        max_new_tokens: of a continuation, the stop included.
        banned_ids: tokens that are never written.
    """
    begin = tokens.shape[1]
    results: list[list[tuple[float, list[int]]]] = [[] for _ in tokens]  # (score, text), the best num_beams
    unfinished = results  # those of texts that are still being written
    sums = torch.zeros(len(tokens), 1, device=tokens.device)  # (texts, beams); there is one beam at first
    for length in range(1, max_new_tokens + 1):
        sums, rows, new = _best_continuations(head(steps(tokens)), sums, 2 * num_beams, banned_ids)
        stops, scores = new == stop_id, sums / length**length_penalty
        ends = stops | (length == max_new_tokens)
        for text, rank in ends[:, :num_beams].nonzero().tolist():
            written = [*tokens[rows[text, rank], begin:].tolist(), int(new[text, rank])]
            found = (float(scores[text, rank]), written[:-1] if stops[text, rank] else written)
            unfinished[text][:] = sorted([*unfinished[text], found], reverse=True)[:num_beams]
        running = stops.int().argsort(dim=1, stable=True)[:, :num_beams]
        sums, rows, new, scores = (each.gather(1, running) for each in (sums, rows, new, scores))
        to_beat = [each[-1][0] if len(each) == num_beams else -torch.inf for each in unfinished]
        goes_on = scores[:, 0] > torch.tensor(to_beat, device=tokens.device)
        num_texts = len(unfinished)
        unfinished = [each for each, more in zip(unfinished, goes_on.tolist(), strict=True) if more]
        if not unfinished:
            break
        sums, rows, new = sums[goes_on], rows[goes_on].flatten(), new[goes_on].view(-1, 1)
        if not torch.equal(rows, torch.arange(len(tokens), device=rows.device)):
            steps.select(rows, same_texts=len(unfinished) == num_texts and len(rows) == len(tokens))
        tokens = torch.cat([tokens[rows], new], dim=1)
    return [each[0][1] for each in results]


def _best_continuations(
    logits: Tensor, sums: Tensor, count: int, banned_ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best continuations of each text by one token, best first, from beams with these `sums` (N, K).

    There are fewer where there are no more. Returns, each (N, count): the new sums, the rows of `logits` (N * K, V)
    that they continue, and their tokens.
    """
    log_probabilities = logits.float().log_softmax(dim=-1)
    if banned_ids is not None:
        log_probabilities[:, banned_ids] = -torch.inf
    num_texts, num_beams = sums.shape
    scores = (sums.view(-1, 1) + log_probabilities).view(num_texts, -1)
    best, places = scores.topk(min(count, scores.shape[1]), dim=1)
    first_rows = num_beams * torch.arange(num_texts, device=logits.device)[:, None]
    return best, first_rows + places // logits.shape[1], places % logits.shape[1]
