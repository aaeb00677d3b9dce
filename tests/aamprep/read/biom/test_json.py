"""BIOM 1.0."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aamprep.read import read_table
from aamprep.read.types import CountTable
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from tests.helpers.biom_files import COUNTS, FEATURES, SAMPLES, as_json, dense, write_json


def read(path: Path) -> tuple[CountTable | None, dict[Rule, int]]:
    findings = Findings()
    table = read_table(path, findings, isolate=False)
    return table, findings.counts()


@pytest.mark.parametrize("is_dense", [True, False])
def test_a_table_is_read_exactly(tmp_path: Path, is_dense: bool) -> None:
    table, found = read(write_json(tmp_path / "t.biom", as_json(dense=is_dense)))
    assert found == {}
    assert (table.sample_ids, table.feature_ids) == (tuple(SAMPLES), tuple(FEATURES))
    assert (dense(table) == COUNTS).all()
    assert table.source.kind == "BIOM 1 table (JSON)"


@pytest.mark.parametrize(
    "pack",
    [lambda raw: b" \n\t" + raw, lambda raw: b"\xef\xbb\xbf" + raw, gzip.compress],
    ids=["blanks", "byte-order-mark", "gzip"],
)
def test_blanks_byte_order_mark_and_gzip_do_not_matter(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "table{0}.txt"
    path.write_bytes(pack(json.dumps(as_json()).encode()))
    table, found = read(path)
    assert found == {}
    assert (dense(table) == COUNTS).all()


def test_a_gzip_file_of_several_members_is_read_whole(tmp_path: Path) -> None:
    raw = json.dumps(as_json()).encode()
    path = tmp_path / "t.biom.gz"
    path.write_bytes(gzip.compress(raw[:100]) + gzip.compress(raw[100:]))
    table, found = read(path)
    assert found == {}
    assert (dense(table) == COUNTS).all()


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("rows", None, rules.BIOM_PART_MISSING),
        ("columns", {}, rules.BIOM_PART_MISSING),
        ("data", "x", rules.BIOM_PART_MISSING),
        ("rows", [1, 2, 3], rules.ID_NOT_TEXT),
        ("rows", [{"id": 1}, {"id": 2}, {"id": 3}], rules.ID_NOT_TEXT),
        ("rows", [{"id": "\ud800"}, {"id": "b"}, {"id": "c"}], rules.ID_NOT_TEXT),
        ("matrix_type", "triangular", rules.BIOM_TYPE),
        ("data", [[0, 0]], rules.BIOM_LENGTH),
        ("data", [7], rules.BIOM_LENGTH),
        ("data", [[0, 3, 1]], rules.BIOM_INDEX),
        ("data", [[-1, 0, 1]], rules.BIOM_INDEX),
        ("data", [[10**30, 0, 1]], rules.BIOM_INDEX),
        ("data", [[0.0, 0, 1]], rules.BIOM_TYPE),
        ("data", [[True, 0, 1]], rules.BIOM_TYPE),
        ("data", [[0, 0, True]], rules.BIOM_TYPE),
        ("data", [[0, 0, "7"]], rules.BIOM_TYPE),
        ("data", [[0, 0, None]], rules.BIOM_TYPE),
    ],
)
def test_structure_that_cannot_be_used_is_found(tmp_path: Path, key: str, value: object, rule: Rule) -> None:
    table, found = read(write_json(tmp_path / "t.biom", as_json() | {key: value}))
    assert table is None
    assert found == {rule: 1}


@pytest.mark.parametrize("data", [[[1, 2, 3]], [[1, 2], [3, 4], [5, 6]], [1, 2, 3]])
def test_a_dense_matrix_of_another_shape_is_found(tmp_path: Path, data: Any) -> None:
    table, found = read(write_json(tmp_path / "t.biom", as_json(dense=True) | {"data": data}))
    assert table is None
    assert found == {rules.BIOM_LENGTH: 1}


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("shape", [3, 4], rules.BIOM_SHAPE),
        ("shape", None, rules.BIOM_SHAPE),
        ("columns", [{"id": "S1"}, {"id": "S1"}, {"id": "S3"}], rules.SAMPLE_ID_DUPLICATE),
        ("rows", [{"id": ""}, {"id": "b"}, {"id": "c"}], rules.FEATURE_ID_EMPTY),
        ("data", [[0, 0, float("nan")]], rules.COUNT_NAN),
        ("data", [[0, 0, float("inf")]], rules.COUNT_INFINITE),
        ("data", [[0, 0, -1]], rules.COUNT_NEGATIVE),
        ("data", [[0, 0, 2**53 + 1]], rules.COUNT_TOO_LARGE),
        ("data", [[0, 0, 10**400]], rules.COUNT_TOO_LARGE),
        ("data", [[0, 0, 10**400], [0, 1, 0.5]], rules.COUNT_TOO_LARGE),
    ],
)
def test_content_is_checked_and_the_table_kept(tmp_path: Path, key: str, value: object, rule: Rule) -> None:
    table, found = read(write_json(tmp_path / "t.biom", as_json() | {key: value}))
    assert table is not None
    assert found == {rule: 1}


def test_missing_keys_that_do_not_matter_are_warnings(tmp_path: Path) -> None:
    samples = ["S1", "S2"]
    document = as_json(np.array([[1, 0], [0, 3], [5, 0]]), samples)
    del document["type"], document["matrix_type"]
    table, found = read(write_json(tmp_path / "t.biom", document))
    assert found == {rules.BIOM_JSON_KEY: 2}
    assert dense(table).tolist() == [[1, 0], [0, 3], [5, 0]]


@pytest.mark.parametrize(
    "text", ['{"rows": [', "{" * 5, '{"rows":' + "[" * 100_000, '{"rows": 1' + "0" * 10_000 + "}"]
)
def test_invalid_json_is_found(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.biom"
    path.write_text(text)
    table, found = read(path)
    assert table is None
    assert set(found) <= {rules.FILE_UNREADABLE, rules.BIOM_PART_MISSING}
    assert found


def test_other_json_is_found(tmp_path: Path) -> None:
    table, found = read(write_json(tmp_path / "t.biom", {"a": 1}))
    assert table is None
    assert found
