"""Distance matrices and taxonomies."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from aamprep.read import read_distances, read_taxonomy
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.paths import RealData

GOOD = "\ta\tb\tc\na\t0\t1\t2\nb\t1\t0\t3\nc\t2\t3\t0\n"


def write(folder: Path, text: str) -> Path:
    (folder / "file.tsv").write_text(text)
    return folder / "file.tsv"


@pytest.mark.parametrize(
    "text", [GOOD, "# a comment\n\n" + GOOD, GOOD.replace("\n", "\r\n"), GOOD.replace("1", "1e0")]
)
def test_a_matrix_is_read(tmp_path: Path, text: str) -> None:
    findings = Findings()
    distances = read_distances(write(tmp_path, text), findings, isolate=False)
    assert findings.found == []
    assert distances.ids == ("a", "b", "c")
    assert distances.matrix.tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]


MATRIX = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]], dtype=np.float32)


def write_npy(folder: Path, matrix: np.ndarray, ids: str) -> Path:
    np.save(folder / "file.npy", matrix)
    (folder / "file.ids.txt").write_text(ids)
    return folder / "file.npy"


def write_hdf5(folder: Path, matrix: np.ndarray, ids: list[str], name: str = "matrix") -> Path:
    with h5py.File(folder / "file.h5", "w") as file:
        file["order"] = np.array([name.encode() for name in ids])
        file[name] = matrix
    return folder / "file.h5"


def test_a_binary_matrix_is_read(tmp_path: Path) -> None:
    for path in (
        write_npy(tmp_path, MATRIX, "a\nb\nc\n"),
        write_hdf5(tmp_path, MATRIX, ["a", "b", "c"]),
        write_hdf5(tmp_path, MATRIX, ["a", "b", "c"], "matrix:0"),
    ):
        findings = Findings()
        distances = read_distances(path, findings, isolate=False)
        assert findings.found == []
        assert distances.ids == ("a", "b", "c")
        np.testing.assert_array_equal(distances.matrix, MATRIX)


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }"


@pytest.mark.parametrize(
    "header",
    [HEADER[:-1], HEADER.replace("2", f"{10**30}"), HEADER.replace("<f8", ","), "-" * 9000, "{1: 1, 'a': 1}"],
)
def test_an_invalid_npy_header_is_refused(header: str, tmp_path: Path) -> None:
    path = write_npy(tmp_path, MATRIX[:2, :2], "a\nb")
    size = len(header).to_bytes(2, "little")
    path.write_bytes(b"\x93NUMPY\1\0" + size + header.encode() + bytes(32))
    findings = Findings()
    assert read_distances(path, findings, isolate=False) is None
    assert [finding.rule for finding in findings.found] == [rules.DISTANCES_FORMAT]


def test_an_invalid_binary_matrix_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "alone.npy", MATRIX)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "alone.npy").read_bytes()[:-4])
    (tmp_path / "cut.ids.txt").write_text("a\nb\nc\n")
    np.save(tmp_path / "pickled.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    (tmp_path / "pickled.ids.txt").write_text("a\n")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["matrix"] = MATRIX
    expected = {
        tmp_path / "alone.npy": rules.DISTANCES_FORMAT,
        tmp_path / "cut.npy": rules.DISTANCES_FORMAT,
        tmp_path / "pickled.npy": rules.DISTANCES_FORMAT,
        tmp_path / "other.h5": rules.DISTANCES_FORMAT,
    }
    for path, rule in expected.items():
        findings = Findings()
        assert read_distances(path, findings, isolate=False) is None
        assert [finding.rule for finding in findings.found] == [rule]
    for make, ids, rule in (
        (write_npy, "a\nb\n", rules.DISTANCES_FORMAT),
        (write_npy, "a\nb\nb\n", rules.DISTANCES_ID),
    ):
        findings = Findings()
        assert read_distances(make(tmp_path, MATRIX, ids), findings, isolate=False) is None
        assert [finding.rule for finding in findings.found] == [rule]
    findings = Findings()
    assert read_distances(write_npy(tmp_path, -MATRIX, "a\nb\nc"), findings, isolate=False) is None
    assert [finding.rule for finding in findings.found] == [rules.DISTANCES_VALUE]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("c\t2\t3\t0\n", "", rules.DISTANCES_FORMAT.code),
        ("b\t1\t0\t3", "b\t1\t0", rules.DISTANCES_FORMAT.code),
        ("b\t1\t0\t3", "b\t1\t0\tx", rules.DISTANCES_FORMAT.code),
        ("\ta\tb\tc", "id\ta\tb\tc", rules.DISTANCES_FORMAT.code),
        ("\nb\t", "\nx\t", rules.DISTANCES_ID.code),
        ("\ta\tb\tc", "\ta\ta\tc", rules.DISTANCES_ID.code),
    ],
)
def test_text_that_is_not_a_square_matrix_is_refused(tmp_path: Path, old: str, new: str, code: str) -> None:
    findings = Findings()
    assert read_distances(write(tmp_path, GOOD.replace(old, new)), findings, isolate=False) is None
    assert [finding.rule.code for finding in findings.found] == [code]


@pytest.mark.parametrize(
    ("old", "new"),
    [("b\t1\t0\t3", "b\t7\t0\t3"), ("a\t0", "a\t1"), ("\t3", "\t-3"), ("\t3", "\tnan"), ("\t3", "\tinf")],
)
def test_invalid_distances_are_refused(tmp_path: Path, old: str, new: str) -> None:
    findings = Findings()
    assert read_distances(write(tmp_path, GOOD.replace(old, new)), findings, isolate=False) is None
    assert [finding.rule for finding in findings.found] == [rules.DISTANCES_VALUE]


@pytest.mark.parametrize(
    "text",
    [
        "Feature ID\tTaxon\tConfidence\nf1\tk__A; p__B\t0.9\nf2\tUnassigned\t1\n",
        "#OTU ID\ttaxonomy\nf1\tk__A; p__B\nf2\tUnassigned\n",
        "Feature ID\tConfidence\tTaxon\nf1\t0.9\tk__A; p__B\nf2\t1\tUnassigned\n",
        "f1\tk__A; p__B\nf2\tUnassigned\n",
    ],
)
def test_a_taxonomy_is_read_with_or_without_a_header(tmp_path: Path, text: str) -> None:
    findings = Findings()
    taxonomy = read_taxonomy(write(tmp_path, text), findings, isolate=False)
    assert findings.found == []
    assert taxonomy.by_id == {"f1": "k__A; p__B", "f2": "Unassigned"}


def test_invalid_rows_of_a_taxonomy_are_found(tmp_path: Path) -> None:
    findings = Findings()
    taxonomy = read_taxonomy(
        write(tmp_path, "Feature ID\tTaxon\nf1\tA\nf1\tB\nf2\n\tC\nf3\tD\nf3\tD\n"), findings, isolate=False
    )
    assert taxonomy.by_id == {"f3": "D"}, "f1 has two taxa, of which one is wrong"
    codes = [(finding.rule.code, finding.where[-6:]) for finding in findings.found]
    assert codes == [("taxonomy-id", "line 3"), ("taxonomy-format", "line 4"), ("taxonomy-id", "line 5")]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("moving-pictures/unweighted-unifrac.qza", 34),
        ("lifestyle9/weighted-unifrac.qza", 9),
        ("exmp/unweighted-unifrac.qza", 583),
        ("exmp/grouped-unweighted-unifrac.qza", 246),
    ],
)
def test_published_matrices_are_read(real_data: RealData, name: str, size: int) -> None:
    findings = Findings()
    assert read_distances(real_data(name), findings).matrix.shape == (size, size)
    assert findings.found == []
