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
        ("rows", [{"id": 1.5}, {"id": 2}, {"id": 3}], rules.ID_NOT_TEXT),
        ("rows", [{"id": True}, {"id": 2}, {"id": 3}], rules.ID_NOT_TEXT),
        ("rows", [{"id": ["a", "b"]}, {"id": 2}, {"id": 3}], rules.ID_NOT_TEXT),
        ("rows", [{"id": "\ud800"}, {"id": "b"}, {"id": "c"}], rules.ID_NOT_TEXT),
        ("matrix_type", "triangular", rules.BIOM_TYPE),
        ("data", [[0, 0]], rules.BIOM_LENGTH),
        ("data", [7], rules.BIOM_LENGTH),
        ("data", [[0, 3, 1]], rules.BIOM_INDEX),
        ("data", [[-1, 0, 1]], rules.BIOM_INDEX),
        ("data", [[10**30, 0, 1]], rules.BIOM_INDEX),
        ("data", [[0.5, 0, 1]], rules.BIOM_TYPE),
        ("data", [[float("inf"), 0, 1]], rules.BIOM_TYPE),
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
        ("shape", None, rules.BIOM_JSON_KEY),
        ("shape", "3 x 3", rules.BIOM_JSON_KEY),
        ("shape", ["a", "b"], rules.BIOM_JSON_KEY),
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


@pytest.mark.parametrize("shape", [[3, 4], [3.0, 4.0]])
def test_a_table_of_another_shape_is_refused(tmp_path: Path, shape: object) -> None:
    path = write_json(tmp_path / "t.biom", as_json() | {"shape": shape})
    assert read(path) == (None, {rules.BIOM_SHAPE: 1})


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


def boxed(document: Any) -> Any:
    """Put each single value into a list, and write None as {}, as R's jsonlite does."""
    if isinstance(document, dict):
        return {key: boxed(value) for key, value in document.items()}
    if isinstance(document, list):
        return [boxed(item) if isinstance(item, dict | list) else item for item in document]
    return {} if document is None else [document]


@pytest.mark.parametrize("is_dense", [True, False])
def test_single_values_in_lists_are_read(tmp_path: Path, is_dense: bool) -> None:
    table, found = read(write_json(tmp_path / "t.biom", boxed(as_json(dense=is_dense))))
    assert found == {}
    assert (dense(table) == COUNTS).all()
    assert table.feature_ids == tuple(FEATURES)


@pytest.mark.parametrize(
    ("counts", "data"),
    [
        ([[12], [0], [7]], [12, 0, 7]),
        ([[12], [0], [7]], [12.0, 0.0, 7.0]),
        ([[12], [0], [7]], [[12], [0], [7]]),
        ([[12, 0, 7]], [12, 0, 7]),
        ([[12]], [12]),
        ([[12, 0]], [[[12], [0]]]),
    ],
)
def test_a_dense_table_of_one_sample_or_feature_is_read(tmp_path: Path, counts: Any, data: Any) -> None:
    matrix = np.array(counts)
    samples, features = SAMPLES[: matrix.shape[1]], FEATURES[: matrix.shape[0]]
    document = as_json(matrix, samples, features, dense=True) | {"data": data}
    table, found = read(write_json(tmp_path / "t.biom", document))
    assert found == {}
    assert dense(table).tolist() == counts


@pytest.mark.parametrize("ids", [[468, 469, 470], [[468], [469], [470]], [468.0, 469.0, 470.0]], ids=str)
def test_whole_numbers_as_ids_become_text(tmp_path: Path, ids: list[Any]) -> None:
    document = as_json() | {"rows": [{"id": name, "metadata": None} for name in ids]}
    table, found = read(write_json(tmp_path / "t.biom", document))
    assert found == {}
    assert table.feature_ids == ("468", "469", "470")


def test_a_number_and_the_same_text_are_one_id(tmp_path: Path) -> None:
    document = as_json() | {"rows": [{"id": 468}, {"id": "468"}, {"id": "b"}]}
    assert read(write_json(tmp_path / "t.biom", document))[1] == {rules.FEATURE_ID_DUPLICATE: 1}


def test_a_key_of_metadata_twice_does_not_matter(tmp_path: Path) -> None:
    text = json.dumps(as_json()).replace('"metadata": null', '"metadata": {"taxonomy": 1, "taxonomy": 2}', 1)
    (tmp_path / "t.biom").write_text(text.replace('"date":', '"comment": "x", "date": "y", "date":'))
    table, found = read(tmp_path / "t.biom")
    assert found == {}
    assert (dense(table) == COUNTS).all()


@pytest.mark.parametrize("matrix_type", [None, {}], ids=str)
@pytest.mark.parametrize("counts", [[[1, 0, 2], [0, 3, 9], [5, 0, 0]], [[7, 0, 1]]])
def test_a_matrix_type_that_is_missing_is_told_from_the_data(
    tmp_path: Path, matrix_type: object, counts: Any
) -> None:
    for is_dense in (True, False):
        document = as_json(np.array(counts), SAMPLES, FEATURES[: len(counts)], is_dense)
        table, found = read(write_json(tmp_path / "t.biom", document | {"matrix_type": matrix_type}))
        assert found == {}
        assert dense(table).tolist() == counts


def test_data_that_could_be_sparse_or_dense_are_refused(tmp_path: Path) -> None:
    document = as_json(np.array([[0, 1, 2], [1, 1, 3], [1, 0, 4]])) | {"matrix_type": None}
    document["data"] = [[0, 1, 2], [1, 1, 3], [1, 0, 4]]
    table, found = read(write_json(tmp_path / "t.biom", document))
    assert (table, found) == (None, {rules.BIOM_TYPE: 1})
