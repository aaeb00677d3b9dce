"""Names that no text file with one id per line can hold are errors; all other text is an id."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aamprep.read import read_distances, read_metadata, read_sequences, read_table, read_taxonomy, read_tree
from aamprep.read.ids import has_control, without_control
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
    assert not findings
