"""QIIME 2 artifacts, and zip bombs."""

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aamprep import inspect
from aamprep.read import read_distances, read_metadata, read_sequences, read_table, read_taxonomy, read_tree
from aamprep.read.qiime2 import without_properties
from aamprep.read.source import Limits
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from tests.helpers.biom_files import (
    COUNTS,
    UUID,
    as_json,
    checksums,
    dense,
    write_artifact,
    write_hdf5,
    write_json,
)
from tests.helpers.studies import processor_seconds

Reader = Callable[[Path, Findings], object]
TABLE = "FeatureTable[Frequency]"
BIOM = "data/feature-table.biom"
FASTA = "data/dna-sequences.fasta"
NEWICK = "data/tree.nwk"


@pytest.fixture
def hdf5(tmp_path: Path) -> bytes:
    return write_hdf5(tmp_path / "plain.biom").read_bytes()


def codes(reader: Reader, path: Path) -> tuple[object, list[str]]:
    findings = Findings()
    product = reader(path, findings)
    return product, [finding.rule.code for finding in findings.found]


@pytest.mark.parametrize("archive", ["0", "1", "4", "5", "6", "7", "7.0", "7.1"])
def test_tables_of_every_archive_version_are_read(tmp_path: Path, hdf5: bytes, archive: str) -> None:
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


@pytest.mark.parametrize("archive", ["5", "6", "7.0", "7.1", "8.0"])
def test_content_changed_after_writing_is_found(tmp_path: Path, archive: str) -> None:
    sequences, changed = b">a\nACGT\n", {FASTA: b">a\nACGA\n"}
    path = write_artifact(tmp_path / "a.qza", "FeatureData[Sequence]", FASTA, sequences, archive, **changed)
    product, found = codes(read_sequences, path)
    assert product is None
    assert rules.ARTIFACT_CHECKSUM.code in found


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b"])
@pytest.mark.parametrize("summed", [b">a\nACGT\n", b">a\nACGA\n"], ids=["unchanged", "changed"])
def test_checksums_of_every_algorithm_of_hashlib_are_verified(
    tmp_path: Path, algorithm: str, summed: bytes
) -> None:
    sums = {f"checksums.{algorithm}": checksums({FASTA: summed}, algorithm)}
    path = write_artifact(tmp_path / "a.qza", "FeatureData[Sequence]", FASTA, b">a\nACGT\n", 1, **sums)
    _, found = codes(read_sequences, path)
    assert found == ([] if summed == b">a\nACGT\n" else [rules.ARTIFACT_CHECKSUM.code])


@pytest.mark.parametrize("changed", ["checksums.md5", "checksums.sha512"])
def test_every_file_of_checksums_of_an_artifact_is_verified(tmp_path: Path, changed: str) -> None:
    data = b">a\nACGT\n"
    sums = {f"checksums.{name}": checksums({FASTA: data}, name) for name in ("md5", "sha512")}
    sums[changed] = checksums({FASTA: b">a\n"}, changed.removeprefix("checksums."))
    path = write_artifact(tmp_path / "a.qza", "FeatureData[Sequence]", FASTA, data, 1, **sums)
    assert codes(read_sequences, path) == (None, [rules.ARTIFACT_CHECKSUM.code])


@pytest.mark.parametrize("name", ["checksums.blake9", "checksums.shake_128", "checksums.", "checksums.MD5"])
def test_checksums_that_cannot_be_verified_are_said(tmp_path: Path, name: str) -> None:
    path = write_artifact(tmp_path / "a.qza", "Phylogeny[Rooted]", NEWICK, b"(a:1,b:1);", 1, **{name: b"x"})
    findings = Findings()
    assert read_tree(path, findings) is not None
    assert [(finding.rule, name in finding.value) for finding in findings] == [
        (rules.ARTIFACT_UNVERIFIED, True)
    ]


