"""QIIME 2 artifacts, and zip bombs."""

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aamprep.read import read_distances, read_metadata, read_sequences, read_table, read_taxonomy, read_tree
from aamprep.read.source import Limits
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from tests.helpers.biom_files import COUNTS, UUID, as_json, dense, write_artifact, write_hdf5, write_json
from tests.helpers.studies import processor_seconds

Reader = Callable[[Path, Findings], object]
TABLE = "FeatureTable[Frequency]"
BIOM = "data/feature-table.biom"
FASTA = "data/dna-sequences.fasta"


@pytest.fixture
def hdf5(tmp_path: Path) -> bytes:
    return write_hdf5(tmp_path / "plain.biom").read_bytes()


def codes(reader: Reader, path: Path) -> tuple[object, list[str]]:
    findings = Findings()
    product = reader(path, findings)
    return product, [finding.rule.code for finding in findings.found]


@pytest.mark.parametrize("archive", [0, 1, 4, 5, 6])
def test_tables_of_every_archive_version_are_read(tmp_path: Path, hdf5: bytes, archive: int) -> None:
    table, found = codes(read_table, write_artifact(tmp_path / "t.anything", TABLE, BIOM, hdf5, archive))
    assert found == []
    assert (dense(table) == COUNTS).all()
    assert table.source.uuid == UUID
    assert table.source.kind == "QIIME 2 artifact, FeatureTable[Frequency]"


def test_a_table_in_the_old_format_inside_an_artifact_is_read(tmp_path: Path) -> None:
    content = write_json(tmp_path / "t.json", as_json()).read_bytes()
    table, found = codes(read_table, write_artifact(tmp_path / "t.qza", TABLE, BIOM, content, 0))
    assert found == []
    assert (dense(table) == COUNTS).all()


@pytest.mark.parametrize(
    ("semantic_type", "reader", "rule"),
    [
        ("FeatureTable[RelativeFrequency]", read_table, rules.ARTIFACT_NOT_COUNTS),
        ("FeatureTable[Composition]", read_table, rules.ARTIFACT_NOT_COUNTS),
        ("FeatureTable[Balance]", read_table, rules.ARTIFACT_NOT_COUNTS),
        ("FeatureData[Sequence]", read_table, rules.ARTIFACT_TYPE),
        ("FeatureData[AlignedSequence]", read_sequences, rules.ARTIFACT_TYPE),
        ("Phylogeny[Unrooted]", read_tree, rules.ARTIFACT_UNROOTED),
        (TABLE, read_tree, rules.ARTIFACT_TYPE),
        (TABLE, read_metadata, rules.ARTIFACT_TYPE),
        (TABLE, read_distances, rules.ARTIFACT_TYPE),
        (TABLE, read_taxonomy, rules.ARTIFACT_TYPE),
        ("", read_table, rules.ARTIFACT_TYPE),
    ],
)
def test_the_semantic_type_is_checked(tmp_path: Path, semantic_type: str, reader: Reader, rule: Rule) -> None:
    findings = Findings()
    path = write_artifact(tmp_path / "a.qza", semantic_type, BIOM, b"x")
    assert reader(path, findings) is None
    assert [finding.rule for finding in findings.found] == [rule]
    assert semantic_type in findings.found[0].value


@pytest.mark.parametrize(
    ("reader", "semantic_type", "member", "content"),
    [
        (read_sequences, "FeatureData[Sequence]", FASTA, b">a\nACGT\n"),
        (read_tree, "Phylogeny[Rooted]", "data/tree.nwk", b"(a:1,b:1);"),
        (read_metadata, "ImmutableMetadata", "data/metadata.tsv", b"id\tage\nS1\t4\n"),
        (read_metadata, "SampleData[AlphaDiversity]", "data/alpha-diversity.tsv", b"id\tfaith\nS1\t4\n"),
        (
            read_distances,
            "DistanceMatrix % Properties('phylogenetic')",
            "data/distance-matrix.tsv",
            b"\ta\tb\na\t0\t1\nb\t1\t0\n",
        ),
        (read_taxonomy, "FeatureData[Taxonomy]", "data/taxonomy.tsv", b"Feature ID\tTaxon\na\tk__B\n"),
    ],
)
def test_each_role_is_read_from_its_artifact(
    tmp_path: Path, reader: Reader, semantic_type: str, member: str, content: bytes
) -> None:
    data, found = codes(reader, write_artifact(tmp_path / "a.qza", semantic_type, member, content))
    assert found == []
    assert data.source.uuid == UUID
    assert data.source.role in ("rep-seqs", "tree", "metadata", "distances", "taxonomy")


