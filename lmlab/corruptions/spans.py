"""T5's noise in spans (Raffel et al. 2019, arXiv:1910.10683, section 3.1.4)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.corruptions.draws import random_parts
from lmlab.text.passage import Passage


class Spans(Corruption):
    """Mark a fixed share of the tokens as noise, in a fixed number of spans of random lengths.

    The rules of `random_spans_noise_mask` in the T5 code: round(T * rate) noise tokens in round(noise / mean_length)
    spans; both noise and the rest are cut at random into as many non-empty parts; the sequence starts with text and
    ends with noise. T counts ordinary tokens only; a special token within a span cuts it in two. Noise is shown as the
    mask token; `span_corruption` puts one sentinel for a whole span instead.

    Args:
        mask_id: the token that hides; None (T5's own tokenizer) leaves the tokens as they are.
        rate: share of the tokens that are noise.
        mean_length: mean length of a span in tokens.
    """

    def __init__(self, mask_id: int | None = None, rate: float = 0.15, mean_length: float = 3.0):
        if not 0 < rate < 1:
            raise ValueError(f"rate={rate} must lie in (0, 1)")
        if not mean_length >= 1:
            raise ValueError(f"mean_length={mean_length} must be at least 1 token")
        self.mask_id, self.rate, self.mean_length = mask_id, rate, mean_length

    def fixed_counts(self, num_tokens: int) -> tuple[int, int]:
        """As in the base class; there is no noise in a single token."""
        num_noise = min(max(round(num_tokens * self.rate), 1), max(num_tokens - 1, 0))
        num_spans = min(max(round(num_noise / self.mean_length), 1), num_tokens - num_noise, num_noise)
        return num_noise, num_spans

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        noise = self.noise(text, generator)
        return Corrupted(text.tokens if self.mask_id is None else np.where(noise, self.mask_id, text.tokens), noise)

    def noise(self, text: Passage, generator: np.random.Generator) -> np.ndarray:
        """Which tokens to hide: bool (T,)."""
        places = text.ordinary.nonzero()[0]
        num_noise, num_spans = self.fixed_counts(len(places))
        noise = np.zeros(len(text), dtype=bool)
        if num_noise:
            noise_lengths = random_parts(num_noise, num_spans, generator)
            text_lengths = random_parts(len(places) - num_noise, num_spans, generator)
            lengths = np.stack([text_lengths, noise_lengths], axis=1).ravel()
            noise[places] = np.repeat(np.tile([False, True], num_spans), lengths)
        return noise

    def expected_noise(self, text: Passage) -> float:
        return float(self.fixed_counts(np.count_nonzero(text.ordinary))[0])

    def expected_spans(self, text: Passage) -> np.ndarray | None:
        """As in the base class; None where special tokens stand within the text and may cut spans.

        Of all ways to cut n tokens into s parts, a share of C(n - k - 1, s - 2) / C(n - 1, s - 1) begins with a part of
        k, and every part is distributed like the first.
        """
        places = text.ordinary.nonzero()[0]
        if len(places) and places[-1] - places[0] >= len(places):
            return None
        num_noise, num_spans = self.fixed_counts(len(places))
        expected = np.zeros(num_noise + 1)
        if num_spans == 1:
            expected[num_noise] = 1
        elif num_spans:
            lengths = np.arange(1, num_noise - num_spans + 1)
            steps = (num_noise - lengths - num_spans + 1) / (num_noise - lengths - 1)
            shares = (num_spans - 1) / (num_noise - 1) * np.concatenate([[1.0], steps]).cumprod()
            expected[1 : len(shares) + 1] = num_spans * shares
        return expected
