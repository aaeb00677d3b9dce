"""Tables as different programs write them: the counts and ids are those that the biom library reads."""

import gzip
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aamprep.read import read_table
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import COUNTS, FEATURES, SAMPLES, as_json, dense, write_hdf5

INTEGERS = ["<i1", "<u2", "<i4", ">i4", "<i8", ">u8"]
FLOATS = ["<f2", "<f4", ">f4", "<f8", ">f8"]
NOT_NEEDED = ["id", "type", "format-url", "generated-by", "creation-date", "format-version", "shape", "nnz"]
GROUPS = ["sample/metadata", "observation/metadata", "sample/group-metadata", "observation/group-metadata"]
STORAGE = [{}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}, {"chunks": (2,)}]
ATTRIBUTES: list[dict[str, Any]] = [
    {},
    {"format-version": [2, 1, 0], "nnz": 5.0, "shape": [3.0, 3.0]},
    {"format-version": "2.1.0", "nnz": [5], "shape": np.array([3, 3], dtype=">u2")},
    {"format-version": [2.0, 1.0], "nnz": np.uint8(5), "type": b"OTU table", "extra": "of another program"},
    {"id": 7, "type": "", "creation-date": "long ago", "generated-by": b"R"},
]


def reference(path: Path) -> biom.Table | None:
    """Return the table that the biom library reads, or None if it refuses the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return biom.load_table(str(path))
    except Exception:  # noqa: BLE001 - the library raises many types
        return None


def assert_read(path: Path) -> None:
    findings = Findings()
    table = read_table(path, findings, isolate=False)
    assert findings.valid, list(map(str, findings))
    assert (dense(table) == COUNTS).all()
    expected = reference(path)
    if expected is not None:
        assert (dense(table) == expected.matrix_data.toarray()).all()
        assert table.sample_ids == tuple(map(str, expected.ids()))
        assert table.feature_ids == tuple(map(str, expected.ids("observation")))


@settings(max_examples=20, deadline=None)
@given(
    data=st.sampled_from([*INTEGERS, *FLOATS]),
    index=st.sampled_from([*INTEGERS, *FLOATS]),
    ids=st.sampled_from(["vlen", "fixed", "long"]),
    storage=st.sampled_from(STORAGE),
    attributes=st.sampled_from(ATTRIBUTES),
    missing=st.lists(st.sampled_from(NOT_NEEDED + GROUPS), unique=True),
    only=st.sampled_from(["both", "both", "sample", "observation"]),
)
def test_hdf5_may_differ_in_all_that_carries_no_data(
    data: str, index: str, ids: str, storage: Any, attributes: Any, missing: list[str], only: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_hdf5(Path(folder) / "t.biom")
        with h5py.File(path, "a") as file:
            for name, value in attributes.items():
                file.attrs[name] = value
            for axis, names in (("sample", SAMPLES), ("observation", FEATURES)):
                stored = {name: file[f"{axis}/matrix/{name}"][:] for name in ("data", "indices", "indptr")}
                del file[f"{axis}/matrix"], file[f"{axis}/ids"]
                file.create_dataset(f"{axis}/ids", data=names, dtype=id_type(ids), **storage)
                if only in ("both", axis):
                    for name, values in stored.items():
                        dtype = data if name == "data" else index
                        file.create_dataset(f"{axis}/matrix/{name}", data=values.astype(dtype), **storage)
            file.create_group("more/of/it")["array"] = np.zeros(3)
            for name in missing:
                if name in GROUPS:
                    del file[name]
                else:
                    del file.attrs[name]
        assert_read(path)


def id_type(kind: str) -> Any:
    return h5py.string_dtype(length={"vlen": None, "fixed": 40, "long": 300}[kind])


JSON_KEYS = ["id", "format", "format_url", "type", "generated_by", "date", "matrix_element_type", "shape"]


@settings(max_examples=20, deadline=None)
@given(
    is_dense=st.booleans(),
    changes=st.dictionaries(
        st.sampled_from([*JSON_KEYS[:-1], "comment"]), st.sampled_from([None, "text", 7, {}, [], ["float"]])
    ),
    missing=st.lists(st.sampled_from(JSON_KEYS), unique=True),
    whole_as_float=st.booleans(),
    shape=st.sampled_from([[3, 3], [3.0, 3.0], [[3], [3]]]),
    metadata=st.sampled_from([None, {}, {"taxonomy": None}, {"pH": float("nan")}, "missing"]),
    pack=st.sampled_from([bytes, gzip.compress]),
)
def test_json_may_differ_in_all_that_carries_no_data(
    is_dense: bool,
    changes: dict[str, Any],
    missing: list[str],
    whole_as_float: bool,
    shape: Any,
    metadata: Any,
    pack: Any,
) -> None:
    kind = float if whole_as_float else int
    document = as_json(COUNTS.astype(kind), dense=is_dense) | changes | {"shape": shape}
    if whole_as_float and not is_dense:
        document["data"] = [[float(number) for number in entry] for entry in document["data"]]
    for row in [*document["rows"], *document["columns"]]:
        row["metadata"] = metadata
        if metadata == "missing":
            del row["metadata"]
    document = {key: value for key, value in document.items() if key not in missing}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.biom"
        path.write_bytes(pack(json.dumps(document).encode()))
        assert_read(path)


@pytest.mark.parametrize("counts", [[[True, False, True], [False, True, True], [True, False, False]]])
def test_presence_stored_as_booleans_is_read_as_ones(tmp_path: Path, counts: Any) -> None:
    path = write_hdf5(tmp_path / "t.biom", counts)
    with h5py.File(path, "a") as file:
        for axis in ("sample", "observation"):
            del file[f"{axis}/matrix/data"]
            file[f"{axis}/matrix/data"] = np.ones(5, dtype=bool)
    table = read_table(path, findings := Findings(), isolate=False)
    assert findings.valid
    expected = reference(path)
    assert expected is not None
    assert (dense(table) == expected.matrix_data.toarray()).all()
