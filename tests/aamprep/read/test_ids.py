"""Names that no text file with one id per line can hold are errors; all other text is an id."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aam_schemas.common.ids import has_control, without_control
from aamprep.read import read_distances, read_metadata, read_sequences, read_table, read_taxonomy, read_tree
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import FEATURES, SAMPLES, as_json, write_hdf5, write_json

BAD = ["S\t1", "S\n1", "S\r1", "S\x001", "S\x1f1", "S\x7f1", "S\x851", "S\u20281", "S\u20291"]


@given(st.text())
def test_a_name_is_refused_if_a_line_of_text_cannot_hold_it(name: str) -> None:
    if not has_control(name):
        assert f"a\t{name}\tb".split("\t")[1] == name
        assert len(f"{name}.".splitlines()) == 1
    assert not has_control(without_control(name))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("axis", ["samples", "features"])
@pytest.mark.parametrize("write", [write_hdf5, lambda path, **ids: write_json(path, as_json(**ids))])
def test_a_table_with_such_an_id_is_refused(
    tmp_path: Path, write: Callable[..., Path], axis: str, bad: str
) -> None:
    ids = {"samples": SAMPLES, "features": FEATURES}
    if "\0" in bad and write is write_hdf5:
        pytest.skip("HDF5 texts end at a zero byte")
    findings = Findings()
    path = write(tmp_path / "t.biom", **ids | {axis: [bad, *ids[axis][1:]]})
    assert read_table(path, findings, isolate=False) is None
    assert list(findings.counts()) == [rules.ID_CONTROL]
    assert ascii(bad)[1:-1] in findings[0].value


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (read_metadata, 'id\tage\n"S\n1"\t4\nS2\t5\n'),
        (read_metadata, 'id\tage\n"S\t1"\t4\nS2\t5\n'),
        (read_metadata, 'id\t"a\tge"\nS1\t4\nS2\t5\n'),
        (read_metadata, "id\tage\nS\x851\t4\nS2\t5\n"),
        (read_tree, "('a\nb':1,c:1);"),
        (read_tree, "('a\tb':1,c:1);"),
        (read_sequences, ">a\x7fb\nACGT\n>c\nGG\n"),
        (read_taxonomy, "Feature ID\tTaxon\na\x7f\tk__B\nb\tk__C\n"),
        (read_distances, "\ta\x7f\tb\na\x7f\t0\t1\nb\t1\t0\n"),
    ],
)
def test_such_a_name_in_a_text_file_is_an_error(
    tmp_path: Path, reader: Callable[[Path, Findings], object], text: str
) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text, newline="")
    findings = Findings()
    reader(path, findings)
    assert findings.counts() == {rules.ID_CONTROL: 1}
    assert findings[0].value.isprintable()


INVISIBLE = {
    "\ufeff": "U+FEFF (byte order mark)",
    "\u200b": "U+200B (zero width space)",
    "\u200d": "U+200D (zero width joiner)",
    "\u00ad": "U+00AD (soft hyphen)",
    "\u00a0": "U+00A0 (no-break space)",
    "\u200e": "U+200E (left-to-right mark)",
    "\u202e": "U+202E (right-to-left override)",
}


@pytest.mark.parametrize("character", INVISIBLE)
@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (read_metadata, "id\tage\nS@1\t4\nS2\t5\n"),
        (read_metadata, "id\tnote\nS1\tx\nS2\ta@\n"),
        (read_metadata, "id\tno@te\nS1\tx\nS2\ta\n"),
        (read_tree, "(a:1,\nb@c:1);"),
        (read_sequences, ">a\nACGT\n>c@\nGG\n"),
        (read_taxonomy, "Feature ID\tTaxon\nb@b\tk__B\nb\tk__C\n"),
        (read_distances, "\ta@a\tb\na@a\t0\t1\nb\t1\t0\n"),
    ],
)
def test_an_invisible_character_is_named_with_its_code_point(
    tmp_path: Path, reader: Callable[..., object], text: str, character: str
) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text.replace("@", character), newline="", encoding="utf-8")
    findings = Findings()
    assert reader(path, findings, isolate=False) is not None
    assert findings.counts() == {rules.INVISIBLE: 1}
    assert findings[0].value.startswith(f"{INVISIBLE[character]} in '")
    assert findings[0].where == f"{path}, line {text[: text.index('@')].count(chr(10)) + 1}"


@pytest.mark.skipif(not which("perl"), reason="perl is not installed")
def test_the_fix_for_invisible_characters_removes_them(tmp_path: Path) -> None:
    (tmp_path / "FILE").write_text("id\tage\nS\u200b1\t4\n", encoding="utf-8")
    command = rules.INVISIBLE.fix.split("`")[1]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "NEW").read_text(encoding="utf-8") == "id\tage\nS1\t4\n"


def test_the_mark_between_files_that_were_joined_is_no_part_of_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "metadata.tsv"
    path.write_text("\ufeffsample-id\tage\na\t1\n\ufeffsample-id\tage\nb\t2\n", encoding="utf-8")
    findings = Findings()
    read_metadata(path, findings, isolate=False)
    assert findings.counts() == {rules.METADATA_ID_RESERVED: 1, rules.INVISIBLE: 1}
    path.write_text("\ufeff>a\nAC\n\ufeff>b\nGT\n", encoding="utf-8")
    assert read_sequences(path, findings, isolate=False).by_id == {"a": "AC", "b": "GT"}


NO_LINE_ENDS = ["\x0b", "\x0c", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("character", NO_LINE_ENDS)
def test_text_is_split_at_line_ends_only(tmp_path: Path, character: str) -> None:
    path = tmp_path / "file.txt"

    def read(reader: Callable[..., object], text: str) -> object:
        path.write_text(text.replace("@", character), newline="", encoding="utf-8")
        return reader(path, Findings(), isolate=False)

    metadata = read(read_metadata, "id\tnote\nS1\ta@b\nS2\tc\n")
    assert metadata.columns["note"] == (f"a{character}b", "c")
    assert read(read_taxonomy, "f1\tk__A@k__B\nf2\tk__C\n").by_id["f1"] == f"k__A{character}k__B"
    assert list(read(read_sequences, ">a b@>c\nAC\n").by_id) == ["a"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_ends_are_read(tmp_path: Path, end: str) -> None:
    path = tmp_path / "file.txt"

    def read(reader: Callable[..., object], text: str) -> object:
        path.write_text(text.replace("\n", end), newline="")
        findings = Findings()
        product = reader(path, findings, isolate=False)
        assert not findings
        return product

    assert read(read_metadata, "id\tx\na\t1\nb\t2\n").ids == ("a", "b")
    assert read(read_sequences, ">a\nAC\nGT\n>b\nGG\n").by_id == {"a": "ACGT", "b": "GG"}
    assert read(read_taxonomy, "a\tk__A\nb\tk__B\n").by_id == {"a": "k__A", "b": "k__B"}
    assert read(read_tree, "(a:1,\nb:2);\n").names == ("", "a", "b")
    assert read(read_distances, "\ta\tb\na\t0\t1\nb\t1\t0\n").ids == ("a", "b")


def test_ids_of_a_matrix_in_numpy_format_are_checked(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([[0.0, 1], [1, 0]]))
    (tmp_path / "d.ids.txt").write_text("a\tb\nc\n")
    findings = Findings()
    assert read_distances(tmp_path / "d.npy", findings) is None
    assert findings.counts() == {rules.ID_CONTROL: 1}


@pytest.mark.parametrize("name", ["#S1", "a b", "prøve", "試樣", "é", "S'1", 'S"1', "S,1", "\u200dS", "🦠"])
def test_other_names_are_ids(tmp_path: Path, name: str) -> None:
    findings = Findings()
    table = read_table(write_hdf5(tmp_path / "t.biom", samples=[name, "S2", "S3"]), findings, isolate=False)
    assert table.sample_ids[0] == name
    assert findings.counts() == ({rules.INVISIBLE: 1} if "\u200d" in name else {})
