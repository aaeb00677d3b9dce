"""A published folder appears whole or not at all."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from aam_schemas.common import names
from aam_schemas.common.errors import UsageError
from aam_schemas.common.folders import ANYTHING, FolderKind
from aam_schemas.common.names import Stage, name_beside
from aam_schemas.common.publish import OutputFolder, check_target, published_folder, recover, replace_file

SIGN = "manifest.json"
KIND = FolderKind("a set", lambda folder: (folder / SIGN).is_file(), {SIGN: ANYTHING, "data": ANYTHING})


def publishing(target: Path, overwrite: bool = False) -> AbstractContextManager[Path]:
    return published_folder(OutputFolder(target, KIND, overwrite))


def write_set(folder: Path, content: str) -> None:
    (folder / SIGN).write_text(content)
    (folder / "data").write_text(content * 1000)


def fail_midway(target: Path, overwrite: bool = False) -> None:
    with publishing(target, overwrite) as folder:
        write_set(folder, "half")
        raise RuntimeError


def publish_two_at_once(target: Path, overwrite: bool) -> None:
    with publishing(target, overwrite) as slow:
        write_set(slow, "slow")
        with publishing(target, overwrite) as fast:
            write_set(fast, "fast")
        assert (slow / SIGN).read_text() == "slow"


def test_nothing_is_seen_before_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "shards"
    with publishing(target) as folder:
        write_set(folder, "new")
        assert not target.exists()
    assert (target / SIGN).read_text() == "new"
    assert os.listdir(target.parent) == ["shards"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail_midway(tmp_path / "shards")
    assert os.listdir(tmp_path) == []


def test_what_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    with publishing(tmp_path / "shards") as folder:
        write_set(folder, "old")
    with pytest.raises(UsageError, match="exists already"), publishing(tmp_path / "shards"):
        pass
    assert (tmp_path / "shards" / SIGN).read_text() == "old"


def test_overwriting_publishes_the_new_and_removes_the_old(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with publishing(tmp_path / "shards", overwrite=True) as folder:
            write_set(folder, content)
    assert (tmp_path / "shards" / SIGN).read_text() == "new"
    assert os.listdir(tmp_path) == ["shards"]


def test_a_failure_while_overwriting_keeps_the_old(tmp_path: Path) -> None:
    with publishing(tmp_path / "shards") as folder:
        write_set(folder, "old")
    with pytest.raises(RuntimeError):
        fail_midway(tmp_path / "shards", overwrite=True)
    assert (tmp_path / "shards" / SIGN).read_text() == "old"
    assert os.listdir(tmp_path) == ["shards"]


def test_a_folder_of_something_else_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years of work")
    with (
        pytest.raises(UsageError, match="not part of a set: chapter"),
        publishing(tmp_path / "thesis", overwrite=True),
    ):
        pass
    assert (tmp_path / "thesis" / "chapter").read_text() == "years of work"


def test_a_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("a file")
    with (
        pytest.raises(UsageError, match="not a folder"),
        publishing(tmp_path / "shards", overwrite=True),
    ):
        pass


def test_what_a_living_writer_has_is_no_leftover(tmp_path: Path) -> None:
    publish_two_at_once(tmp_path / "shards", overwrite=True)
    assert (tmp_path / "shards" / SIGN).read_text() == "slow"
    assert os.listdir(tmp_path) == ["shards"]


def test_of_two_writers_of_a_new_folder_the_first_wins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        publish_two_at_once(tmp_path / "shards", overwrite=False)
    assert (tmp_path / "shards" / SIGN).read_text() == "fast"
    assert os.listdir(tmp_path) == ["shards"]


def leftover(target: Path, stage: Stage, host: str | None = None) -> Path:
    """Make what a killed writer leaves beside a target."""
    path = name_beside(target, stage)
    if host is not None:
        start = f".{target.name}.{stage}-{host}-{path.name[-16:-8]}"
        path = target.with_name(start + names._checksum(start))
    path.mkdir()
    (path / "data").write_text("half")
    return path


def test_leftovers_of_other_hosts_are_swept_after_a_day(tmp_path: Path) -> None:
    old, young = (leftover(tmp_path / "shards", "tmp", "elsewhere") for _ in range(2))
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    with publishing(tmp_path / "shards") as folder:
        write_set(folder, "new")
    assert sorted(os.listdir(tmp_path)) == [young.name, "shards"]


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    with publishing(tmp_path / "set") as folder:
        write_set(folder, "old")
    (tmp_path / "shards").symlink_to(tmp_path / "set")
    with (
        pytest.raises(UsageError, match="symbolic link"),
        publishing(tmp_path / "shards", overwrite=True),
    ):
        pass
    assert (tmp_path / "set" / SIGN).read_text() == "old"


def test_a_set_below_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    for content in ("old", "new"):
        with publishing(tmp_path / "link" / "shards", overwrite=True) as folder:
            write_set(folder, content)
    assert (tmp_path / "scratch" / "shards" / SIGN).read_text() == "new"


def plant_file(folder: Path) -> None:
    (folder / "thesis").write_text("years of work")


def plant_folder(folder: Path) -> None:
    (folder / "src").mkdir()


def plant_link(folder: Path) -> None:
    (folder / "data").unlink(missing_ok=True)
    (folder / "data").symlink_to("/etc/hostname")


def plant_pipe(folder: Path) -> None:
    (folder / "data").unlink(missing_ok=True)
    os.mkfifo(folder / "data")


@pytest.mark.parametrize("plant", [plant_file, plant_folder, plant_link, plant_pipe])
def test_a_set_with_anything_else_is_not_replaced(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    with publishing(tmp_path / "shards") as folder:
        write_set(folder, "old")
    plant(tmp_path / "shards")
    before = sorted(os.listdir(tmp_path / "shards"))
    with pytest.raises(UsageError, match="not part of a set"):
        check_target(OutputFolder(tmp_path / "shards", KIND, overwrite=True))
    assert sorted(os.listdir(tmp_path / "shards")) == before


def test_what_appears_in_the_old_set_while_the_new_one_is_written_is_kept(tmp_path: Path) -> None:
    def replace() -> None:
        with publishing(tmp_path / "shards", overwrite=True) as folder:
            write_set(folder, "new")
            plant_file(tmp_path / "shards")

    with publishing(tmp_path / "shards") as folder:
        write_set(folder, "old")
    with pytest.raises(UsageError, match="thesis"):
        replace()
    assert (tmp_path / "shards" / "thesis").exists()
    assert os.listdir(tmp_path) == ["shards"]


def test_a_folder_that_is_needed_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "shards"
    with publishing(target) as folder:
        write_set(folder, "old")
    (tmp_path / "link").symlink_to(target / "data")
    for source in (target, target / "data", tmp_path / "link"):
        with pytest.raises(UsageError, match="an input"):
            check_target(OutputFolder(target, KIND, True, (source,)))
    monkeypatch.setenv("HOME", str(target))
    with pytest.raises(UsageError, match="home folder"):
        check_target(OutputFolder(target, KIND, True))
    monkeypatch.setenv("HOME", "/")
    monkeypatch.chdir(target)
    for path in (target, Path(".")):
        with pytest.raises(UsageError, match="working folder"):
            check_target(OutputFolder(path, KIND, True))


def test_no_output_lies_within_an_input(tmp_path: Path) -> None:
    with publishing(tmp_path / "shards") as folder:
        write_set(folder, "old")
    with pytest.raises(UsageError, match="within an input"):
        check_target(OutputFolder(tmp_path / "shards" / "run", KIND, inputs=(tmp_path / "shards",)))


def test_planted_leftovers_are_neither_removed_nor_brought_back(tmp_path: Path) -> None:
    host, target = names.host(), tmp_path / "shards"
    planted = [tmp_path / f".shards.{stage}-{host}-{'0' * 16}" for stage in ("tmp", "old")]
    for path in planted:
        path.mkdir()
        plant_file(path)
    (tmp_path / f".shards.tmp-{host}-{'1' * 16}").symlink_to(planted[0])
    recover(target)
    assert not target.exists()
    with publishing(target) as folder:
        write_set(folder, "new")
    assert len(os.listdir(tmp_path)) == 4
    assert all((path / "thesis").exists() for path in planted)


def test_a_leftover_with_anything_else_in_it_is_not_removed(tmp_path: Path) -> None:
    path = leftover(tmp_path / "shards", "tmp")
    plant_file(path)
    with publishing(tmp_path / "shards") as folder:
        write_set(folder, "new")
    assert (path / "thesis").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(UsageError, match="cannot be written"),
        publishing(tmp_path / "file" / "shards"),
    ):
        pass


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    replace_file(tmp_path / "model", b"old")
    replace_file(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["model"]
