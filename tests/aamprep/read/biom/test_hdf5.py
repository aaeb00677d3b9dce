"""BIOM 2: damage that the reference validator misses, bombs, and data outside of the file."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from aam_schemas.common.errors import UsageError
from aamprep.arrays import forget_pages
from aamprep.read import read_table
from aamprep.read.maxima import MOST_ENTRIES, MOST_SAMPLES
from aamprep.read.source import Limits
from aamprep.read.types import CountTable
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule, Severity
from tests.helpers.biom_files import COUNTS, FEATURES, SAMPLES, dense, write_hdf5
from tests.helpers.studies import processor_seconds

AXES = ("sample", "observation")


def read(path: Path, **options: object) -> tuple[CountTable | None, dict[Rule, int]]:
    findings = Findings()
    table = read_table(path, findings, **options)
    return table, findings.counts()


def edited(path: Path, edit: Callable[[h5py.File], None]) -> Path:
    with h5py.File(write_hdf5(path), "a") as file:
        edit(file)
    return path


def replace(file: h5py.File, name: str, values: object, **options: object) -> None:
    del file[name]
    file.create_dataset(name, data=values, **options)


def test_a_table_is_read_exactly(tmp_path: Path) -> None:
    table, found = read(write_hdf5(tmp_path / "gut.biom"))
    assert found == {}
    assert table.sample_ids == tuple(SAMPLES)
    assert table.feature_ids == tuple(FEATURES)
    assert (dense(table) == COUNTS).all()
    assert table.study == "gut"
    assert table.path == str(tmp_path / "gut.biom")
    assert table.source.kind == "BIOM 2 table (HDF5)"
    assert len(table.source.sha256) == 64


def test_a_table_is_the_same_with_and_without_a_child_process(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom")
    isolated, direct = read(path)[0], read(path, isolate=False)[0]
    assert (dense(isolated) == dense(direct)).all()


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    table, _ = read(write_hdf5(tmp_path / "t.biom"))
    assert list(temporary.iterdir()) == []
    assert (dense(table) == COUNTS).all()


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "none.biom")


def test_a_pipe_is_wrong_usage(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe"):
        read(tmp_path / "pipe")


def test_memory_of_a_mapped_table_can_be_released(tmp_path: Path) -> None:
    table, _ = read(write_hdf5(tmp_path / "t.biom"))
    before = dense(table)
    forget_pages(table.count)
    forget_pages(table.feature)
    forget_pages(np.zeros(3))
    assert (dense(table) == before).all()


def set_value(file: h5py.File, axes: tuple[str, ...], value: float) -> None:
    """Change the count of the first feature in the first sample, the first entry of both matrices."""
    for axis in axes:
        file[f"{axis}/matrix/data"][0] = value


@pytest.mark.parametrize(
    ("value", "rule"),
    [(np.nan, rules.COUNT_NAN), (-3, rules.COUNT_NEGATIVE), (np.inf, rules.COUNT_INFINITE)],
)
def test_an_invalid_count_is_found_and_the_table_kept(tmp_path: Path, value: float, rule: Rule) -> None:
    path = edited(tmp_path / "t.biom", lambda file: set_value(file, AXES, value))
    findings = Findings()
    table = read_table(path, findings)
    assert [(f.rule, f.where, f.value) for f in findings.found] == [
        (rule, f"{path}: sample S1", f"{value:g} in {FEATURES[0]}")
    ]
    np.testing.assert_equal(dense(table)[0, 0], value)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("value", [7.0, np.nan, -3.0])
def test_a_value_in_one_matrix_only_is_found(tmp_path: Path, axis: str, value: float) -> None:
    table, found = read(edited(tmp_path / "t.biom", lambda file: set_value(file, (axis,), value)))
    assert table is None
    assert rules.BIOM_HALVES in found


def test_disagreeing_matrices_name_sample_and_feature(tmp_path: Path) -> None:
    findings = Findings()
    read_table(edited(tmp_path / "t.biom", lambda file: set_value(file, ("sample",), 7)), findings)
    assert findings.found[0].value == f"1 samples: S1; 1 features: {FEATURES[0]}"


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("index", [3, 99, -1, -(2**31)])
def test_an_index_out_of_range_is_found(tmp_path: Path, axis: str, index: int) -> None:
    def edit(file: h5py.File) -> None:
        file[f"{axis}/matrix/indices"][1] = index

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert table is None
    assert found == {rules.BIOM_INDEX: 1}


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    "indptr", [[0, 4, 2, 5], [1, 2, 3, 5], [0, 2, 3, 4], [0, 2, 3, 99], [0, -2, 3, 5]], ids=str
)
def test_an_invalid_indptr_is_found(tmp_path: Path, axis: str, indptr: list[int]) -> None:
    table, found = read(
        edited(tmp_path / "t.biom", lambda file: replace(file, f"{axis}/matrix/indptr", indptr))
    )
    assert table is None
    assert found == {rules.BIOM_INDPTR: 1}


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    ("name", "values", "rule"),
    [
        ("matrix/data", np.empty(0), rules.BIOM_LENGTH),
        ("matrix/indices", np.array([0]), rules.BIOM_LENGTH),
        ("matrix/indptr", np.array([0, 5]), rules.BIOM_LENGTH),
        ("matrix/indptr", np.empty(0, dtype=int), rules.BIOM_LENGTH),
        ("matrix/indices", np.full(5, 0.5), rules.BIOM_TYPE),
        ("matrix/indices", np.full(5, np.nan), rules.BIOM_TYPE),
        ("matrix/indices", np.full(5, 1e300), rules.BIOM_TYPE),
        ("matrix/indices", np.full(5, 7.0, dtype=np.float16), rules.BIOM_INDEX),
        ("matrix/indptr", np.array([0, 1.5, 2, 5]), rules.BIOM_TYPE),
        ("matrix/data", np.array([b"a"] * 5), rules.BIOM_TYPE),
        ("matrix/data", np.zeros(5, dtype=complex), rules.BIOM_TYPE),
        ("matrix/data", np.zeros((5, 1)), rules.BIOM_TYPE),
        ("ids", np.array([1.0, 2.0, 3.0]), rules.BIOM_TYPE),
        ("ids", np.array([b"a", b"\xff", b"c"]), rules.ID_NOT_TEXT),
        ("matrix", np.zeros(3), rules.BIOM_PART_MISSING),
    ],
    ids=lambda value: value.code if isinstance(value, Rule) else None,
)
def test_an_array_of_another_type_or_length_is_found(
    tmp_path: Path, axis: str, name: str, values: np.ndarray, rule: Rule
) -> None:
    table, found = read(edited(tmp_path / "t.biom", lambda file: replace(file, f"{axis}/{name}", values)))
    assert table is None
    assert rule in found


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["", "/ids", "/matrix/data", "/matrix/indices", "/matrix/indptr"])
def test_a_missing_part_is_found(tmp_path: Path, axis: str, name: str) -> None:
    def edit(file: h5py.File) -> None:
        del file[axis + name]

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert table is None
    assert found == {rules.BIOM_PART_MISSING: 1}


@pytest.mark.parametrize(
    ("axis", "ids", "rule"),
    [
        ("sample", ["S1", "S1", "S3"], rules.SAMPLE_ID_DUPLICATE),
        ("sample", ["S1", "", "S3"], rules.SAMPLE_ID_EMPTY),
        ("observation", ["a", "b", " "], rules.FEATURE_ID_EMPTY),
    ],
)
def test_ids_are_checked_and_the_table_kept(tmp_path: Path, axis: str, ids: list[str], rule: Rule) -> None:
    def edit(file: h5py.File) -> None:
        replace(file, f"{axis}/ids", ids, dtype=h5py.string_dtype())

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {rule: 1}
    assert (dense(table) == COUNTS).all()


def test_a_table_with_a_feature_twice_is_refused(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        replace(file, "observation/ids", ["a", "b", "a"], dtype=h5py.string_dtype())

    assert read(edited(tmp_path / "t.biom", edit)) == (None, {rules.FEATURE_ID_DUPLICATE: 1})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("nnz", 7, rules.BIOM_NNZ),
        ("nnz", 5.5, rules.BIOM_NNZ),
        ("nnz", [5, 5], rules.BIOM_NNZ),
        ("nnz", "five", rules.BIOM_ATTRIBUTE),
        ("nnz", None, rules.BIOM_ATTRIBUTE),
        ("shape", [3, 4], rules.BIOM_SHAPE),
        ("shape", [[3, 3, 3]], rules.BIOM_SHAPE),
        ("shape", np.ones(1000), rules.BIOM_ATTRIBUTE),
        ("shape", None, rules.BIOM_ATTRIBUTE),
        ("format-version", [3, 7], rules.BIOM_VERSION),
        ("format-version", [2, 2], rules.BIOM_VERSION),
        ("format-version", 12.1, rules.BIOM_VERSION),
        ("format-version", "new", rules.BIOM_VERSION),
        ("format-version", 2.1j, rules.BIOM_VERSION),
        ("format-version", None, rules.BIOM_ATTRIBUTE),
    ],
    ids=str,
)
def test_attributes_are_checked(tmp_path: Path, name: str, value: object, rule: Rule) -> None:
    def edit(file: h5py.File) -> None:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {rule: 1}
    assert (table is None) == (rule.severity is Severity.ERROR)


def test_a_version_of_another_type_is_not_called_missing(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file.attrs["format-version"] = "two"

    findings = Findings()
    read_table(edited(tmp_path / "t.biom", edit), findings)
    assert [finding.value for finding in findings] == ["two"]


@pytest.mark.parametrize(
    "version",
    [[2, 1, 0], [2.0, 1.0], [2, 0], 2, 2.1, "2.1", "2.1.0", b"2.0", "BIOM 2.1", ["2", "1"], [2, 1, 0, 0]],
    ids=str,
)
def test_a_version_may_be_written_in_many_ways(tmp_path: Path, version: object) -> None:
    def edit(file: h5py.File) -> None:
        del file.attrs["format-version"]
        file.attrs["format-version"] = version

    table, found = read(edited(tmp_path / "t.biom", edit), isolate=False)
    assert found == {}
    assert (dense(table) == COUNTS).all()


@pytest.mark.parametrize("axis", AXES)
def test_a_table_with_one_matrix_is_read_with_a_warning(tmp_path: Path, axis: str) -> None:
    def edit(file: h5py.File) -> None:
        del file[f"{axis}/matrix"]

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {rules.BIOM_ONE_MATRIX: 1}
    assert (dense(table) == COUNTS).all()


def test_a_table_without_a_matrix_is_refused(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        del file["sample/matrix"], file["observation/matrix"]

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert table is None
    assert found == {rules.BIOM_PART_MISSING: 1}


@pytest.mark.parametrize("nnz", [4, 5])
def test_zeros_stored_in_one_matrix_only_change_nothing(tmp_path: Path, nnz: int) -> None:
    def edit(file: h5py.File) -> None:
        for name, values in {"data": [1.0, 5, 0, 3, 2], "indices": [0, 2, 0, 1, 0]}.items():
            replace(file, f"sample/matrix/{name}", values)
        replace(file, "sample/matrix/indptr", [0, 2, 4, 5])
        for name, values in {"data": [1.0, 2, 3, 5], "indices": [0, 2, 1, 0], "indptr": [0, 2, 3, 4]}.items():
            replace(file, f"observation/matrix/{name}", values)
        file.attrs["nnz"] = nnz

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {}
    assert dense(table).tolist() == [[1, 0, 2], [0, 3, 0], [5, 0, 0]]


def test_whole_numbers_as_ids_become_text(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        replace(file, "observation/ids", np.array([468, 469, 470], dtype=">i8"))

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {}
    assert table.feature_ids == ("468", "469", "470")


@pytest.mark.parametrize("axis", AXES)
def test_a_missing_metadata_group_is_a_warning(tmp_path: Path, axis: str) -> None:
    def edit(file: h5py.File) -> None:
        del file[f"{axis}/metadata"]

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {rules.BIOM_METADATA_MISSING: 1}
    assert (dense(table) == COUNTS).all()


def test_explicit_zeros_and_duplicate_entries_are_read(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        for axis in AXES:
            replace(file, f"{axis}/matrix/data", [1.0, 2.0, 0.0])
            replace(file, f"{axis}/matrix/indices", [0, 0, 1])
            replace(file, f"{axis}/matrix/indptr", [0, 3, 3, 3] if axis == "sample" else [0, 2, 3, 3])
        replace(file, "observation/matrix/indices", [0, 0, 0])
        file.attrs["nnz"] = 3

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {}
    assert dense(table)[0, 0] == 3


@pytest.mark.parametrize("dtype", ["<i4", ">i8", "<u2", "<f4", ">f8"])
def test_counts_of_any_numeric_type_are_read(tmp_path: Path, dtype: str) -> None:
    def edit(file: h5py.File) -> None:
        for axis in AXES:
            for name in ("data", "indices", "indptr"):
                stored = file[f"{axis}/matrix/{name}"][:]
                whole = dtype if name == "data" else "<u8"
                replace(file, f"{axis}/matrix/{name}", stored.astype(whole))

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {}
    assert (dense(table) == COUNTS).all()


@pytest.mark.parametrize(("largest", "expected"), [(2**53, {}), (2**53 + 1, {rules.COUNT_TOO_LARGE: 1})])
def test_counts_are_exact_up_to_2_to_the_53rd(
    tmp_path: Path, largest: int, expected: dict[Rule, int]
) -> None:
    def edit(file: h5py.File) -> None:
        for axis in AXES:
            replace(file, f"{axis}/matrix/data", np.array([largest, 1, 1, 1, 1], dtype=np.int64))

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == expected
    assert dense(table)[0, 0] == pytest.approx(largest, abs=2)


def test_ids_may_be_any_text(tmp_path: Path) -> None:
    samples = ["pr\u00f8ve 1", "\u8bd5\u6837", "2538.1001130"]
    table, found = read(write_hdf5(tmp_path / "t.biom", samples=samples))
    assert found == {}
    assert table.sample_ids == tuple(samples)


def link(name: str, target: object) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = target

    return edit


def make_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(5,), dtype=float)
    layout[:] = h5py.VirtualSource("other.h5", "data", shape=(5,))
    del file["sample/matrix/data"]
    file.create_virtual_dataset("sample/matrix/data", layout)


def make_external(file: h5py.File) -> None:
    del file["sample/matrix/data"]
    file.create_dataset("sample/matrix/data", shape=(5,), dtype=float, external=[("/etc/hostname", 0, 40)])


def use_other_filter(file: h5py.File) -> None:
    values = file["sample/matrix/indices"][:]
    replace(file, "sample/matrix/indices", values, scaleoffset=0)


@pytest.mark.parametrize(
    "edit",
    [
        link("sample/matrix", h5py.SoftLink("/observation/matrix")),
        link("sample/ids", h5py.SoftLink("/nowhere")),
        link("sample", h5py.ExternalLink("other.h5", "/sample")),
        link("observation/matrix/data", h5py.ExternalLink("/etc/passwd", "/")),
        link("sample/metadata", h5py.ExternalLink("pipe", "/")),
        link("sample/group-metadata/deep/er", h5py.SoftLink("/sample")),
        link("anything", h5py.ExternalLink("pipe", "/")),
        make_virtual,
        make_external,
        use_other_filter,
    ],
)
def test_data_outside_of_the_file_is_refused(tmp_path: Path, edit: Callable[[h5py.File], None]) -> None:
    table, found = read(edited(tmp_path / "t.biom", edit))
    assert table is None
    assert found == {rules.BIOM_FOREIGN: 1}


def declare(entries: int) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        for axis in AXES:
            for name, dtype in (("data", "f8"), ("indices", "i4")):
                del file[f"{axis}/matrix/{name}"]
                options = {"shape": (entries,), "dtype": dtype, "chunks": (1 << 20,), "compression": "gzip"}
                file.create_dataset(f"{axis}/matrix/{name}", **options)

    return edit


@pytest.mark.parametrize(
    ("entries", "rule"),
    [(10**10, rules.FILE_TOO_LARGE), (10**8, rules.FILE_RATIO), (2**62, rules.FILE_TOO_LARGE)],
)
def test_a_small_file_that_declares_much_is_refused_at_once(tmp_path: Path, entries: int, rule: Rule) -> None:
    path = edited(tmp_path / "t.biom", declare(entries))
    assert path.stat().st_size < 40_000
    started = processor_seconds()
    table, found = read(path, limits=Limits(memory_bytes=300 << 20))
    assert processor_seconds() - started < 1.0
    assert table is None
    assert found == {rule: 1}


def test_the_budget_can_be_set(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom")
    table, found = read(path, limits=Limits(declared_bytes=100))
    assert table is None
    assert rules.FILE_TOO_LARGE in found


def test_a_presence_table_that_compresses_well_is_read(tmp_path: Path) -> None:
    counts = np.ones((100, 3000))
    samples, features = [f"S{i}" for i in range(3000)], [f"F{i}" for i in range(100)]
    table, found = read(write_hdf5(tmp_path / "t.biom", counts, samples, features))
    assert found == {}
    assert table.count.sum() == 300_000


def test_hdf5_that_is_not_a_table_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "cells.h5ad", "w") as file:
        file["X"] = np.zeros(3)
    table, found = read(tmp_path / "cells.h5ad")
    assert table is None
    assert found == {rules.BIOM_PART_MISSING: 1}


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_a_table_cut_short_is_found(tmp_path: Path, fraction: float) -> None:
    path = write_hdf5(tmp_path / "t.biom")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    table, found = read(path)
    assert table is None
    assert found


def test_a_link_to_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    edit = link("sample/metadata", h5py.ExternalLink(str(tmp_path / "pipe"), "/"))
    before = processor_seconds()
    _, found = read(edited(tmp_path / "t.biom", edit), limits=Limits(seconds=20))
    assert found == {rules.BIOM_FOREIGN: 1}
    assert processor_seconds() - before < 10


def test_groups_in_a_circle_are_passed_once(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file["sample/metadata/again"] = file["sample"]

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert found == {}
    assert table is not None


@pytest.mark.parametrize("name", ["ids", "matrix/data", "matrix/indices", "matrix/indptr"])
def test_values_that_were_never_written_are_refused(tmp_path: Path, name: str) -> None:
    def edit(file: h5py.File) -> None:
        array = file[f"sample/{name}"]
        shape, dtype = array.shape, "S4" if name == "ids" else array.dtype
        del file[f"sample/{name}"]
        file.create_dataset(f"sample/{name}", shape, dtype, chunks=(2,))[:2] = b"S1" if name == "ids" else 1

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert table is None
    assert found == {rules.BIOM_UNWRITTEN: 1}


@pytest.mark.parametrize(("axis", "number"), [("sample", MOST_SAMPLES), ("observation", MOST_ENTRIES)])
def test_more_ids_than_can_be_prepared_are_refused(tmp_path: Path, axis: str, number: int) -> None:
    def edit(file: h5py.File) -> None:
        replace(file, f"{axis}/ids", np.zeros(number + 1, "S1"), compression="gzip")

    table, found = read(edited(tmp_path / "t.biom", edit))
    assert table is None
    assert found == {rules.FILE_TOO_MANY: 1}
