"""Batches of a task: every example once an epoch, a pure function of (seed, step), little padding."""

import numpy as np

from lmlab.formulations.batches import TaskBatches, cut

LENGTHS = np.random.default_rng(0).integers(3, 120, 1000)


def batches(seed=0, **settings):
    """Batches that are just the chosen indices."""
    return TaskBatches(LENGTHS, list, **{"micro_batch_tokens": 10_000, "seed": seed, "batch_size": 16} | settings)


def examples(made, epoch):
    first = epoch * made.steps_per_epoch
    return [i for step in range(first, first + made.steps_per_epoch) for part in made.step(step) for i in part]


def test_an_epoch_holds_every_example_once_in_another_order():
    made = batches()
    first, second = examples(made, 0), examples(made, 1)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first != second


def test_a_step_depends_on_the_seed_and_its_number_alone():
    made = batches()
    forward = [made.step(step) for step in range(70)]
    assert [batches().step(step) for step in reversed(range(70))][::-1] == forward
    assert batches(seed=1).step(0) != forward[0]


def test_padding_is_small_and_micro_batches_keep_to_their_tokens():
    made = batches(batch_size=32, micro_batch_tokens=512)
    padded = real = 0
    for step in range(made.steps_per_epoch):
        for part in made.step(step):
            longest = LENGTHS[part].max()
            assert len(part) * longest <= 512 or len(part) == 1
            padded, real = padded + len(part) * longest, real + LENGTHS[part].sum()
    assert 1 - real / padded < 0.1


def test_batch_tokens_say_how_many_examples_make_a_step():
    made = batches(batch_size=None, batch_tokens=1000)
    assert abs(made.tokens_per_step - 1000) < 0.05 * 1000


def test_an_example_longer_than_the_budget_goes_alone():
    assert [part.tolist() for part in cut([0, 1, 2], [5, 50, 5], 10)] == [[1], [0, 2]]


def test_examples_of_several_sequences_are_counted_with_all_of_them():
    sizes = np.random.default_rng(1).integers(1, 6, 1000)
    made = batches(sizes=sizes, micro_batch_tokens=512)
    parts = [part for step in range(made.steps_per_epoch) for part in made.step(step)]
    assert sorted(i for part in parts for i in part) == list(range(1000))
    assert all(sizes[part].sum() * LENGTHS[part].max() <= 512 or len(part) == 1 for part in parts)
    by_tokens = batches(sizes=sizes, batch_size=None, batch_tokens=4000)
    assert abs(by_tokens.batch_size * (LENGTHS * sizes).mean() - 4000) < 0.05 * 4000
