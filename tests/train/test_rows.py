"""Row groups to samples, and distinct values: as the plain way gives them, however they are found."""

import threading
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aammodel.distinct import distinct_of
from aammodel.rows import ahead, samples_of
from schemas.errors import InvalidDataError


@given(st.lists(st.integers(0, 999), min_size=1), st.sampled_from([1000, 100_000]))
def test_distinct_values_and_their_places_are_those_of_numpy(values: list[int], num_possible: int) -> None:
    # Many possible values make it sort, few make it count.
    array = np.array(values)
    distinct, place = distinct_of(array, num_possible)
    expected, inverse = np.unique(array, return_inverse=True)
    np.testing.assert_array_equal(distinct, expected)
    np.testing.assert_array_equal(place, inverse)


@pytest.mark.parametrize("num_possible", [10, 100_000])
def test_a_value_that_cannot_be_is_refused(num_possible: int) -> None:
    with pytest.raises(IndexError):
        distinct_of(np.array([3, num_possible]), num_possible)


def group(asv: list[list[int]], count: list[list[float]]) -> pa.Table:
    ids = [f"S{number}" for number in range(len(asv))]
    return pa.table({
        "sample_id": ids,
        "asv": pa.array(asv, pa.list_(pa.uint32())),
        "count": pa.array(count, pa.list_(pa.float64())),
    })  # fmt: skip


def test_a_slice_of_a_table_gives_its_own_samples() -> None:
    whole = group([[0, 1], [2], [3, 4, 5]], [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]])
    (sample,) = samples_of(whole.slice(1, 1), 6, [7])
    assert (sample.sample_id, sample.asv.tolist(), sample.count.tolist()) == ("S1", [2], [3.0])
    assert sample.position == 7
    assert len(sample.branch) == len(sample.branch_count) == 0


@pytest.mark.parametrize(
    ("asv", "count"),
    [
        ([], []),
        ([1], [1.0, 2.0]),
        ([1, 2], [1.0]),
        ([1], [0.0]),
        ([1, 2], [2.0, -1.0]),
        ([1, 2], [2.0, float("nan")]),
        ([1, 2], [2.0, float("inf")]),
        ([1, 2], [1e308, 1e308]),
        ([1, 6], [1.0, 1.0]),
    ],
    ids=lambda values: f"{values}",
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_sample_is_found_wherever_it_stands(asv: list[int], count: list[float], place: int) -> None:
    asvs, counts = [[0, 1], [2]], [[1.0, 0.0], [3.0]]
    asvs.insert(place, asv)
    counts.insert(place, count)
    with pytest.raises(InvalidDataError) as error:
        samples_of(group(asvs, counts), 6, range(len(asvs)))
    assert error.value.where == f"sample S{place}"


def test_items_are_made_one_ahead_and_in_order() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for number in range(5):
            assert threading.current_thread() is not threading.main_thread()
            made.append(number)
            yield number

    seen = []
    for number in ahead(make()):
        assert len(made) <= number + 2
        seen.append(number)
    assert seen == made == [0, 1, 2, 3, 4]


def test_what_goes_wrong_ahead_is_raised_where_the_item_is_asked_for() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise InvalidDataError("broken")

    items = ahead(make())
    assert next(items) == 1
    with pytest.raises(InvalidDataError, match="broken"):
        next(items)
