"""Damaged and random files of every role and format are reported or read, in a child with small limits."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aamprep.read.files import Opened, read_files
from aamprep.read.source import Limits
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import as_json, write_artifact, write_hdf5, write_json

LIMITS = Limits(memory_bytes=600 << 20, seconds=20)
TEXTS = {
    "rep-seqs": ("FeatureData[Sequence]", "data/dna-sequences.fasta", b">a x\nACGT\nAC\n>b\nGG\n"),
    "tree": ("Phylogeny[Rooted]", "data/tree.nwk", b"((a_1:1,'b''c':2)0.9:0.5,[x]d:1e-3);"),
    "metadata": ("ImmutableMetadata", "data/metadata.tsv", b"id\tage\n#q2:types\tnumeric\nS1\t4\nS2\t5\n"),
    "distances": ("DistanceMatrix", "data/distance-matrix.tsv", b"\ta\tb\na\t0\t1\nb\t1\t0\n"),
    "taxonomy": ("FeatureData[Taxonomy]", "data/taxonomy.tsv", b"Feature ID\tTaxon\na\tk__B\nb\tk__C\n"),
}
MATRIX = np.array([[0.0, 1], [1, 0]])


def write_files(folder: Path) -> dict[str, str]:
    """Write a valid file of each role and format, and return the role of each by its name."""
    for role, (kind, member, text) in TEXTS.items():
        (folder / f"{role}.text").write_bytes(text)
        (folder / f"{role}.gz").write_bytes(gzip.compress(text))
        write_artifact(folder / f"{role}.qza", kind, member, text)
    write_json(folder / "table.json", as_json())
    hdf5 = write_hdf5(folder / "table.biom").read_bytes()
    (folder / "table.gz").write_bytes(gzip.compress(hdf5))
    write_artifact(folder / "table.qza", "FeatureTable[Frequency]", "data/feature-table.biom", hdf5)
    np.save(folder / "distances.npy", MATRIX)
    with h5py.File(folder / "distances.h5", "w") as file:
        file["order"], file["matrix"] = [b"a", b"b"], MATRIX
    return {path.name: path.stem for path in sorted(folder.iterdir())}


NUM_FILES = 3 * len(TEXTS) + 6
"""Number of files that `write_files` writes."""


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    """Return the role and the bytes of a valid file of each format, by name."""
    folder = tmp_path_factory.mktemp("valid")
    return {name: (role, (folder / name).read_bytes()) for name, role in write_files(folder).items()}


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, float, bytes]]:
    """Draw how to damage a file: overwrite a place, remove a part, insert or repeat bytes."""
    where = st.floats(0, 1, exclude_max=True)
    damage = st.tuples(
        st.sampled_from(["overwrite", "remove", "insert", "repeat"]), where, where, st.binary(max_size=8)
    )
    return draw(st.lists(damage, min_size=1, max_size=4))


def damaged(raw: bytes, damages: list[tuple[str, float, float, bytes]]) -> bytes:
    for kind, start, end, new in damages:
        first, last = sorted((int(start * len(raw)), int(end * len(raw))))
        middle = {
            "overwrite": new + raw[first + len(new) :],
            "remove": raw[last:],
            "insert": new + raw[first:],
            "repeat": raw[first:last] * 2 + raw[last:],
        }
        raw = raw[:first] + middle[kind]
    return raw


def read(folder: Path, contents: list[tuple[str, str, bytes]]) -> tuple[list[Opened], Findings]:
    """Read files, each given by its name, role and content."""
    files = []
    for number, (name, role, content) in enumerate(contents):
        path = folder / f"{number}{name}"
        path.write_bytes(content)
        path.with_suffix(".ids.txt").write_text("a\nb\n")
        files.append((role, path))
    findings = Findings()
    return read_files(files, findings, LIMITS), findings


def check(opened: list[Opened], findings: Findings) -> None:
    reported = " ".join(finding.where for finding in findings.found)
    for number, file in enumerate(opened):
        assert file.product is not None or f"/{number}" in reported
    # HDF5 may crash, which is why it is read in the child. All other faults of readers are ours.
    crashes = [finding for finding in findings.found if finding.rule is rules.READER_CRASHED]
    assert [crash for crash in crashes if "SIG" not in crash.value] == []


few = settings(
    max_examples=settings.default.max_examples // 10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def test_valid_files_are_read(tmp_path: Path, valid: dict[str, tuple[str, bytes]]) -> None:
    opened, findings = read(tmp_path, [(name, *file) for name, file in valid.items()])
    assert [finding for finding in findings.found if finding.rule.severity == "error"] == []
    assert all(file.product is not None for file in opened)


@few
@given(drawn=st.lists(damages(), min_size=NUM_FILES, max_size=NUM_FILES))
def test_damaged_files_are_reported_or_read(
    tmp_path: Path, valid: dict[str, tuple[str, bytes]], drawn: list[list[tuple[str, float, float, bytes]]]
) -> None:
    files = zip(valid.items(), drawn, strict=True)
    contents = [(name, role, damaged(raw, damage)) for (name, (role, raw)), damage in files]
    check(*read(tmp_path, contents))


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
ROLES = ["table", *TEXTS]


@few
@given(st.lists(st.tuples(st.sampled_from(STARTS), st.binary(max_size=300)), min_size=6, max_size=6))
def test_noise_is_reported_or_read(tmp_path: Path, noise: list[tuple[bytes, bytes]]) -> None:
    contents = [(".x", role, start + rest) for role, (start, rest) in zip(ROLES, noise, strict=True)]
    check(*read(tmp_path, contents))
