"""T5's noise in spans (Raffel et al. 2019, arXiv:1910.10683, section 3.1.4)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption


class Spans(Corruption):
    """Mark a fixed share of the tokens as noise, in a fixed number of spans of random lengths.

    The rules of `random_spans_noise_mask` in the T5 code: round(T * rate) noise tokens in round(noise / mean_length)
    spans; both noise and the rest are cut at random into as many non-empty parts; the sequence starts with text and
    ends with noise. Noise is shown as the mask token; `span_corruption` puts one sentinel for a whole span instead.

    Args:
        mask_id: the token that hides; None (T5's own tokenizer) leaves the tokens as they are.
        rate: share of the tokens that are noise.
        mean_length: mean length of a span in tokens.
    """

    def __init__(self, mask_id: int | None = None, rate: float = 0.15, mean_length: float = 3.0):
        if not 0 < rate < 1:
            raise ValueError(f"rate={rate} must lie in (0, 1)")
        if mean_length < 1:
            raise ValueError(f"mean_length={mean_length} must be at least 1 token")
        self.mask_id, self.rate, self.mean_length = mask_id, rate, mean_length

    def lengths(self, num_tokens: int) -> tuple[int, int]:
        """Noise tokens and spans of a sequence of `num_tokens`."""
        num_noise = min(max(round(num_tokens * self.rate), 1), num_tokens - 1)
        num_spans = max(round(num_noise / self.mean_length), 1)
        return num_noise, min(num_spans, num_tokens - num_noise)

    def __call__(self, tokens: np.ndarray, candidates: np.ndarray, generator: np.random.Generator) -> Corrupted:
        num_tokens = len(tokens)
        if num_tokens < 2:
            return Corrupted(tokens, np.zeros(num_tokens, dtype=bool))
        num_noise, num_spans = self.lengths(num_tokens)
        noise_lengths = random_segments(num_noise, num_spans, generator)
        text_lengths = random_segments(num_tokens - num_noise, num_spans, generator)
        lengths = np.stack([text_lengths, noise_lengths], axis=1).ravel()
        noise = np.repeat(np.tile([False, True], num_spans), lengths)
        noise &= candidates
        seen = tokens if self.mask_id is None else np.where(noise, self.mask_id, tokens)
        return Corrupted(seen, noise)


def random_segments(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """Cut `total` into `parts` positive lengths, every way being equally likely."""
    cuts = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
