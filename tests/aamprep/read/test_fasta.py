"""FASTA."""

import gzip
from pathlib import Path

import pytest

from aamprep.read import read_sequences
from aamprep.read.types import Sequences
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings


def read(folder: Path, content: bytes) -> tuple[Sequences | None, list[tuple[str, str, str]]]:
    path = folder / "rep-seqs"
    path.write_bytes(content)
    findings = Findings()
    sequences = read_sequences(path, findings, isolate=False)
    found = [(f.rule.code, f.where.removeprefix(str(path)), f.value) for f in findings.found]
    return sequences, found


@pytest.mark.parametrize(
    "content",
    [
        b">a first\nACGT\nacgu\n>b\nNNN\n",
        b">a\r\nACGT\r\nacgu\r\n>b\r\nNNN",
        b"\n\n>a\tx\nACGTacgu\n\n\n>b \nNN\n N\n",
        b"; a comment\n>a\nACGT\n;masked\nacgu\n;\n>b\nNNN\n",
        b";one\r\n;two\r\n>a\r\nACGTacgu\r\n; >c\r\n>b\r\nNNN\r\n",
        gzip.compress(b">a\nACGTacgu\n>b\nNNN\n", mtime=0),
    ],
)
def test_ids_end_at_the_first_blank_and_lines_are_joined(tmp_path: Path, content: bytes) -> None:
    sequences, found = read(tmp_path, content)
    assert found == []
    assert sequences.by_id == {"a": "ACGTacgu", "b": "NNN"}


def test_every_problem_is_found_with_its_line(tmp_path: Path) -> None:
    sequences, found = read(tmp_path, b">a x\nAC\nGT\n>b\n\n> c\nAC\n>a y\nGG\n>\nT\n")
    assert sequences.by_id == {}, "a has two sequences, of which one is wrong"
    assert found == [
        (rules.FASTA_SEQUENCE_EMPTY.code, ", line 4", "'b'"),
        (rules.FASTA_ID_EMPTY.code, ", line 6", ""),
        (rules.FASTA_ID_DUPLICATE.code, ", line 8", "'a', another sequence in line 1"),
        (rules.FASTA_ID_EMPTY.code, ", line 10", ""),
    ]


def test_an_entry_that_is_repeated_is_read_once(tmp_path: Path) -> None:
    sequences, found = read(tmp_path, b">a x\nACGT\n>b\nGG\n>a y\nacgu\n")
    assert found == []
    assert sequences.by_id == {"a": "ACGT", "b": "GG"}


def test_a_greater_sign_within_a_header_begins_no_entry(tmp_path: Path) -> None:
    sequences, found = read(tmp_path, b">a>b c>d\nACGT\n")
    assert found == []
    assert sequences.by_id == {"a>b": "ACGT"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", rules.FILE_EMPTY.code),
        (b"a\tb\n1\t2\n", rules.FILE_KIND.code),
        (b"ACGT\n>a\nACGT\n", rules.FILE_KIND.code),
        (b"<html></html>", rules.FILE_HTML.code),
        (b">a\nAC\xff\n", rules.FILE_ENCODING.code),
    ],
)
def test_a_file_that_is_not_fasta_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    sequences, found = read(tmp_path, content)
    assert sequences is None
    assert [finding[0] for finding in found] == [code]
