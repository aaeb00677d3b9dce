"""Row groups to samples, and distinct values: as the plain way gives them, however they are found."""

import math
import threading
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aam_schemas.common.errors import InvalidDataError
from aammodel.data.collate import unique_values
from aammodel.data.samples import prefetch, split_table


@given(st.lists(st.integers(0, 999), min_size=1), st.sampled_from([1000, 100_000]))
def test_distinct_values_and_their_places_are_those_of_numpy(values: list[int], num_possible: int) -> None:
    # Many possible values make it sort, few make it count.
    array = np.array(values)
    distinct, place = unique_values(array, num_possible)
    expected, inverse = np.unique(array, return_inverse=True)
    np.testing.assert_array_equal(distinct, expected)
    np.testing.assert_array_equal(place, inverse)


@pytest.mark.parametrize("num_possible", [10, 100_000])
def test_a_value_that_cannot_be_is_refused(num_possible: int) -> None:
    with pytest.raises(IndexError):
        unique_values(np.array([3, num_possible]), num_possible)


LIMITS = {"asv": 6, "dropped_asv": 9, "branch": 4}
TOKEN_LIMIT = 4


def group(asv: list[list[int]], count: list[list[float]]) -> pa.Table:
    ids = [f"S{number}" for number in range(len(asv))]
    return pa.table({
        "sample_id": ids,
        "asv": pa.array(asv, pa.list_(pa.uint32())),
        "count": pa.array(count, pa.list_(pa.float64())),
    })  # fmt: skip


def test_a_slice_of_a_table_gives_its_own_samples() -> None:
    whole = group([[0, 1], [2], [3, 4, 5]], [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]])
    (sample,) = split_table(whole.slice(1, 1), LIMITS, [7], TOKEN_LIMIT, "file")
    assert (sample.sample_id, sample.asv.tolist(), sample.count.tolist()) == ("S1", [2], [3.0])
    assert sample.position == 7
    assert len(sample.branch) == len(sample.branch_count) == 0


def test_as_many_asvs_and_reads_as_can_be_are_taken() -> None:
    asv, count = [[5, 0, 1, 2], [5, 2, 1, 0]], [[1.0, 1.0, 1.0, 1.0], [3e38, 0.0, 1.0, 1.0]]
    first, second = split_table(group(asv, count), LIMITS, range(2), TOKEN_LIMIT, "file")
    assert (first.asv.tolist(), second.asv.tolist(), second.count.tolist()) == (*asv, count[1])


NO_ROOM = r"column count adds up to .*, more than float32 can hold \(3.4e\+38\)"


