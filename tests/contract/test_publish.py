"""A published folder appears whole or not at all."""

import os
import time
from pathlib import Path

import pytest

from aam_schemas.common.errors import UsageError
from aam_schemas.common.publish import published_folder, replace_file

SIGN = "manifest.json"


def write_set(folder: Path, content: str) -> None:
    (folder / SIGN).write_text(content)
    (folder / "data").write_text(content * 1000)


def fail_midway(target: Path, overwrite: bool = False) -> None:
    with published_folder(target, SIGN, overwrite) as folder:
        write_set(folder, "half")
        raise RuntimeError


def publish_two_at_once(target: Path, overwrite: bool) -> None:
    with published_folder(target, SIGN, overwrite) as slow:
        write_set(slow, "slow")
        with published_folder(target, SIGN, overwrite) as fast:
            write_set(fast, "fast")
        assert (slow / SIGN).read_text() == "slow"


def test_nothing_is_seen_before_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "shards"
    with published_folder(target, SIGN) as folder:
        write_set(folder, "new")
        assert not target.exists()
    assert (target / SIGN).read_text() == "new"
    assert os.listdir(target.parent) == ["shards"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail_midway(tmp_path / "shards")
    assert os.listdir(tmp_path) == []


def test_what_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    with published_folder(tmp_path / "shards", SIGN) as folder:
        write_set(folder, "old")
    with pytest.raises(UsageError, match="exists already"), published_folder(tmp_path / "shards", SIGN):
        pass
    assert (tmp_path / "shards" / SIGN).read_text() == "old"


def test_overwriting_publishes_the_new_and_removes_the_old(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with published_folder(tmp_path / "shards", SIGN, overwrite=True) as folder:
            write_set(folder, content)
    assert (tmp_path / "shards" / SIGN).read_text() == "new"
    assert os.listdir(tmp_path) == ["shards"]


def test_a_failure_while_overwriting_keeps_the_old(tmp_path: Path) -> None:
    with published_folder(tmp_path / "shards", SIGN) as folder:
        write_set(folder, "old")
    with pytest.raises(RuntimeError):
        fail_midway(tmp_path / "shards", overwrite=True)
    assert (tmp_path / "shards" / SIGN).read_text() == "old"
    assert os.listdir(tmp_path) == ["shards"]


def test_a_folder_of_something_else_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years of work")
    with (
        pytest.raises(UsageError, match="something else"),
        published_folder(tmp_path / "thesis", SIGN, overwrite=True),
    ):
        pass
    assert (tmp_path / "thesis" / "chapter").read_text() == "years of work"


def test_a_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("a file")
    with (
        pytest.raises(UsageError, match="not a folder"),
        published_folder(tmp_path / "shards", SIGN, overwrite=True),
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


def test_leftovers_of_other_hosts_are_swept_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / ".shards.tmp-elsewhere-1", tmp_path / ".shards.tmp-elsewhere-2"
    for leftover in (old, young):
        leftover.mkdir()
        (leftover / "data").write_text("half")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    with published_folder(tmp_path / "shards", SIGN) as folder:
        write_set(folder, "new")
    assert sorted(os.listdir(tmp_path)) == [young.name, "shards"]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    with published_folder(tmp_path / "scratch" / "shards", SIGN) as folder:
        write_set(folder, "old")
    (tmp_path / "shards").symlink_to(tmp_path / "scratch" / "shards")
    with published_folder(tmp_path / "shards", SIGN, overwrite=True) as folder:
        write_set(folder, "new")
    assert (tmp_path / "shards").is_symlink()
    assert (tmp_path / "scratch" / "shards" / SIGN).read_text() == "new"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(UsageError, match="cannot be written"),
        published_folder(tmp_path / "file" / "shards", SIGN),
    ):
        pass


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    replace_file(tmp_path / "model", b"old")
    replace_file(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["model"]
