"""Any table is read as it was written. Damaged files are reported or read correctly, and never crash."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import biom
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aamprep.read import read_distances, read_metadata, read_sequences, read_table, read_taxonomy, read_tree
from aamprep.read.types import CountTable
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import (
    COUNTS,
    FEATURES,
    SAMPLES,
    as_json,
    dense,
    write_artifact,
    write_hdf5,
    write_json,
)

# No file with one id per line can hold control characters.
characters = st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])
texts = st.text(characters, min_size=1, max_size=12)
texts = texts.filter(lambda text: text.strip() != "")
counts = st.one_of(st.just(0), st.just(0), st.integers(1, 2**53), st.floats(0, 2.0**53, width=64))


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, list[str], list[str]]:
    samples = draw(st.lists(texts, min_size=1, max_size=5, unique=True))
    features = draw(st.lists(texts, min_size=1, max_size=5, unique=True))
    size = len(samples) * len(features)
    values = draw(st.lists(counts, min_size=size, max_size=size))
    return np.array(values, dtype=float).reshape(len(features), len(samples)), samples, features


def check_equal(path: Path, matrix: np.ndarray, samples: list[str], features: list[str]) -> None:
    findings = Findings()
    table = read_table(path, findings, isolate=False)
    # Hypothesis draws ids with invisible characters. They are kept, with a warning.
    assert [each for each in findings.found if each.rule is not rules.INVISIBLE] == []
    assert table.sample_ids == tuple(samples)
    assert table.feature_ids == tuple(features)
    assert (dense(table) == matrix).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "npy.ids.txt").write_text("a\nb\n")
    return folder


@settings(deadline=None)
@given(tables(), st.booleans())
def test_any_table_is_read_from_json(folder: Path, table: tuple, is_dense: bool) -> None:
    check_equal(write_json(folder / "t.json", as_json(*table, dense=is_dense)), *table)


@settings(deadline=None)
@given(tables())
def test_any_table_is_read_from_hdf5(folder: Path, table: tuple) -> None:
    check_equal(write_hdf5(folder / "t.biom", *table), *table)


@settings(deadline=None)
@given(tables())
def test_any_table_written_by_biom_is_read(folder: Path, table: tuple) -> None:
    matrix, samples, features = table
    with h5py.File(folder / "b.biom", "w") as file:
        biom.Table(matrix, features, samples).to_hdf5(file, "tests")
    check_equal(folder / "b.biom", matrix, samples, features)


edits = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


def mutated(raw: bytes, edits: list[tuple[float, int]], keep: float) -> bytes:
    """Overwrite some bytes, and keep the fraction `keep` of the beginning."""
    changed = bytearray(raw)
    for position, byte in edits:
        changed[int(position * len(raw))] = byte
    return bytes(changed[: max(1, int(keep * len(raw)))])


def read_mutated(path: Path, isolate: bool) -> tuple[CountTable | None, Findings]:
    findings = Findings()
    return read_table(path, findings, isolate=isolate), findings


def same(table: CountTable) -> bool:
    ids = table.sample_ids == tuple(SAMPLES) and table.feature_ids == tuple(FEATURES)
    return ids and bool((dense(table) == COUNTS).all())


@settings(max_examples=settings.default.max_examples // 3, deadline=None)
@given(edits=edits, keep=st.sampled_from([1.0, 1.0, 0.9]))
def test_damaged_hdf5_is_found_or_read_correctly(
    folder: Path, edits: list[tuple[float, int]], keep: float
) -> None:
    # Ids of fixed length have checksums. Ids of variable length have none.
    path = write_hdf5(folder / "m.biom", fixed_ids=True)
    path.write_bytes(mutated(path.read_bytes(), edits, keep))
    table, findings = read_mutated(path, isolate=True)
    assert findings.found or (table is not None and same(table))


@settings(deadline=None)
@given(edits=edits, keep=st.sampled_from([1.0, 1.0, 0.9]))
@pytest.mark.parametrize("kind", ["artifact", "gzip"])
def test_damaged_archives_are_found_or_read_correctly(
    folder: Path, edits: list[tuple[float, int]], keep: float, kind: str
) -> None:
    raw = json.dumps(as_json()).encode()
    path = folder / f"m.{kind}"
    if kind == "artifact":
        write_artifact(path, "FeatureTable[Frequency]", "data/feature-table.biom", raw)
    else:
        path.write_bytes(gzip.compress(raw))
    path.write_bytes(mutated(path.read_bytes(), edits, keep))
    table, findings = read_mutated(path, isolate=False)
    assert findings.found or (table is not None and same(table))


STARTS = [
    b"",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"{",
    b">",
    b"(",
    b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY\x01\0\xc8\0{",
]


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


TEXTS: dict[str, tuple[Callable[..., object], bytes]] = {
    "json": (read_table, json.dumps(as_json()).encode()),
    "fasta": (read_sequences, b">a x\nACGT\nAC\n>b\nGG\n"),
    "newick": (read_tree, b"((a_1:1,'b''c':2)0.9:0.5,[x]d:1e-3);"),
    "metadata": (read_metadata, b'id\tage\tsex\n#q2:types\tnumeric\nS1\t4\tf\nS2\t5\t"m\tx"\n'),
    "distances": (read_distances, b"\ta\tb\na\t0\t1\nb\t1\t0\n"),
    "taxonomy": (read_taxonomy, b"Feature ID\tTaxon\na\tk__B\nb\tk__C\n"),
    "npy": (read_distances, npy_bytes(np.array([[0.0, 1], [1, 0]]))),
}


@settings(deadline=None)
@given(edits=edits, keep=st.floats(0, 1))
@pytest.mark.parametrize("kind", TEXTS)
def test_damaged_text_never_crashes(
    folder: Path, kind: str, edits: list[tuple[float, int]], keep: float
) -> None:
    reader, text = TEXTS[kind]
    path = folder / kind
    path.write_bytes(mutated(text, edits, keep))
    findings = Findings()
    product = reader(path, findings, isolate=False)
    assert product is not None or findings.found


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(STARTS))
@pytest.mark.parametrize("kind", TEXTS)
def test_noise_never_crashes(folder: Path, kind: str, noise: bytes, start: bytes) -> None:
    path = folder / kind
    path.write_bytes(start + noise)
    findings = Findings()
    reader = TEXTS[kind][0]
    product = reader(path, findings, isolate=False)
    assert product is not None or findings.found
