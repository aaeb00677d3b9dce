"""File formats are detected from the content, not from the name."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aamprep.read import read_table
from aamprep.read import sniff as sniff_module
from aamprep.read.sniff import Kind, sniff
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from tests.helpers.biom_files import as_json, write_artifact, write_hdf5
from tests.helpers.programs import loaded_after

HTML = b"\n<!DOCTYPE html>\n<html><body>404</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
CONTENTS = {
    b"": Kind.EMPTY,
    b" \n\n": Kind.EMPTY,
    HTML: Kind.HTML,
    b"<html lang='en'>": Kind.HTML,
    POINTER: Kind.LFS_POINTER,
    b">a b\nACGT\n": Kind.FASTA,
    b"\n\n>a\nACGT\n": Kind.FASTA,
    b"((a:1,b:1):5,c:1);": Kind.NEWICK,
    b"[&R] (a,b);": Kind.NEWICK,
    b"#SampleID\tage\nS1\t4\n": Kind.TSV,
    b"\xef\xbb\xbfsample-id\tage\r\n": Kind.TSV,
    "sample-id\tage\n".encode("utf-16"): Kind.TSV,
    b"otu1\t10\ts__grosmorn\xeb\n": Kind.TSV,
    b"just words": Kind.TEXT,
    b'{"a": 1}': Kind.JSON,
    b"   " + json.dumps(as_json()).encode(): Kind.BIOM_JSON,
    b"\x00\x01\x02\x03": Kind.UNKNOWN,
    b"\x89HDF\r\n\x1a\n" + bytes(100): Kind.HDF5,
    b"PK\x03\x04": Kind.ZIP,
}


@pytest.mark.parametrize(("content", "kind"), CONTENTS.items(), ids=lambda value: str(value)[:30])
def test_the_content_decides_the_format(tmp_path: Path, content: bytes, kind: Kind) -> None:
    path = tmp_path / "table.biom"
    path.write_bytes(content)
    assert sniff(path) is kind


@pytest.mark.parametrize("content", [HTML, POINTER, b">a\nACGT\n", b"(a,b);", b"a\tb\n", b"", b"\x00\x01"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_the_content_of_compressed_files_is_detected(
    tmp_path: Path, content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(content))
    assert sniff(path) is CONTENTS.get(content, sniff_plain(tmp_path, content))


def sniff_plain(folder: Path, content: bytes) -> Kind:
    (folder / "plain").write_bytes(content)
    return sniff(folder / "plain")


def test_hdf5_tables_artifacts_and_archives_are_told_apart(tmp_path: Path) -> None:
    table = write_hdf5(tmp_path / "a.qza")
    assert sniff(table) is Kind.BIOM_HDF5
    packed = tmp_path / "b"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert sniff(packed) is Kind.BIOM_HDF5
    artifact = write_artifact(tmp_path / "c.biom", "Phylogeny[Rooted]", "data/tree.nwk", b"(a,b);")
    assert sniff(artifact) is Kind.ARTIFACT
    cut = tmp_path / "d"
    cut.write_bytes(artifact.read_bytes()[:200])
    assert sniff(cut) is Kind.ARTIFACT
    with zipfile.ZipFile(tmp_path / "e.qza", "w") as archive:
        archive.writestr("a.txt", "x")
    assert sniff(tmp_path / "e.qza") is Kind.ZIP


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"\n", rules.FILE_EMPTY),
        (HTML, rules.FILE_HTML),
        (POINTER, rules.FILE_LFS_POINTER),
        (b"#OTU ID\tS1\nf1\t3\n", rules.FILE_TEXT_TABLE),
        (b">a\nACGT\n", rules.FILE_KIND),
        (b"(a,b);", rules.FILE_KIND),
        (b"\x00\x01", rules.FILE_KIND),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(
    tmp_path: Path, content: bytes, rule: Rule, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "table.biom"
    path.write_bytes(pack(content))
    findings = Findings()
    assert read_table(path, findings) is None
    assert [finding.rule for finding in findings.found] == [rule]


def test_a_folder_is_refused_as_a_table(tmp_path: Path) -> None:
    findings = Findings()
    assert read_table(tmp_path, findings) is None
    assert [finding.rule for finding in findings.found] == [rules.FILE_KIND]


def test_shard_sets_and_other_folders_are_told_apart(tmp_path: Path) -> None:
    assert sniff(tmp_path) is Kind.FOLDER
    (tmp_path / "manifest.json").write_text("{}")
    assert sniff(tmp_path) is Kind.SHARDS


def test_detection_imports_no_library_of_a_format(tmp_path: Path) -> None:
    heavy = {"h5py", "biom", "polars", "numpy", "pandera"}
    assert loaded_after([sniff_module], heavy, tmp_path) == set()
