"""T5's span corruption (Raffel et al. 2019, arXiv:1910.10683, section 3.1.4)."""

import math

import numpy as np

from lmlab.corruptions.base import Corruption
from lmlab.errors import UserError
from lmlab.objectives.base import Example
from lmlab.objectives.text_pairs import NoiseObjective
from lmlab.text.passage import Passage


class SpanCorruption(NoiseObjective):
    """Replace each run of noise by one sentinel; ask for the sentinels, each followed by what it stands for.

    inputs = text with <extra_id_0>, <extra_id_1>, ... for the spans, then the end token;
    targets = <extra_id_0> first span <extra_id_1> second span ..., then the end token. As in the T5 code, no last
    sentinel closes the targets (the figure of the paper draws one).

    Of the corruption only its choice of noise counts. Where that draws the number of spans, a text may rarely have
    more of them than there are sentinels; the last ones then stay as they are.

    Args:
        corruption: says which tokens are noise.
        sentinel_ids: <extra_id_0> first.
        eos_id: the end token.
    """

    answers = (("encoder-decoder", "fill"),)
    name = "span_corruption"

    def __init__(self, corruption: Corruption, sentinel_ids: list[int], eos_id: int):
        super().__init__(corruption, eos_id)
        if not sentinel_ids:
            raise ValueError("span_corruption needs a tokenizer with sentinels such as <extra_id_0>")
        self.sentinel_ids = np.array(sentinel_ids)

    def sizes(self, num_tokens: int) -> tuple[int, int]:
        if (fixed := self._fixed(num_tokens)) is None:
            return num_tokens + 1, num_tokens + self._most_spans(num_tokens) + 1
        num_noise, num_spans = fixed
        return num_tokens - num_noise + num_spans + 1, num_noise + num_spans + 1

    def joint_length(self, num_tokens: int) -> int:
        _, num_spans = self._fixed(num_tokens) or (None, self._most_spans(num_tokens))
        return num_tokens + 2 * num_spans + 2

    def _fixed(self, num_tokens: int) -> tuple[int, int] | None:
        """Tokens and spans of noise, where neither is left to chance."""
        counts = self.corruption.fixed_counts(num_tokens)
        return None if counts is None or counts[1] is None else counts

    def _most_spans(self, num_tokens: int) -> int:
        return min(len(self.sentinel_ids), math.ceil(num_tokens / 2))

    def block_length(self, seq_len: int) -> int:
        length = super().block_length(seq_len)
        inputs, targets = self.sizes(length)
        is_half = self._fixed(length) is not None and targets == inputs + 1  # at a rate of one half
        return length - 1 if is_half else length  # as the T5 code

    def sequence_length(self, seq_len: int, layout: str) -> int:
        num_spans = round(self.expected_spans(self.block_length(seq_len)))
        if num_spans > len(self.sentinel_ids):
            raise UserError(
                f"{num_spans} spans need as many sentinels, but the tokenizer has {len(self.sentinel_ids)}: raise "
                "tokenizer.num_sentinels, make spans longer or fewer, or lower seq_len"
            )
        return super().sequence_length(seq_len, layout)

    def example(self, unit: Passage, generator: np.random.Generator) -> Example:
        text = unit.text_alone()  # T5 joins documents without a mark
        noise = self.corruption(text, generator).noise
        starts = noise & ~np.concatenate([[False], noise[:-1]])
        has_sentinel = starts.cumsum() <= len(self.sentinel_ids)
        noise, starts = noise & has_sentinel, starts & has_sentinel
        return {
            "inputs": self._render(text.tokens, starts, ~noise),
            "targets": self._render(text.tokens, starts, noise),
        }

    def _render(self, tokens: np.ndarray, starts: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """The `shown` tokens with a sentinel at each of the `starts` of spans, and the end token."""
        sentinels = np.zeros_like(tokens)
        sentinels[starts] = self.sentinel_ids[: starts.sum()]
        # Each token becomes two slots, its sentinel and itself; the ones not wanted fall out.
        slots = np.stack([sentinels, tokens], axis=1).ravel()
        wanted = np.stack([starts, shown], axis=1).ravel()
        return np.append(slots[wanted], self.eos_id)