def test_an_artifact_whose_checksums_were_removed_is_said(tmp_path: Path) -> None:
    whole = write_artifact(tmp_path / "whole.qza", "Phylogeny[Rooted]", NEWICK, b"(a:1,b:1);", 5)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "a.qza", "w") as new:
        for name in old.namelist():
            if "checksums" not in name:
                new.writestr(name, old.read(name))
    product, found = codes(read_tree, tmp_path / "a.qza")
    assert product is not None
    assert found == [rules.ARTIFACT_UNVERIFIED.code]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (b"QIIME 2\narchive: 7.2\nframework: 2027.4.0\n", "7.2; aamprep knows 0 to 7.1"),
        (b"QIIME 2\narchive: 8\nframework: 2027.4.0\n", "8.0; aamprep knows 0 to 7.1"),
        (b"RACHIS\narchive: new\n", "archive: new"),
        (b"", "''"),
    ],
)
def test_an_archive_version_that_is_not_known_is_said_and_the_data_read(
    tmp_path: Path, version: bytes, words: str
) -> None:
    changed = {"VERSION": version}
    path = write_artifact(tmp_path / "a.qza", "Phylogeny[Rooted]", NEWICK, b"(a:1,b:1);", **changed)
    findings = Findings()
    assert read_tree(path, findings) is not None
    assert [finding.rule for finding in findings] == [rules.ARTIFACT_VERSION]
    assert words in findings[0].value


@pytest.mark.parametrize(
    ("reader", "semantic_type", "member", "content"),
    [
        (read_table, TABLE, BIOM, None),
        (read_sequences, "FeatureData[Sequence]", FASTA, b">a\nACGT\n"),
        (read_tree, "Phylogeny[Rooted]", "data/tree.nwk", b"(a:1,b:1);"),
        (read_metadata, "SampleData[AlphaDiversity]", "data/alpha-diversity.tsv", b"id\tfaith\nS1\t4\n"),
        (read_taxonomy, "FeatureData[Taxonomy]", "data/taxonomy.tsv", b"Feature ID\tTaxon\na\tk__B\n"),
    ],
)
def test_properties_within_the_brackets_of_a_type_do_not_matter(
    tmp_path: Path,
    hdf5: bytes,
    reader: Reader,
    semantic_type: str,
    member: str,
    content: bytes | None,
) -> None:
    named = semantic_type.replace("]", " % Properties('uniform-sampling')]")
    path = write_artifact(tmp_path / "a.qza", named, member, hdf5 if content is None else content)
    data, found = codes(reader, path)
    assert (found, data is not None) == ([], True)
    assert inspect(path).facts["role"] == data.source.role


@pytest.mark.parametrize(
    "properties",
    [
        "Properties('a', 'b')",
        "Properties(['a', 'b'], exclude=['c'])",
        'Properties("a]%,(b")',
        "(Properties('a') & Properties('b'))",
    ],
)
def test_any_properties_are_taken_off_a_type(properties: str) -> None:
    for named in (f"A[B % {properties}]", f"A[B] % {properties}", f"A[B % {properties}] % {properties}"):
        assert without_properties(named) == "A[B]"
    assert without_properties(f"A[B[C % {properties}], D % {properties}]") == "A[B[C], D]"


@pytest.mark.parametrize(
    ("semantic_type", "rule", "shown"),
    [
        (
            "FeatureTable[RelativeFrequency % Properties('a')]",
            rules.ARTIFACT_NOT_COUNTS,
            "[RelativeFrequency]",
        ),
        ("FeatureTable[Normalized % Properties('TPM')]", rules.ARTIFACT_NOT_COUNTS, "[Normalized]"),
        ("FeatureData[Taxonomy % Properties('a')]", rules.ARTIFACT_TYPE, "FeatureData[Taxonomy];"),
    ],
)
def test_another_type_with_properties_is_named_whole(
    tmp_path: Path, semantic_type: str, rule: Rule, shown: str
) -> None:
    findings = Findings()
    assert read_table(write_artifact(tmp_path / "a.qza", semantic_type, BIOM, b"x"), findings) is None
    assert [finding.rule for finding in findings] == [rule]
    assert shown in findings[0].value


def test_a_type_that_yaml_folded_over_two_lines_is_read(tmp_path: Path, hdf5: bytes) -> None:
    header = (
        f"uuid: {UUID}\ntype: FeatureTable[Frequency % Properties('uniform-sampling',\n  'b')]\nformat: X\n"
    )
    path = write_artifact(tmp_path / "a.qza", TABLE, BIOM, hdf5, **{"metadata.yaml": header.encode()})
    table, found = codes(read_table, path)
    assert (found, table is not None) == ([], True)


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
    assert codes(read_table, tmp_path / "a.qza") == (None, [rules.FILE_ARCHIVE.code])


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
