"""T5's span corruption (Raffel et al. 2019, arXiv:1910.10683, section 3.1.4)."""

import numpy as np

from lmlab.corruptions.base import Corruption
from lmlab.errors import UserError
from lmlab.objectives.base import Example, VocabularyObjective


class SpanCorruption(VocabularyObjective):
    """Replace each run of noise by one sentinel; ask for the sentinels, each followed by what it stands for.

    inputs = text with <extra_id_0>, <extra_id_1>, ... for the spans, then the end token;
    targets = <extra_id_0> first span <extra_id_1> second span ..., then the end token. As in the T5 code, no last
    sentinel closes the targets (the figure of the paper draws one).

    Args:
        corruption: says which tokens are noise.
        sentinel_ids: <extra_id_0> first.
        eos_id: the end token.
    """

    layouts = ("encoder-decoder", "decoder")
    corruption_needs = ("hides",)
    answers = (("encoder-decoder", "fill"),)
    name = "span_corruption"

    def __init__(
        self,
        corruption: Corruption,
        sentinel_ids: list[int],
        eos_id: int,
    ):
        if not sentinel_ids:
            raise ValueError("span_corruption needs a tokenizer with sentinels such as <extra_id_0>")
        if eos_id is None:
            raise ValueError("span_corruption needs a tokenizer with an end token")
        self.corruption, self.eos_id = corruption, eos_id
        self.sentinel_ids = np.array(sentinel_ids)

    def block_length(self, seq_len: int) -> int:
        """The longest raw text whose corrupted inputs, with the end token, still fit into `seq_len`."""
        length = seq_len - 1
        while self.lengths(length + 1)[0] <= seq_len:
            length += 1
        inputs, targets = self.lengths(length)
        return length - 1 if targets == inputs + 1 else length  # at a rate of one half, as the T5 code

    def lengths(self, num_tokens: int) -> tuple[int, int]:
        """Lengths of inputs and targets made from `num_tokens` of raw text, where the corruption fixes them."""
        if not hasattr(self.corruption, "lengths"):
            return num_tokens + 1, num_tokens + 1
        num_noise, num_spans = self.corruption.lengths(num_tokens)
        return num_tokens - num_noise + num_spans + 1, num_noise + num_spans + 1

    def sequence_length(self, seq_len: int, layout: str) -> int:
        raw = self.block_length(seq_len)
        if hasattr(self.corruption, "lengths"):
            self._refuse_too_many(self.corruption.lengths(raw)[1])
        inputs, targets = self.lengths(raw)
        return inputs + targets - 1 if layout == "decoder" else inputs

    def example(self, unit: np.ndarray, generator: np.random.Generator) -> Example:
        noise = self.corruption(unit, np.ones(len(unit), dtype=bool), generator).noise
        return {"inputs": self._render(unit, noise), "targets": self._render(unit, ~noise, noise)}

    def _render(self, tokens: np.ndarray, hidden: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """Drop the `hidden` tokens and put a sentinel where each run of noise starts."""
        noise = hidden if noise is None else noise
        starts = noise & ~np.concatenate([[False], noise[:-1]])
        num_spans = int(starts.sum())
        self._refuse_too_many(num_spans)
        sentinels = np.zeros_like(tokens)
        sentinels[starts] = self.sentinel_ids[:num_spans]
        # Each token becomes two slots, its sentinel and itself; the ones not wanted fall out.
        slots = np.stack([sentinels, tokens], axis=1).ravel()
        wanted = np.stack([starts, ~hidden], axis=1).ravel()
        return np.append(slots[wanted], self.eos_id)

    def _refuse_too_many(self, num_spans: int) -> None:
        if num_spans > len(self.sentinel_ids):
            raise UserError(
                f"{num_spans} spans need as many sentinels, but the tokenizer has {len(self.sentinel_ids)}: "
                "raise tokenizer.num_sentinels or corruption.mean_length, or lower seq_len"
            )
