"""Several objectives asked at once, as BERT asks for masked tokens and for the next sentence."""

import numpy as np
from torch import Tensor, nn

from lmlab.objectives.base import Example, Objective, Score


class Sum(Objective):
    """Weighted sum of objectives that share one forward pass; each term is a mean over its own predictions.

    Args:
        parts: the objectives by name, which is that of their terms; at most one of them corrupts the text.
        weights: factor of each part's loss, 1 where a part is not named.
    """

    def __init__(self, parts: dict[str, Objective], weights: dict[str, float] | None = None):
        self.parts = parts
        self.weights = {name: 1.0 for name in parts} | (weights or {})
        if unknown := set(self.weights) - set(parts):
            raise ValueError(f"weights names {sorted(unknown)}, but the parts are {list(parts)}")
        if sum(map(corrupts, parts.values())) > 1:
            raise ValueError(f"of the parts {list(parts)} more than one corrupts the text that all of them read")
        self.unit = "sentence_pair" if any(p.unit == "sentence_pair" for p in parts.values()) else "block"
        self.pools = any(part.pools for part in parts.values())
        self.token_term = next((part.token_term for part in parts.values() if part.token_term), None)

    def block_length(self, seq_len: int) -> int:
        return min(part.block_length(seq_len) for part in self.parts.values())

    def example(self, unit: np.ndarray | dict, generator: np.random.Generator) -> Example:
        example: Example = {}
        for part in sorted(self.parts.values(), key=corrupts):  # the inputs of the one that corrupts stay
            example |= part.example(unit, generator)
        return example

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        heads: dict[str, nn.Module] = {}
        for part in self.parts.values():
            heads |= {name: head for name, head in part.heads(model).items() if name not in heads}
        return heads

    def counts(self, targets: dict[str, Tensor]) -> dict[str, int]:
        return {term: count for part in self.parts.values() for term, count in part.counts(targets).items()}

    def losses(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            term: loss * self.weights.get(term, 1.0)
            for part in self.parts.values()
            for term, loss in part.losses(hidden, heads, targets).items()
        }

    def scores(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Score]:
        return {
            term: score for part in self.parts.values() for term, score in part.scores(hidden, heads, targets).items()
        }


def corrupts(objective: Objective) -> bool:
    """Whether an objective changes what the model sees."""
    return objective.corruption_needs is not None