def test_content_changed_after_writing_is_found(tmp_path: Path) -> None:
    path = write_artifact(
        tmp_path / "a.qza", "FeatureData[Sequence]", FASTA, b">a\nACGT\n", **{FASTA: b">a\nACGA\n"}
    )
    assert codes(read_sequences, path) == (None, [rules.ARTIFACT_CHECKSUM.code])


def test_a_missing_member_is_found(tmp_path: Path) -> None:
    path = write_artifact(tmp_path / "a.qza", "FeatureData[Sequence]", "data/else.fasta", b">a\nACGT\n")
    assert codes(read_sequences, path) == (None, [rules.ARTIFACT_MEMBER.code])


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = write_artifact(tmp_path / "a.qza", "FeatureData[Sequence]", FASTA, b">a\nACGT\n" * 10, 1)
    raw = bytearray(path.read_bytes())
    raw[raw.index(FASTA.encode()) + len(FASTA) + 5] ^= 1
    path.write_bytes(raw)
    assert codes(read_sequences, path) == (None, [rules.FILE_UNREADABLE.code])


def test_an_encrypted_member_is_found(tmp_path: Path) -> None:
    path = write_artifact(tmp_path / "a.qza", "FeatureData[Sequence]", FASTA, b">a\nACGT\n")
    raw = path.read_bytes()
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = raw.split(signature)
        raw = signature.join([parts[0], *(_with_flag(part, offset - 4) for part in parts[1:])])
    path.write_bytes(raw)
    assert codes(read_sequences, path) == (None, [rules.FILE_UNREADABLE.code])


def _with_flag(header: bytes, offset: int) -> bytes:
    return header[:offset] + struct.pack("<H", 1) + header[offset + 2 :]


def test_a_zip_that_is_not_an_artifact_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.qza", "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    assert codes(read_table, tmp_path / "a.qza") == (None, [rules.FILE_KIND.code])


def zip_bomb(folder: Path) -> Path:
    path = folder / "bomb.qza"
    write_artifact(path, TABLE, "data/else", b"")
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{UUID}/{BIOM}", "w") as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    return path


def zip_with_a_wrong_size(folder: Path) -> Path:
    path = zip_bomb(folder)
    real, small = struct.pack("<I", 300 << 20), struct.pack("<I", 1000)
    path.write_bytes(path.read_bytes().replace(real, small))
    return path


def gzip_bomb(folder: Path) -> Path:
    path = folder / "bomb.biom.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)) * 300)
    return path


def gzip_with_a_wrong_size(folder: Path) -> Path:
    path = gzip_bomb(folder)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", 1000))
    return path


@pytest.mark.parametrize("make", [zip_bomb, zip_with_a_wrong_size, gzip_bomb, gzip_with_a_wrong_size])
def test_bombs_are_refused_quickly_and_in_little_memory(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    findings = Findings()
    started = processor_seconds()
    assert read_table(path, findings, limits=Limits(memory_bytes=300 << 20)) is None
    assert processor_seconds() - started < 2.0
    (finding,) = findings.found
    assert finding.rule in (rules.FILE_RATIO, rules.FILE_UNREADABLE)


@pytest.mark.parametrize("reader", [read_sequences, read_tree, read_metadata])
def test_bombs_in_other_roles_are_refused(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "bomb.gz"
    head = {read_sequences: b">a\n", read_tree: b"(", read_metadata: b"id\tage\n"}[reader]
    path.write_bytes(gzip.compress(head) + gzip.compress(b"A" * (1 << 20)) * 300)
    assert codes(reader, path) == (None, [rules.FILE_RATIO.code])


def test_gzip_cut_short_or_damaged_is_found(tmp_path: Path) -> None:
    whole = gzip.compress(b">a\nACGT\n" * 1000)
    path = tmp_path / "a.fasta.gz"
    path.write_bytes(whole[:-12])
    assert codes(read_sequences, path) == (None, [rules.FILE_UNREADABLE.code])
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 255]) + whole[41:])
    assert codes(read_sequences, path)[0] is None
