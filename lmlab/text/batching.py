"""The batches of a pre-training run: step n is a pure function of n, so that resuming costs nothing."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from lmlab.batch import Batch
from lmlab.text.order import shuffled


class Units(Protocol):
    """Pieces of text that make one example each; the epoch may cut the text elsewhere."""

    def __len__(self) -> int: ...

    def get(self, index: int, epoch: int | None) -> Any: ...


Ask = Callable[[Any, np.random.Generator], dict[str, np.ndarray]]


class PretrainBatches:
    """Shuffled units, asked about by an objective and laid out for a model.

    The order of the data and its noise are functions of (seed, epoch, index) alone.

    Args:
        units: the training text in pieces.
        ask: makes an example of a unit and a generator (`Objective.example`).
        convert: lays examples out (`lmlab.text.features`).
        count: the denominators of a batch's loss terms (`Objective.counts`).
        batch_size: sequences of one optimizer step.
        micro_batch_size: most sequences of one forward pass.
        seed: of order and noise.
    """

    def __init__(
        self,
        units: Units,
        ask: Ask,
        convert: Callable[[list[dict[str, np.ndarray]]], Batch],
        count: Callable[[dict[str, Any]], dict[str, int]],
        batch_size: int,
        micro_batch_size: int,
        seed: int,
    ):
        self.units, self.ask, self.convert, self.count = units, ask, convert, count
        self.batch_size, self.micro_batch_size, self.seed = batch_size, micro_batch_size, seed

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps in which every unit is seen once."""
        return len(self.units) / self.batch_size

    def step(self, step: int) -> list[Batch]:
        """The micro-batches of optimizer step `step`, counted from 0."""
        first = step * self.batch_size
        examples = [self._example(place) for place in range(first, first + self.batch_size)]
        groups = (examples[i : i + self.micro_batch_size] for i in range(0, len(examples), self.micro_batch_size))
        return [self._batch(group) for group in groups]

    def _example(self, place: int) -> dict[str, np.ndarray]:
        epoch, place = divmod(place, len(self.units))
        index = shuffled(place, len(self.units), self.seed, epoch)
        return self.ask(self.units.get(index, epoch), noise_generator(self.seed, epoch, index))

    def _batch(self, examples: list[dict[str, np.ndarray]]) -> Batch:
        batch = self.convert(examples)
        batch.counts = self.count(batch.targets)
        return batch


class ValidationBatches:
    """Units spread evenly over the validation text, under noise that never changes.

    Args:
        units, ask, convert, count: as in `PretrainBatches`.
        batch_size: sequences of one forward pass.
        max_units: how many units to read, None for all.
    """

    NOISE_SEED = 2018  # one noise for all runs and seeds, so that their validation losses can be compared

    def __init__(
        self,
        units: Units,
        ask: Ask,
        convert: Callable[[list[dict[str, np.ndarray]]], Batch],
        count: Callable[[dict[str, Any]], dict[str, int]],
        batch_size: int,
        max_units: int | None = None,
    ):
        self.units, self.ask, self.convert, self.count = units, ask, convert, count
        self.batch_size = batch_size
        self.num_units = min(len(units), max_units or len(units))

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, self.num_units, self.batch_size):
            group = range(first, min(first + self.batch_size, self.num_units))
            batch = self.convert([self._example(place * len(self.units) // self.num_units) for place in group])
            batch.counts = self.count(batch.targets)
            yield batch

    def _example(self, index: int) -> dict[str, np.ndarray]:
        return self.ask(self.units.get(index, None), noise_generator(self.NOISE_SEED, 0, index))


def noise_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one example's noise: a counter-based one, whose key says whose it is."""
    key = np.array([seed % 2**64, (epoch << 40) ^ index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
