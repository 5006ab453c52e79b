"""Several objectives asked at once, as BERT asks for masked tokens and for the next sentence."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.objectives.base import Example, Objective, Question, Score
from lmlab.objectives.pair import PairObjective
from lmlab.text.passage import Pair, Passage
from lmlab.text.store import TokenStore
from lmlab.text.tokenizer import Tokenizer

Parts = Mapping[str, Question]


class Shared(Question):
    """Objectives that are asked in one forward pass: maybe one about a pair, and one that reads it as it was posed.

    The terms of a part are named after the part: its first term bears the part's name, others "<part>_<term>".

    Args:
        parts: the objectives by name; all but the last are about pairs.
        factors: of each part's loss.
    """

    def __init__(self, parts: Parts, factors: Mapping[str, float]):
        self.parts, self.factors = parts, factors
        self.names = {name: _names(name, part) for name, part in parts.items()}
        self.weights = {
            self.names[name][term]: factors[name] * part.weights.get(term, 1.0)
            for name, part in parts.items()
            for term in part.terms
        }
        self.pools = any(part.pools for part in parts.values())

    @property
    def terms(self) -> tuple[str, ...]:
        return tuple(self.weights)

    def example(self, unit: Passage | Pair, generator: np.random.Generator) -> Example:
        *about_pairs, reader = self.parts.values()
        answers: Example = {}
        for part in about_pairs:
            unit, answer = part.pose(unit, generator)
            answers["sentence_label"] = np.int64(answer)
        return reader.example(unit, generator) | answers

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        return _joined_heads(self.parts, model)

    def counts(self, batch: Batch) -> dict[str, int]:
        return self._named(lambda part: part.counts(batch))

    def ask(self, model: nn.Module, heads: nn.ModuleDict, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return list(self.parts.values())[-1].ask(model, heads, batch)

    def losses(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {name: part.losses(hidden, heads, targets) for name, part in self.parts.items()}
        return {
            self.names[name][term]: loss * self.factors[name]
            for name, losses in found.items()
            for term, loss in losses.items()
        }

    def scores(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Score]:
        return self._named(lambda part: part.scores(hidden, heads, targets))

    def _named(self, ask: Callable[[Question], dict[str, Any]]) -> dict[str, Any]:
        answers = {name: ask(part) for name, part in self.parts.items()}
        return {self.names[name][term]: each for name, answer in answers.items() for term, each in answer.items()}


class Sum(Objective):
    """Weighted sum of objectives; each term is a mean over its own predictions.

    A part about pairs (nsp, sop) shares the forward pass of the first part that is not; every further part reads its
    own inputs, made of the same text, in a forward pass of its own.

    Args:
        parts: the objectives by name, which names their terms.
        weights: factor of each part's loss, 1 where a part is not named.
    """

    def __init__(self, parts: Parts, weights: Mapping[str, float] | None = None):
        if unknown := set(weights or {}) - set(parts):
            raise ValueError(f"weights names {sorted(unknown)}, but the parts are {list(parts)}")
        if not parts:
            raise ValueError("parts is empty: name at least one objective")
        if sums := [name for name, part in parts.items() if not isinstance(part, Question)]:
            raise ValueError(f"the part {sums[0]} is a sum itself: name its parts in this one")
        factors = {name: 1.0 for name in parts} | dict(weights or {})
        self.parts = parts
        self._passes = [Shared(group, {name: factors[name] for name in group}) for group in _groups(parts)]
        self.weights = {term: weight for each in self._passes for term, weight in each.weights.items()}
        self.unit = next((part.unit for part in parts.values() if part.unit != "block"), "block")
        self.pools = any(part.pools for part in parts.values())
        self.sees_inputs_whole = any(part.sees_inputs_whole for part in parts.values())
        named = ((_names(name, part), part.token_term) for name, part in parts.items())
        self.token_term = next((names[term] for names, term in named if term), None)

    @property
    def passes(self) -> list[Question]:
        return self._passes

    @property
    def terms(self) -> tuple[str, ...]:
        return tuple(self.weights)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple({mark: None for part in self.parts.values() for mark in part.reads})

    @property
    def learns(self) -> bool:
        return any(part.learns for part in self.parts.values())

    def learn(self, store: TokenStore, tokenizer: Tokenizer, cache_dir: str | Path | None = None) -> str:
        return "".join(part.learn(store, tokenizer, cache_dir) for part in self.parts.values())

    def block_length(self, seq_len: int) -> int:
        return min(part.block_length(seq_len) for part in self.parts.values())

    def block_overlap(self) -> int:
        return max(part.block_overlap() for part in self.parts.values())

    def sequence_length(self, seq_len: int, layout: str) -> int:
        return max(part.sequence_length(seq_len, layout) for part in self.parts.values())

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        return _joined_heads(self.parts, model)


def _groups(parts: Parts) -> list[dict[str, Question]]:
    """The parts of each forward pass: the first question about a pair goes with the first part that asks otherwise."""
    about_pairs = [name for name, part in parts.items() if isinstance(part, PairObjective)]
    others = [name for name in parts if name not in about_pairs]
    shared = about_pairs[:1] + others[:1]
    groups = [shared, *([name] for name in parts if name not in shared)]
    return [{name: parts[name] for name in group} for group in groups]


def _names(name: str, part: Question) -> dict[str, str]:
    """How the terms of a part are called in a sum: its first like the part."""
    first, *others = part.terms
    return {first: name} | {term: f"{name}_{term}" for term in others}


def _joined_heads(parts: Parts, model: nn.Module) -> dict[str, nn.Module]:
    """The heads of all parts; one that two parts name alike is shared."""
    heads: dict[str, nn.Module] = {}
    for part in parts.values():
        heads |= {name: head for name, head in part.heads(model).items() if name not in heads}
    return heads