@pytest.mark.parametrize(
    ("asv", "count", "message"),
    [
        ([], [], "it lists no ASV"),
        ([1], [1.0, 2.0], "columns asv and count have lengths 1 and 2, which must be the same"),
        ([1, 2], [1.0], "columns asv and count have lengths 2 and 1"),
        ([1, 1], [1.0, 2.0], "column asv has row 1 of asvs.parquet 2 times"),
        ([5, 3, 0, 5], [1.0, 1.0, 1.0, 1.0], "column asv has row 5 of asvs.parquet 2 times"),
        ([0, 1, 2, 3, 4], [1.0] * 5, "it lists 5 ASVs, more than the token limit of 4 in the manifest"),
        ([1], [0.0], "all values of column count are 0"),
        ([1, 2], [2.0, -1.0], "entry 2 in column count, -1, is negative"),
        ([1, 2], [2.0, float("nan")], "entry 2 in column count, nan, is not finite"),
        ([1, 2], [float("inf"), 2.0], "entry 1 in column count, inf, is not finite"),
        ([1, 2], [1.0, float("-inf")], "entry 2 in column count, -inf, is not finite"),
        ([1, 2], [1e308, 1e308], NO_ROOM),
        ([1, 2], [2.0, 1e39], NO_ROOM),
        ([1, 2], [3e38, 3e38], NO_ROOM),
        ([1, 6], [1.0, 1.0], "column asv points to row 6, and the set has 6 ASVs that samples keep"),
    ],
    ids=lambda values: f"{values}"[:40],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_sample_is_found_and_its_fault_is_named(
    asv: list[int], count: list[float], message: str, place: int
) -> None:
    asvs, counts = [[0, 1], [2]], [[1.0, 0.0], [3.0]]
    asvs.insert(place, asv)
    counts.insert(place, count)
    with pytest.raises(InvalidDataError, match=message) as error:
        split_table(group(asvs, counts), LIMITS, range(len(asvs)), TOKEN_LIMIT, "file")
    assert error.value.where == f"file, sample S{place}"
    assert "make the shards again" in error.value.fix


def test_items_are_made_one_ahead_and_in_order() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for number in range(5):
            assert threading.current_thread() is not threading.main_thread()
            made.append(number)
            yield number

    seen = []
    for number in prefetch(make()):
        assert len(made) <= number + 2
        seen.append(number)
    assert seen == made == [0, 1, 2, 3, 4]


def test_what_goes_wrong_ahead_is_raised_where_the_item_is_asked_for() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise InvalidDataError("broken")

    items = prefetch(make())
    assert next(items) == 1
    with pytest.raises(InvalidDataError, match="broken"):
        next(items)


GOOD = {
    "asv": [[0, 1], [2], [3]],
    "count": [[1.0, 2.0], [3.0], [4.0]],
    "dropped_asv": [[], [8], [6, 7]],
    "dropped_count": [[], [1.0], [2.0, 0.0]],
    "branch": [[0, 1], [0, 3], [0]],
    "branch_count": [[3.0, 1.0], [3.0, 3.0], [4.0]],
}


def table_of(lists: dict[str, list[list[float | None] | None]]) -> pa.Table:
    kinds = {True: pa.list_(pa.float64()), False: pa.list_(pa.uint32())}
    columns = {name: pa.array(one, kinds["count" in name]) for name, one in lists.items()}
    return pa.table({"sample_id": ["S0", "S1", "S2"]} | columns)


def test_lists_of_any_length_are_taken() -> None:
    first, second, third = split_table(table_of(GOOD), LIMITS, range(3), TOKEN_LIMIT, "file")
    assert len(first.dropped_asv) == 0
    assert (second.dropped_asv.tolist(), second.branch.tolist()) == ([8], [0, 3])
    assert (third.dropped_count.tolist(), third.position) == ([2.0, 0.0], 2)


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("asv", [None], "entry 1 of 1 in column asv is missing"),
        ("count", None, "column count has no list"),
        ("dropped_asv", [9], "column dropped_asv points to row 9, and the set has 9 ASVs"),
        ("dropped_asv", [0, 1, 2], "columns dropped_asv and dropped_count have lengths 3"),
        ("dropped_count", [math.nan], "entry 1 in column dropped_count, nan, is not finite"),
        ("dropped_count", [-1.0], "entry 1 in column dropped_count, -1, is negative"),
        ("dropped_count", [None], "entry 1 of 1 in column dropped_count is missing"),
        ("branch", [4], "column branch points to row 4, and the set has 4 branches"),
        ("branch", [None], "entry 1 of 1 in column branch is missing"),
        ("branch", [0, 1, 2], "columns branch and branch_count have lengths 3"),
        ("branch_count", [math.inf], "entry 1 in column branch_count, inf, is not finite"),
        ("branch_count", [-math.inf], "entry 1 in column branch_count, -inf, is not finite"),
    ],
)
def test_an_invalid_list_is_named(
    column: str, value: list[float | None] | None, message: str, row: int
) -> None:
    other = next(
        b if a == column else a
        for a, b in (("asv", "count"), ("dropped_asv", "dropped_count"), ("branch", "branch_count"))
        if column in (a, b)
    )
    lists = {name: list(one) for name, one in GOOD.items()}
    lists[column][row] = value
    # The list beside it is as long, so that nothing else is wrong; but for three where the other has fewer.
    if value is not None and len(value) < 3:
        lists[other][row] = GOOD["count"][1] if "count" in other else [0]
    with pytest.raises(InvalidDataError, match=message) as error:
        split_table(table_of(lists), LIMITS, range(3), TOKEN_LIMIT, "file")
    assert error.value.where == f"file, sample S{row}"
