"""Batches of examples of like length, in an order that is a pure function of (seed, step)."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lmlab.batch import Batch

POOL = 32  # batches sorted by length together: enough to save padding, few enough to mix


class TaskBatches:
    """The training examples of a task, in the order in which the trainer asks for them.

    Every epoch sees each example once. Its order is shuffled by (seed, epoch), then sorted by length inside
    pools of `POOL` batches, and the batches are shuffled again, so that length tells nothing about time.

    Args:
        lengths: tokens of each example; of the longest of its sequences where it has several. (N,), or (N, P) for
            examples of P parts that are padded apart, such as sources and targets.
        make_batch: indices of examples -> Batch.
        batch_size: examples of one optimizer step (the last one of an epoch takes what is left);
            None takes as many as make `batch_tokens` on average.
        micro_batch_tokens: padded tokens of one forward pass; a step of more is cut into several.
        seed: of the order.
        sizes: sequences of each example (one for each choice); None: one each.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Sequence[Sequence[int]],
        make_batch: Callable[[Sequence[int]], Batch],
        micro_batch_tokens: int,
        seed: int,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        sizes: Sequence[int] | None = None,
    ) -> None:
        self.parts, self.make_batch = in_parts(lengths), make_batch
        self.lengths = self.parts.sum(axis=1)
        self.sizes = np.ones_like(self.lengths) if sizes is None else np.asarray(sizes)
        self.micro_batch_tokens, self.seed = micro_batch_tokens, seed
        tokens = self.lengths * self.sizes
        self.batch_size = batch_size or max(1, round(batch_tokens / tokens.mean()))
        self.steps_per_epoch = -(-len(self.lengths) // self.batch_size)
        self.tokens_per_step = float(tokens.sum() / self.steps_per_epoch)
        self._epoch, self._order = -1, []

    def step(self, step: int) -> list[Batch]:
        """The micro-batches of optimizer step `step` (from 0)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        chosen = self.order(epoch)[place]
        return [self.make_batch(part) for part in cut(chosen, self.parts, self.micro_batch_tokens, self.sizes)]

    def order(self, epoch: int) -> list[np.ndarray]:
        """The examples of every step of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._draw(epoch)
        return self._order

    def _draw(self, epoch: int) -> list[np.ndarray]:
        generator = np.random.default_rng((self.seed, epoch))
        shuffled = generator.permutation(len(self.lengths))
        pools = np.split(shuffled, range(POOL * self.batch_size, len(shuffled), POOL * self.batch_size))
        by_length = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        steps = np.split(by_length, range(self.batch_size, len(by_length), self.batch_size))
        return [steps[i] for i in generator.permutation(len(steps))]


def cut(
    indices: Sequence[int],
    lengths: Sequence[int] | Sequence[Sequence[int]],
    max_tokens: int,
    sizes: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:
    """Indices by length, cut so that sequences x longest stays within `max_tokens`; at least one a piece.

    What is longest is found for each of the parts that are padded apart.

    Args:
        lengths, sizes: of each example, as in `TaskBatches`.
    """
    indices, parts = np.asarray(indices, dtype=np.int64), in_parts(lengths)
    totals = parts.sum(axis=1)
    ordered = indices[np.lexsort((indices, -totals[indices]))]  # longest first: most pieces are as wide as their first
    ends = np.cumsum(np.ones_like(ordered) if sizes is None else np.asarray(sizes)[ordered])
    begin = before = 0  # examples, and their sequences, that are in earlier pieces
    while begin < len(ordered):
        most = max_tokens // max(1, int(totals[ordered[begin]]))
        end = int(np.searchsorted(ends, before + most, side="right"))
        widths = np.maximum.accumulate(parts[ordered[begin:end]]).sum(axis=1)
        fitting = np.searchsorted((ends[begin:end] - before) * widths, max_tokens, side="right")
        end = begin + max(1, int(fitting))
        yield ordered[begin:end]
        begin, before = end, ends[end - 1]


def in_parts(lengths: Sequence[int] | Sequence[Sequence[int]]) -> np.ndarray:
    """(N, P) of lengths that are (N,) where there is one part."""
    lengths = np.asarray(lengths)
    return lengths[:, None] if lengths.ndim == 1 else lengths
