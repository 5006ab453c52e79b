"""The batches of a pre-training run: step n is a pure function of n, so that resuming costs nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lmlab.batch import Batch
from lmlab.text.order import shuffled


class Units(Protocol):
    """Pieces of text that make one example each; the epoch may cut the text elsewhere."""

    def __len__(self) -> int: ...

    def get(self, index: int, epoch: int | None) -> Any: ...


Example = dict[str, np.ndarray]


@dataclass(frozen=True)
class Asking:
    """From units of text to the batch of one forward pass.

    Attributes:
        ask: makes an example of a unit and a generator (`Question.example`).
        convert: lays examples out (`lmlab.text.features`).
        count: the denominators of a batch's loss terms (`Question.counts`).
        part: number of the forward pass.
    """

    ask: Callable[[Any, np.random.Generator], Example]
    convert: Callable[[list[Example]], Batch]
    count: Callable[[Batch], dict[str, int]]
    part: int = 0

    def __call__(self, units: Sequence[Any], generators: Sequence[np.random.Generator]) -> Batch:
        batch = self.convert([self.ask(unit, noise) for unit, noise in zip(units, generators, strict=True)])
        batch.counts, batch.part = self.count(batch), self.part
        return batch


class PretrainBatches:
    """Shuffled units, asked about by an objective and laid out for a model.

    The order of the data and its noise are functions of (seed, epoch, index) alone.

    Args:
        units: the training text in pieces.
        passes: what is asked of them, each in forward passes of its own.
        batch_size: sequences of one optimizer step.
        micro_batch_size: most sequences of one forward pass.
        seed: of order and noise.
    """

    def __init__(self, units: Units, passes: Sequence[Asking], batch_size: int, micro_batch_size: int, seed: int):
        self.units, self.passes = units, passes
        self.batch_size, self.micro_batch_size, self.seed = batch_size, micro_batch_size, seed

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps in which every unit is seen once."""
        return len(self.units) / self.batch_size

    def step(self, step: int) -> list[Batch]:
        """The micro-batches of optimizer step `step`, counted from 0."""
        first = step * self.batch_size
        places = [self.place(number) for number in range(first, first + self.batch_size)]
        groups = [places[i : i + self.micro_batch_size] for i in range(0, len(places), self.micro_batch_size)]
        return [batch for group in groups for batch in self._batches(group)]

    def place(self, number: int) -> tuple[int, int]:
        """The epoch and the index of the unit that is read as the `number`-th of the run."""
        epoch, place = divmod(number, len(self.units))
        return epoch, shuffled(place, len(self.units), self.seed, epoch)

    def _batches(self, places: list[tuple[int, int]]) -> Iterator[Batch]:
        units = [self.units.get(index, epoch) for epoch, index in places]
        for asking in self.passes:
            yield asking(units, [noise_generator(self.seed, epoch, index, asking.part) for epoch, index in places])


class ValidationBatches:
    """Units spread evenly over the validation text, under noise that never changes.

    Args:
        units, passes: as in `PretrainBatches`.
        batch_size: sequences of one forward pass.
        max_units: how many units to read, None for all.
    """

    NOISE_SEED = 2018  # one noise for all runs and seeds, so that their validation losses can be compared

    def __init__(self, units: Units, passes: Sequence[Asking], batch_size: int, max_units: int | None = None):
        self.units, self.passes = units, passes
        self.batch_size = batch_size
        self.num_units = min(len(units), max_units or len(units))

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, self.num_units, self.batch_size):
            group = range(first, min(first + self.batch_size, self.num_units))
            indices = [place * len(self.units) // self.num_units for place in group]
            units = [self.units.get(index, None) for index in indices]
            for asking in self.passes:
                yield asking(units, [noise_generator(self.NOISE_SEED, 0, index, asking.part) for index in indices])


def noise_generator(seed: int, epoch: int, index: int, part: int = 0) -> np.random.Generator:
    """The generator of one example's noise in one forward pass: a counter-based one, whose key says whose it is."""
    key = np.array([seed % 2**64, (part << 60) ^ (epoch << 40) ^ index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
