"""The order of samples: pure integers, so it is tested without a file."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aammodel.order import Order, batch_sizes, permutation

GROUPS = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def read(order: Order, epoch: int, start: int = 0) -> list[tuple[int, int]]:
    """List (row group, row) in the order of reading."""
    found = []
    for window in order.windows(epoch, start):
        rows = [(group, row) for group in window.groups for row in range(order.group_rows[group])]
        found.extend(rows[position] for position in window.order)
    return found


@settings(max_examples=300)
@given(rows=GROUPS, seed=st.integers(0, 2**63), epoch=st.integers(0, 100), window=st.integers(1, 10))
def test_every_sample_comes_once_an_epoch(rows: list[int], seed: int, epoch: int, window: int) -> None:
    order = Order(tuple(rows), seed, window)
    expected = [(group, row) for group, size in enumerate(rows) for row in range(size)]
    assert sorted(read(order, epoch)) == expected


@settings(max_examples=300)
@given(rows=GROUPS, seed=st.integers(0, 2**63), window=st.integers(1, 10), data=st.data())
def test_starting_late_gives_the_rest_of_the_same_order(
    rows: list[int], seed: int, window: int, data: st.DataObject
) -> None:
    order = Order(tuple(rows), seed, window)
    start = data.draw(st.integers(0, sum(rows)))
    assert read(order, 3, start) == read(order, 3)[start:]


def test_epochs_and_seeds_differ() -> None:
    rows = (7,) * 20
    orders = [read(Order(rows, seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(one) for one in orders}) == 4
    assert read(Order(rows, 0), 0) == orders[0]


def test_unshuffled_is_the_order_of_the_files() -> None:
    rows = (3, 1, 2)
    assert read(Order(rows, 0, shuffled=False), 5) == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]


def test_the_permutation_never_changes() -> None:
    """Resuming a run with a newer numpy must find the same order: these figures are forever."""
    assert permutation(8, 0).tolist() == [2, 6, 5, 3, 0, 4, 7, 1]
    assert permutation(8, 1, 2, 3).tolist() == [3, 1, 5, 7, 6, 0, 2, 4]


def test_permutations_are_even() -> None:
    """Each place is taken by each sample about equally often (chi-squared, 1 in 10,000 by chance)."""
    places = np.stack([permutation(10, seed) for seed in range(4000)])
    observed = np.stack([np.bincount(places[:, place], minlength=10) for place in range(10)])
    assert ((observed - 400) ** 2 / 400).sum() < 147  # 99.99 % of chi-squared with 90 degrees of freedom


@given(st.integers(1, 100), st.integers(1, 20))
def test_batches_cover_the_epoch(num_samples: int, batch_size: int) -> None:
    sizes = batch_sizes(num_samples, batch_size)
    assert sum(sizes) == num_samples
    assert set(sizes[:-1]) <= {batch_size}
