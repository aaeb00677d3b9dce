"""A folder has one owner at a time, which the system releases when its process dies."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aam_schemas.common.errors import UsageError
from aam_schemas.common.owner import OWNER_FILE, OwnedFolder, owned, owner_of

HOLD = """
import sys, time
from pathlib import Path
from aam_schemas.common.owner import OwnedFolder
OwnedFolder(Path(sys.argv[1]))
print("owned", flush=True)
time.sleep(100)
"""


def holding(folder: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"owned\n"
    return process


def test_a_second_process_is_refused_and_told_the_owner(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        for _ in range(2):
            with pytest.raises(UsageError, match=f"process {process.pid} on {os.uname().nodename}, since 2"):
                OwnedFolder(tmp_path)
        assert f"process {process.pid}" in str(owner_of(tmp_path))
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_owner_frees_the_folder(tmp_path: Path, number: int) -> None:
    with holding(tmp_path) as process:
        process.send_signal(number)
        process.wait()
    assert (tmp_path / OWNER_FILE).exists()
    assert owner_of(tmp_path) is None
    with owned(tmp_path):
        assert json.loads((tmp_path / OWNER_FILE).read_text())["process"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_one_process_owns_a_folder_once(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(UsageError, match="another process"), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_a_copy_of_a_folder_has_no_owner(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with owned(tmp_path / "run"):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert owner_of(tmp_path / "copy") is None
        with owned(tmp_path / "copy"):
            assert owner_of(tmp_path / "run") is not None


def test_the_owner_of_a_renamed_folder_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    ownership = OwnedFolder(tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "run")
    ownership.renamed(tmp_path / "run")
    assert owner_of(tmp_path / "run") is not None
    ownership.release()
    assert os.listdir(tmp_path / "run") == []


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"host": 1}', "\0" * 5000])
def test_any_content_of_the_file_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / OWNER_FILE).write_text(content)
    with owned(tmp_path), pytest.raises(UsageError, match=f"process {os.getpid()}"):
        OwnedFolder(tmp_path)


def test_no_link_or_pipe_is_written(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years of work")
    (tmp_path / OWNER_FILE).symlink_to(tmp_path / "thesis")
    with pytest.raises(UsageError, match="cannot be written"):
        OwnedFolder(tmp_path)
    assert (tmp_path / "thesis").read_text() == "years of work"
    (tmp_path / OWNER_FILE).unlink()
    os.mkfifo(tmp_path / OWNER_FILE)
    assert owner_of(tmp_path) is None
    with pytest.raises(UsageError, match="cannot be written"):
        OwnedFolder(tmp_path)


def test_an_owner_that_was_killed_on_another_host_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = {"host": "elsewhere", "process": 12, "since": "2026-01-31 13:00:00"}
    (tmp_path / OWNER_FILE).write_text(json.dumps(record))
    with owned(tmp_path):
        pass
    assert "process 12 on elsewhere" in caplog.text
