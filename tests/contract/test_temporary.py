"""Temporary folders of killed processes are removed by the next process, and nothing else is."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from aam_schemas.common.errors import UsageError
from aam_schemas.common.temporary import temporary_folder
from tests.helpers.paths import PYTHONPATH

HOLD = """
import time
from aam_schemas.common.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "part").mkdir()
    (folder / "part" / "data").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty folder for temporary files."""
    parent = tmp_path / "tmp"
    parent.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(parent))
    return parent


def hold(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Start a process that has a temporary folder, and return both."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"TMPDIR": str(parent), "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_folder_is_removed_after_its_block(parent: Path) -> None:
    with temporary_folder() as folder:
        (folder / "data").write_bytes(b"1")
    assert list(parent.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next(parent: Path) -> None:
    process, left = hold(parent)
    with temporary_folder():
        assert left.exists()
    end(process)
    assert left.exists()
    with temporary_folder():
        assert not left.exists()
    assert list(parent.iterdir()) == []


def test_a_folder_that_a_process_began_to_make_or_to_remove_is_removed(parent: Path) -> None:
    process, left = hold(parent)
    end(process)
    name = left.parent.name[:-8]
    (parent / f"{name}aaaaaaaa").mkdir()
    (parent / f"{name}bbbbbbbb").mkdir()
    (parent / f"{name}bbbbbbbb" / "temporary-folder-of-aam").touch()
    with temporary_folder():
        pass
    assert list(parent.iterdir()) == []


def test_nothing_foreign_is_removed(parent: Path, tmp_path: Path) -> None:
    process, left = hold(parent)
    end(process)
    leftover = left.parent
    name = leftover.name[:-8]
    # A folder with a file of the user, with and without our marker; a link to a folder; a file.
    (leftover / "thesis.txt").write_text("mine")
    (parent / f"{name}aaaaaaaa").mkdir()
    (parent / f"{name}aaaaaaaa" / "thesis.txt").write_text("mine")
    target = tmp_path / "target"
    target.mkdir()
    (target / "temporary-folder-of-aam").touch()
    (parent / f"{name}bbbbbbbb").symlink_to(target)
    (parent / f"{name}cccccccc").write_text("mine")
    os.mkfifo(parent / f"{name}dddddddd")
    before = sorted(parent.rglob("*"))
    with temporary_folder():
        pass
    assert sorted(parent.rglob("*")) == before
    assert (target / "temporary-folder-of-aam").exists()


def test_an_unusable_folder_is_named(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(parent / "missing"))
    with pytest.raises(UsageError) as error, temporary_folder():
        pass
    assert error.value.where == str(parent / "missing")
