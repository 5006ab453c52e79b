"""BERT's masking of single tokens (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""

from typing import Literal

import numpy as np

from lmlab.corruptions.draws import items_of
from lmlab.corruptions.masking import Masking
from lmlab.text.passage import Passage


class TokenMask(Masking):
    """Choose single tokens, all equally likely.

    Args:
        facts: mask_id, vocab_size, special_ids; see `Masking`.
        count: "fixed" chooses the number of tokens that `Masking` says; "bernoulli" chooses every token with the
            probability `rate`, independently, so that the number varies, as in RoBERTa's and most later code.
        others: see `Masking`.
    """

    def __init__(self, *facts, count: Literal["fixed", "bernoulli"] = "fixed", **others):
        super().__init__(*facts, **others)
        if count not in ("fixed", "bernoulli"):
            raise ValueError(f"count={count!r} must be 'fixed' or 'bernoulli'")
        if count == "bernoulli" and self.max_predictions is not None:
            raise ValueError(f"max_predictions={self.max_predictions} limits a fixed count; count='bernoulli' has none")
        self.count = count

    def choose(self, text: Passage, generator: np.random.Generator) -> tuple[np.ndarray, None]:
        places = text.ordinary.nonzero()[0]
        if self.count == "bernoulli":
            return places[generator.random(len(places)) < self.rate], None
        return generator.permutation(places)[: self.wanted(text)], None

    def expected_noise(self, text: Passage) -> float:
        if self.count == "bernoulli":
            return self.rate * np.count_nonzero(text.ordinary)
        return super().expected_noise(text)

    def expected_spans(self, text: Passage) -> np.ndarray:
        """Mean numbers of runs of chosen tokens by length: chosen tokens may be neighbours by chance."""
        segments = items_of(text, whole_words=False).segments
        num_tokens, longest = segments.sum(), segments.max(initial=0)
        chosen = np.zeros(longest + 1)
        for beside in (0, 1, 2):  # neighbours that must not be chosen
            runs = np.arange(longest + 1)
            rest = np.subtract.outer(segments, runs)
            ways = {0: rest == 0, 1: 2 * (rest > 0), 2: np.maximum(rest - 1, 0)}[beside].sum(axis=0)
            chosen += ways * self._chance(runs, beside, num_tokens, self.wanted(text))
        chosen[0] = 0
        return chosen

    def _chance(self, runs: np.ndarray, beside: int, num_tokens: int, wanted: int) -> np.ndarray:
        """Probability that n given tokens are all chosen and `beside` others are not, for n = 0, 1, 2, ..."""
        if self.count == "bernoulli":
            return self.rate**runs * (1 - self.rate) ** beside
        earlier = runs[:-1]
        chance = np.concatenate([[1.0], np.cumprod((wanted - earlier).clip(0) / (num_tokens - earlier))])
        for each in range(beside):
            chance *= (num_tokens - wanted - each) / (num_tokens - runs - each).clip(1)
        return chance
