"""The order of samples: pure integers, so it is tested without a file."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aammodel.data.order import (
    MicroBatch,
    Order,
    bucket_by_size,
    count_batches,
    micro_batches,
    permutation,
    round_robin,
)

Row = tuple[int, int]
GROUPS = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def size_of(row: Row) -> int:
    """Return a made-up number of ASVs for a sample."""
    return (7 * row[0] + 3 * row[1]) % 11


def read(order: Order, epoch: int, start: int = 0, bucket: int = 0) -> list[Row]:
    """List (row group, row) in the order of reading; with `bucket`, for batches of that size."""
    found = []
    for window in order.windows(epoch, start):
        rows = [(group, row) for group in window.groups for row in range(order.group_rows[group])]
        sizes = np.array([size_of(row) for row in rows])
        order_here = bucket_by_size(window, sizes, bucket, order.seed, epoch) if bucket else window.order
        found.extend(rows[position] for position in order_here[window.num_consumed :])
    return found


@dataclass(frozen=True)
class Run:
    """How a run is set up; samples and batches are of some study."""

    order: Order
    batch_size: int
    accumulate: int
    bucket: bool

    def worker(self, part: int, parts: int, start: int = 0) -> Iterator[MicroBatch[Row]]:
        """Return the batches that one worker makes."""
        bucket = self.batch_size if self.bucket else 0
        batches = micro_batches(
            lambda epoch, first: read(self.order, epoch, first, bucket),
            self.order.num_samples,
            self.batch_size,
            start,
        )
        mine = round_robin(part, parts)
        return islice(batches, mine.start, None, mine.step)

    def loaded(self, num_workers: int, start: int = 0) -> Iterator[MicroBatch[Row]]:
        """Return the batches of a rank, whose loader takes from its workers in turn."""
        parts = max(num_workers, 1)
        workers = [self.worker(part, parts, start) for part in range(parts)]
        while True:
            yield from (next(worker) for worker in workers)

    def steps(self, ranks: int, num_workers: int, num_epochs: int) -> dict[tuple[int, int], list[Row]]:
        """Collect the samples of each (epoch, step) from all ranks."""
        per_epoch = count_batches(self.order.num_samples, self.batch_size)
        found = defaultdict(list)
        for rank in range(ranks):
            for batch in islice(self.loaded(num_workers), num_epochs * per_epoch):
                found[batch.epoch, batch.index // self.accumulate] += batch.samples[round_robin(rank, ranks)]
        return {step: sorted(samples) for step, samples in found.items()}


RUNS = st.builds(
    Run,
    order=st.builds(
        Order, group_rows=GROUPS.map(tuple), seed=st.integers(0, 2**63), window_groups=st.integers(1, 10)
    ),
    batch_size=st.integers(1, 9),
    accumulate=st.integers(1, 4),
    bucket=st.booleans(),
)


def check_ranks_and_workers(run: Run) -> None:
    """Every (ranks, workers) puts the same samples into the same step, each once an epoch."""
    expected = run.steps(1, 0, num_epochs=2)
    everything = sorted(
        (group, row) for group, size in enumerate(run.order.group_rows) for row in range(size)
    )
    for epoch in range(2):
        seen = [row for step, samples in expected.items() if step[0] == epoch for row in samples]
        assert sorted(seen) == everything
    for ranks in (1, 2, 3, 4):
        for num_workers in (0, 1, 3):
            assert run.steps(ranks, num_workers, num_epochs=2) == expected


@settings(max_examples=60, deadline=None)
@given(RUNS)
def test_ranks_and_workers_move_no_sample_to_another_step(run: Run) -> None:
    check_ranks_and_workers(run)


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(RUNS)
def test_ranks_and_workers_move_no_sample_in_thousands_of_cases(run: Run) -> None:
    check_ranks_and_workers(run)


@settings(max_examples=100, deadline=None)
@given(run=RUNS, start=st.integers(0, 40), num_workers=st.sampled_from([0, 1, 3]))
def test_a_late_start_gives_the_same_batches(run: Run, start: int, num_workers: int) -> None:
    whole = list(islice(run.loaded(0), start + 12))
    assert list(islice(run.loaded(num_workers, start), 12)) == whole[start:]


@settings(max_examples=100, deadline=None)
@given(run=RUNS)
def test_bucketing_keeps_every_sample_and_every_batch_size(run: Run) -> None:
    order, size = run.order, run.batch_size
    assert sorted(read(order, 0, bucket=size)) == sorted(read(order, 0))
    for window in order.windows(0):
        sizes = np.arange(len(window.order)) % 5
        assert sorted(bucket_by_size(window, sizes, size, order.seed, 0)) == sorted(window.order)


def test_bucketing_leaves_less_padding() -> None:
    order = Order((50,) * 16, seed=0)
    padding = {}
    for bucket in (0, 8):
        rows = read(order, 0, bucket=bucket)
        batches = np.array([size_of(row) for row in rows]).reshape(-1, 8)
        padding[bucket] = (batches.max(axis=1, keepdims=True) - batches).sum() / batches.size
    assert padding[8] < 0.2 * padding[0]
    # Batches of many and of few ASVs come in no order.
    largest = np.array([size_of(row) for row in read(order, 0, bucket=8)]).reshape(-1, 8).max(axis=1)
    assert abs(np.corrcoef(np.arange(50), largest[:50])[0, 1]) < 0.5


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
    assert len({tuple(order) for order in orders}) == 4
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
    epoch = list(range(num_samples))
    number = count_batches(num_samples, batch_size)
    batches = list(islice(micro_batches(lambda _, start: epoch[start:], num_samples, batch_size), number))
    assert [sample for batch in batches for sample in batch.samples] == epoch
    assert {len(batch.samples) for batch in batches[:-1]} <= {batch_size}


@pytest.mark.parametrize("given_samples", [4, 6, 9])
def test_an_order_of_another_length_than_it_says_is_refused(given_samples: int) -> None:
    batches = micro_batches(lambda epoch, start: range(start, given_samples), 5, 2)
    with pytest.raises(ValueError, match=f"has 5 samples in an epoch, and epoch 0 had {given_samples}"):
        list(islice(batches, 6))
