"""BERT's masking of single tokens (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption


class TokenMask(Corruption):
    """Choose tokens; show most of them as [MASK], some as a random token and some as they are.

    The number of chosen tokens is fixed, min(max_predictions, max(1, round(rate * T))), as in google-research/bert,
    where T counts the whole sequence with its special tokens.

    Args:
        mask_id: the token that hides.
        vocab_size: random tokens are drawn from the ids below it that are not special.
        special_ids: never drawn as random tokens.
        rate: share of the tokens to choose.
        mask_share: share of the chosen shown as [MASK].
        random_share: share of the chosen shown as a random token; the rest stays as it is.
        max_predictions: the most to choose, or None.
    """

    def __init__(
        self,
        mask_id: int,
        vocab_size: int,
        special_ids: frozenset[int] = frozenset(),
        rate: float = 0.15,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        max_predictions: int | None = None,
    ):
        if not 0 < rate <= 1:
            raise ValueError(f"rate={rate} must lie in (0, 1]")
        if mask_share < 0 or random_share < 0 or mask_share + random_share > 1:
            raise ValueError(f"mask_share={mask_share} and random_share={random_share} must be shares of one whole")
        if mask_id is None:
            raise ValueError("the tokenizer has no mask token; choose one that has ([MASK] or <mask>)")
        self.mask_id = mask_id
        self.ordinary_ids = np.setdiff1d(np.arange(vocab_size), list(special_ids))
        self.rate, self.mask_share, self.random_share = rate, mask_share, random_share
        self.max_predictions = max_predictions

    def __call__(self, tokens: np.ndarray, candidates: np.ndarray, generator: np.random.Generator) -> Corrupted:
        places = np.flatnonzero(candidates)
        wanted = max(1, round(self.rate * len(tokens)))
        wanted = min(wanted, len(places), self.max_predictions or wanted)
        chosen = generator.permutation(places)[:wanted]
        draw = generator.random(wanted)
        seen = tokens.copy()
        seen[chosen[draw < self.mask_share]] = self.mask_id
        random = chosen[(draw >= self.mask_share) & (draw < self.mask_share + self.random_share)]
        seen[random] = generator.choice(self.ordinary_ids, size=len(random))
        noise = np.zeros(len(tokens), dtype=bool)
        noise[chosen] = True
        return Corrupted(seen, noise)
