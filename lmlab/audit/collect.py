"""What happens to the sequences of a run, counted sequence by sequence."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from lmlab.audit.count import Counter, Facts
from lmlab.audit.rows import Row, rows
from lmlab.audit.trace import Trace, Tracer
from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import Objective, Question
from lmlab.text.batching import Asking, PretrainBatches, noise_generator
from lmlab.text.passage import Pair, Passage, Record

Report = Callable[[int, int], None]


@dataclass
class Counts:
    """Counts of one forward pass, one number a sequence; nan where there is nothing to count.

    Attributes:
        question: what is asked.
        counter: says what is counted.
        spans: numbers of spans by length, (lengths,) a sequence; None where they could not be measured.
        expected_spans: the same as the corruption lets expect them; None where it does not.
    """

    question: Question
    counter: Counter
    spans: list[np.ndarray | None] = field(default_factory=list)
    expected_spans: list[np.ndarray | None] = field(default_factory=list)
    num_sequences: int = 0
    _columns: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def corruption(self) -> Corruption | None:
        """What hides something, or None."""
        return self.counter.corruption

    def __getitem__(self, name: str) -> np.ndarray:
        """A column, (sequences,)."""
        column = np.full(self.num_sequences, np.nan)
        found = self._columns.get(name, {})
        column[list(found)] = list(found.values())
        return column

    def add(self, unit: Passage | Pair | Record, row: Row, trace: Trace | None) -> None:
        """Count one sequence."""
        for name, value in self.counter.count(unit, row, trace).items():
            self._columns[name][self.num_sequences] = float(value)
        has_noise = trace is not None and self.corruption is not None
        spans, expected = self.counter.spans(trace) if has_noise else (None, None)
        self.spans.append(spans)
        self.expected_spans.append(expected)
        self.num_sequences += 1


def collect(
    batches: PretrainBatches,
    objective: Objective,
    layout: str,
    facts: Facts,
    num_sequences: int,
    report: Report = lambda done, total: None,
) -> list[Counts]:
    """Count what happens to the first sequences of a run, in the batches that training would see.

    Args:
        batches: of the training text.
        objective: what they ask.
        layout: of the model.
        facts: of the tokenizer: vocab_size, special_ids, mask_id, ...
        num_sequences: how many.
        report: called with (done, total) sequences.

    Returns:
        The counts of each forward pass.
    """
    all_counts = [Counts(question, Counter(question, facts)) for question in objective.passes]
    for numbers in _groups(num_sequences, batches.batch_size, batches.micro_batch_size):
        places = [batches.place(number) for number in numbers]
        units = [batches.units.get(index, epoch) for epoch, index in places]
        for asking, counts in zip(batches.passes, all_counts, strict=True):
            ask = partial(_ask, asking, places, batches.seed, layout)
            for unit, (row, trace) in zip(units, _traced(units, ask, counts.counter.tracer), strict=True):
                counts.add(unit, row, trace)
        report(numbers.stop, num_sequences)
    return all_counts


def _groups(num_sequences: int, batch_size: int, micro_batch_size: int) -> list[range]:
    """The numbers of the sequences of each micro-batch."""
    steps = [range(i, min(i + batch_size, num_sequences)) for i in range(0, num_sequences, batch_size)]
    return [step[i : i + micro_batch_size] for step in steps for i in range(0, len(step), micro_batch_size)]


def _ask(asking: Asking, places: list[tuple[int, int]], seed: int, layout: str, units: list) -> list[Row]:
    """The rows of the batch that is made of `units`."""
    return rows(asking(units, [noise_generator(seed, epoch, index, asking.part) for epoch, index in places]), layout)


def _traced(units: list, ask: Callable[[list], list[Row]], tracer: Tracer) -> list[tuple[Row, Trace | None]]:
    real = ask(units)
    if isinstance(units[0], Record):  # its fields are read back as they stand
        return [(row, None) for row in real]
    if real[0].places is not None:
        return [(row, tracer.in_place(unit, row)) for unit, row in zip(units, real, strict=True)]
    try:
        dyed = ask([tracer.dyed(unit) for unit in units])
    except IndexError:  # a corruption that looks tokens up in a table
        return [(row, None) for row in real]
    return [(row, tracer.moved(unit, row, other)) for unit, row, other in zip(units, real, dyed, strict=True)]
