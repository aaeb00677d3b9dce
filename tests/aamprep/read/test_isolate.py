"""A table is read in a child process, and the failure of that process is a finding."""

from pathlib import Path

import pytest

from aamprep.read import isolate, read_table
from aamprep.read.biom import hdf5
from aamprep.read.source import Limits
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import as_json, dense, write_hdf5, write_json
from tests.helpers.programs import loaded_after


def test_too_little_memory_is_a_finding(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.biom", as_json())
    with path.open("ab") as file:
        file.write(b" " * (100 << 20))
    findings = Findings()
    assert read_table(path, findings, limits=Limits(memory_bytes=180 << 20)) is None
    assert [finding.rule for finding in findings.found] == [rules.READER_CRASHED]
    assert findings.found[0].value == "the reader needed more than 180.0 MiB of memory"


def test_too_little_time_is_a_finding(tmp_path: Path) -> None:
    findings = Findings()
    assert read_table(write_hdf5(tmp_path / "t.biom"), findings, limits=Limits(seconds=0.01)) is None
    assert [finding.rule for finding in findings.found] == [rules.READER_CRASHED]


def test_modules_in_the_users_folder_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "h5py", "json", "aamprep"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'{__name__} of the user was run')")
    write_hdf5(tmp_path / "t.biom")
    monkeypatch.chdir(tmp_path)
    findings = Findings()
    assert read_table(Path("t.biom"), findings) is not None
    assert findings.found == []


def test_tables_of_paths_with_odd_names_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "a b{0} 'q\" \u00e9"
    folder.mkdir()
    findings = Findings()
    table = read_table(write_hdf5(folder / "-t;.biom"), findings)
    assert findings.found == []
    assert dense(table).sum() == 15


def test_the_child_process_imports_no_heavy_library(tmp_path: Path) -> None:
    heavy = {"polars", "pandera", "pyarrow", "biom", "scipy", "torch", "skbio", "pandas"}
    assert loaded_after([isolate, hdf5], heavy, tmp_path) == set()
