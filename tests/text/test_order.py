"""The shuffled order is a permutation, another one per epoch, and the same for ever."""

import numpy as np
import pytest

from lmlab.text.order import shuffled


@pytest.mark.parametrize("size", [*range(1, 40), 63, 64, 65, 1000, 4096, 4097, 100_003])
def test_it_is_a_bijection(size):
    order = shuffled(np.arange(size), size, seed=3, epoch=1)
    assert np.array_equal(np.sort(order), np.arange(size))
    some = range(0, size, max(1, size // 50))
    assert [shuffled(index, size, seed=3, epoch=1) for index in some] == order[list(some)].tolist()


def test_every_seed_and_epoch_gives_another_order_that_looks_random():
    size = 10_000
    orders = [shuffled(np.arange(size), size, seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    for i, order in enumerate(orders):
        assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 0.05
        assert np.count_nonzero(np.diff(order) == 1) < 10  # neighbours are torn apart
        for other in orders[:i]:
            assert np.count_nonzero(order == other) < 12  # about one place agrees by chance


def test_golden_values():
    """A change of these breaks the resumption of every run made before it."""
    assert shuffled(np.arange(10), 10, seed=0, epoch=0).tolist() == [2, 5, 7, 9, 4, 3, 6, 1, 8, 0]
    assert shuffled(np.arange(10), 10, seed=0, epoch=1).tolist() == [9, 1, 8, 6, 2, 3, 5, 4, 7, 0]
    assert shuffled(0, 10**12, seed=7, epoch=2) == 182980122761


def test_an_index_outside_is_refused():
    for index in (-1, 5, np.array([0, 5]), np.array([-1])):
        with pytest.raises(IndexError):
            shuffled(index, 5, seed=0)
