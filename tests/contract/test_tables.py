"""Tests of the pandera schemas: breaking one rule makes only the check of that rule fail."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from aam_schemas.tables import asv_table, metadata_violations, sample_table, violations
from aam_schemas.vocabulary import encode

SAMPLE: dict[str, Any] = {
    "sample_id": "S1",
    "study": "study",
    "asv": [0, 2],
    "count": [5.0, 1.0],
    "dropped_asv": [1],
    "dropped_count": [1.0],
    "depth": 7.0,
    "depth_before_rarefaction": 9.0,
    "depth_kept": 6.0,
    "num_asvs": 3,
    "num_asvs_kept": 2,
    "branch": [0, 1],
    "branch_count": [6.0, 2.0],
    "depth_in_tree": 6.0,
}
SAMPLE_TYPES = {
    "asv": pl.List(pl.UInt32),
    "dropped_asv": pl.List(pl.UInt32),
    "dropped_count": pl.List(pl.Float64),
    "count": pl.List(pl.Float64),
    "num_asvs": pl.UInt32,
    "num_asvs_kept": pl.UInt32,
    "branch": pl.List(pl.UInt32),
    "branch_count": pl.List(pl.Float64),
}


FOLLOWS = {
    "greater_than_or_equal_to(1)",
    "the number of counts differs from the number of ASVs",
    "num_asvs or num_asvs_kept differs from the length of the lists",
    "depth or depth_kept differs from the sum of the counts",
}
"""Checks that also fail if a list or number was changed, because the totals no longer agree."""


def samples(**changes: Any) -> pl.DataFrame:
    return pl.DataFrame([SAMPLE | changes], schema_overrides=SAMPLE_TYPES)


def objections(frame: pl.DataFrame, schema: Any) -> list[str]:
    return violations(schema, frame)["check"].to_list()


def test_a_valid_sample_passes() -> None:
    assert objections(samples(), sample_table(2, 3, 2)) == []


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"sample_id": " "}, "an id is empty"),
        ({"asv": [0, 3]}, "an ASV index is beyond the end of the ASV table"),
        ({"dropped_asv": [3]}, "an ASV index is beyond the end of the ASV table"),
        ({"asv": [0, 0]}, "an ASV is listed twice"),
        ({"dropped_asv": [1, 1], "dropped_count": [1.0, 1.0], "num_asvs": 4}, "an ASV is listed twice"),
        ({"count": [0.0, 0.0]}, "no ASV of the sample has a count above 0"),
        ({"count": [5.0, float("nan")]}, "a count is negative, NaN or infinite"),
        ({"count": [5.0, -1.0]}, "a count is negative, NaN or infinite"),
        ({"count": [5.0, float("inf")]}, "a count is negative, NaN or infinite"),
        ({"count": [5.0, None]}, "a count is negative, NaN or infinite"),
        ({"dropped_count": [-1.0]}, "a count is negative, NaN or infinite"),
        ({"count": [5.0]}, "the number of counts differs from the number of ASVs"),
        ({"dropped_count": [1.0, 1.0]}, "the number of counts differs from the number of ASVs"),
        ({"num_asvs": 2}, "num_asvs or num_asvs_kept differs from the length of the lists"),
        ({"num_asvs_kept": 1}, "num_asvs or num_asvs_kept differs from the length of the lists"),
        ({"depth": float("inf")}, "a number of reads is not positive and finite"),
        ({"depth_before_rarefaction": 0.0}, "a number of reads is not positive and finite"),
        ({"depth_kept": 0.0}, "a number of reads is not positive and finite"),
        ({"depth": 8.0}, "depth or depth_kept differs from the sum of the counts"),
        ({"depth_kept": 5.0}, "depth or depth_kept differs from the sum of the counts"),
        ({"branch": [0, 2]}, "a branch index is beyond the end of the tree table"),
        ({"branch_count": [6.0, -2.0]}, "a count is negative, NaN or infinite"),
        ({"depth_in_tree": float("inf")}, "the depth in the tree is negative or non-finite"),
        (
            {
                "asv": [0, 1, 2],
                "count": [1.0] * 3,
                "dropped_asv": [],
                "dropped_count": [],
                "num_asvs_kept": 3,
            },
            "more than 2 ASVs are kept",
        ),
        (
            {"asv": [], "count": [], "num_asvs": 1, "num_asvs_kept": 0},
            "no ASV of the sample has a count above 0",
        ),
    ],
)
def test_each_rule_of_samples_objects_alone(changes: dict[str, Any], objection: str) -> None:
    found = objections(samples(**changes), sample_table(2, 3, 2))
    assert objection in found
    assert set(found) - {objection} <= FOLLOWS


def test_sample_ids_are_unique() -> None:
    frame = pl.concat([samples(), samples()])
    assert set(objections(frame, sample_table(2, 3, 2))) == {"field_uniqueness"}


def test_a_sample_without_asvs_breaks_the_totals() -> None:
    frame = samples(num_asvs=0, num_asvs_kept=0)
    assert objections(frame, sample_table(2, 3, 2)).count("greater_than_or_equal_to(1)") == 2


def test_wrong_columns_are_named_before_any_check_runs() -> None:
    frame = samples().drop("count").with_columns(asv=pl.lit("0"))
    found = violations(sample_table(2, 3, 2), frame)
    assert set(found["failure_case"]) == {"count", "String"}


LENGTH = 41
SEQUENCE = "ACGTN" * 7


def asvs(**changes: Any) -> pl.DataFrame:
    row = {
        "asv_id": "a",
        "aliases": ["b"],
        "sequence": SEQUENCE,
        "tokens": encode([SEQUENCE], LENGTH)[0].tolist(),
        "prevalence": 1,
        "total_count": 3.0,
    } | changes
    types = {"tokens": pl.List(pl.UInt8), "prevalence": pl.UInt32, "aliases": pl.List(pl.String)}
    return pl.DataFrame([row], schema_overrides=types)


def with_token(position: int, token: int) -> list[int]:
    tokens = encode([SEQUENCE], LENGTH)[0].tolist()
    tokens[position] = token
    return tokens


@pytest.mark.parametrize(
    ("make", "objection"),
    [
        (lambda: asvs(), None),
        (lambda: asvs(asv_id=""), "an id is empty"),
        (lambda: asvs(sequence="ACGU-"), "str_matches"),
        (lambda: asvs(tokens=with_token(0, 1)), "an ASV does not begin with the START token"),
        (lambda: asvs(tokens=with_token(3, 0)), "there is padding between bases"),
        (lambda: asvs(tokens=with_token(3, 5)), "an ASV contains a token other than a base"),
        (lambda: asvs(tokens=with_token(3, 6)), "an ASV contains a token other than a base"),
        (lambda: asvs(tokens=with_token(3, 8)), "an ASV contains a token other than a base"),
        (lambda: asvs(tokens=with_token(3, 1)[:-1]), "not 41 tokens"),
        (lambda: asvs(tokens=[5] + [0] * 40), "an ASV has no base after START"),
        (lambda: asvs(prevalence=0), "greater_than_or_equal_to"),
        (lambda: asvs(total_count=0.0), "a number of reads is not positive and finite"),
    ],
)
def test_each_rule_of_asvs_objects_alone(make: Callable[[], pl.DataFrame], objection: str | None) -> None:
    found = objections(make(), asv_table(LENGTH))
    if objection is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith(objection)


def test_asv_ids_and_sequences_are_unique() -> None:
    found = objections(pl.concat([asvs(), asvs()]), asv_table(LENGTH))
    assert set(found) == {"field_uniqueness"}
    assert len(found) == 4


OTHER_COLUMNS = "a column is missing, unknown or of another type"


@pytest.mark.parametrize(
    ("row", "objection"),
    [
        ({"sample_id": "S1", "age": 3.5, "site": "gut"}, []),
        ({"sample_id": "S1", "age": None, "site": None}, []),
        ({"sample_id": "", "age": 3.5, "site": "gut"}, ["an id is empty"]),
        (
            {"sample_id": "S1", "age": float("nan"), "site": "gut"},
            ["a value is NaN or infinite; leave the cell empty if it is missing"],
        ),
        (
            {"sample_id": "S1", "age": float("inf"), "site": "gut"},
            ["a value is NaN or infinite; leave the cell empty if it is missing"],
        ),
        ({"sample_id": "S1", "age": 3.5, "site": "gut", "more": 1}, [OTHER_COLUMNS]),
        ({"sample_id": "S1", "age": 3.5}, [OTHER_COLUMNS]),
        ({"sample_id": "S1", "age": "3.5", "site": "gut"}, [OTHER_COLUMNS]),
    ],
)
def test_each_rule_of_metadata(row: dict[str, Any], objection: list[str]) -> None:
    types = {"sample_id": pl.String, "age": type_of(row["age"]), "site": pl.String, "more": pl.Int64}
    frame = pl.DataFrame([row], schema={name: types[name] for name in row})
    found = metadata_violations({"age": "numeric", "site": "categorical"}, frame)
    assert found["check"].to_list() == objection


def type_of(value: object) -> pl.DataType:
    return pl.String() if isinstance(value, str) else pl.Float64()


def test_metadata_has_one_row_for_a_sample() -> None:
    frame = pl.DataFrame({"sample_id": ["S1", "S1"]})
    assert metadata_violations({}, frame)["check"].to_list() == ["field_uniqueness"] * 2


def test_the_violations_of_metadata_name_column_and_row() -> None:
    numbers = {
        "*": [1.0, 2.0, float("inf")],
        "^.*$": [1.0, None, 3.0],
        "check_output": [float("nan"), 2.0, 3.0],
    }
    frame = pl.DataFrame({"sample_id": ["S1", "S2", "S3"], **numbers, "": ["a", "b", "c"]})
    types = dict.fromkeys(numbers, "numeric") | {"": "categorical"}
    found = metadata_violations(types, frame)
    assert set(found.select("column", "index").iter_rows()) == {("*", 2), ("check_output", 0)}
    wrong = metadata_violations(types | {"^a": "numeric"}, frame.drop(""))
    assert set(wrong["column"]) == {"", "^a"}
    assert wrong["index"].null_count() == 2


def test_no_metadata_at_all_are_valid() -> None:
    frame = pl.DataFrame({"sample_id": [], "age": []}, schema={"sample_id": pl.String, "age": pl.Float64})
    assert metadata_violations({"age": "numeric"}, frame).is_empty()
