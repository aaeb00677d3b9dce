"""Publishing is stopped at each step: the target is never partial, and an old folder is never lost."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from aam_schemas.common.errors import UsageError
from aam_schemas.common.files import Files
from aam_schemas.common.folders import ANYTHING, FOLDER, FolderKind
from aam_schemas.common.publish import OutputFolder, published_folder, recover, replace_file

SIGN = "manifest.json"
KIND = FolderKind(
    noun="a set",
    is_ours=lambda folder: (folder / SIGN).is_file(),
    entries={SIGN: ANYTHING, "data": ANYTHING, "deep": FOLDER, "deep/data": ANYTHING},
)
STEPS = ("make_folder", "make_file", "write", "flush", "rename", "exchange", "remove")


class KilledError(BaseException):
    """Simulated kill. It derives from BaseException, so that no handler continues after it."""


class Watched(Files):
    """File system calls that count the steps and run an action of the test at one of them."""

    def __init__(self, at: int, end: Callable[["Watched", Path], None], can_exchange: bool = True) -> None:
        self.at, self.end, self.can_exchange = at, end, can_exchange
        self.done: list[tuple[str, str]] = []
        for name in STEPS:
            setattr(self, name, partial(self._step, name))

    def _step(self, name: str, path: Path, *others: Path | bytes) -> bool | None:
        self.done.append((name, path.name))
        if len(self.done) >= self.at:
            self.end(self, path)
        if name == "exchange" and not self.can_exchange:
            return False
        return getattr(super(), name)(path, *others)


def is_killed(files: Watched, path: Path) -> None:
    """Stop as if killed. If the step removes a folder or writes a file, do half of it first."""
    if len(files.done) == files.at:
        step = files.done[-1][0]
        if step == "remove" and path.is_dir():
            (path / "data").unlink(missing_ok=True)
        if step == "write":
            path.write_bytes(b"ha")
    raise KilledError


def fails_once(files: Watched, path: Path) -> None:
    if len(files.done) == files.at:
        raise OSError(5, "Input/output error", str(path))


def never(files: Watched, path: Path) -> None:
    """Do nothing, so that every step completes."""


def write_set(folder: Path, content: str) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "data").write_text(content * 3)
    (folder / "data").write_text(content * 2)
    (folder / SIGN).write_text(content)


def publish(target: Path, content: str, files: Files) -> None:
    with published_folder(OutputFolder(target, KIND, overwrite=True), files) as folder:
        write_set(folder, content)


def content_of(target: Path) -> str | None:
    """Check that the target is complete and return its content, or None if it does not exist."""
    if not target.exists():
        return None
    content = (target / SIGN).read_text()
    assert (target / "data").read_text() == content * 2
    assert (target / "deep" / "data").read_text() == content * 3
    return content


@pytest.mark.parametrize("can_exchange", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("old", [None, "old"], ids=["fresh", "overwrite"])
@pytest.mark.parametrize("end", [is_killed, fails_once])
def test_stopped_at_any_step(
    tmp_path: Path, old: str | None, can_exchange: bool, end: Callable[[Watched, Path], None]
) -> None:
    seen = set()
    for step in count(1):
        target = tmp_path / f"{step}" / "deep" / "shards"
        if old:
            publish(target, old, Files())
        files = Watched(step, end, can_exchange)
        with suppress(KilledError, OSError, UsageError):
            publish(target, "new", files)
        at_once = content_of(target)
        recover(target)
        seen.add(content_of(target))
        assert content_of(target) in {old, "new"}
        assert at_once == content_of(target) or not can_exchange
        publish(target, "next", Files())
        assert content_of(target) == "next"
        assert os.listdir(target.parent) == ["shards"]
        if len(files.done) < step:
            break
    assert step > 8
    assert seen == {old, "new"}


def test_killed_at_any_step_and_the_next_run_too(tmp_path: Path) -> None:
    for first in count(1):
        for second in count(1):
            target = tmp_path / f"{first}-{second}" / "shards"
            publish(target, "old", Files())
            runs = [Watched(step, is_killed, can_exchange=False) for step in (first, second)]
            for files in runs:
                with suppress(KilledError):
                    publish(target, "new", files)
            recover(target)
            assert content_of(target) in {"old", "new"}
            publish(target, "next", Files())
            assert os.listdir(target.parent) == ["shards"]
            if len(runs[1].done) < second:
                break
        if len(runs[0].done) < first:
            break
    assert first > 8


@pytest.mark.parametrize("end", [is_killed, fails_once])
def test_replacing_a_file_stopped_at_any_step(tmp_path: Path, end: Callable[[Watched, Path], None]) -> None:
    for step in count(1):
        path = tmp_path / f"{step}" / "model"
        path.parent.mkdir()
        replace_file(path, b"old")
        files = Watched(step, end)
        with suppress(KilledError, UsageError):
            replace_file(path, b"new", files=files)
        assert path.read_bytes() in {b"old", b"new"}
        replace_file(path, b"next")
        assert path.read_bytes() == b"next"
        assert os.listdir(path.parent) == ["model"]
        if len(files.done) < step:
            break
    assert step > 5


def test_content_is_on_the_disk_before_its_name_is(tmp_path: Path) -> None:
    files = Watched(1, never)
    publish(tmp_path / "new" / "shards", "new", files)
    temporary = files.done[2][1]
    assert files.done == [
        ("make_folder", "new"),
        ("flush", tmp_path.name),
        ("make_folder", temporary),
        ("flush", SIGN),
        ("flush", "data"),
        ("flush", "deep"),
        ("flush", "data"),
        ("flush", temporary),
        ("rename", temporary),
        ("flush", "new"),
        ("remove", temporary),
    ]


def test_the_old_set_goes_after_the_new_one_is_on_the_disk(tmp_path: Path) -> None:
    publish(tmp_path / "shards", "old", Files())
    files = Watched(1, never)
    publish(tmp_path / "shards", "new", files)
    temporary = files.done[0][1]
    assert files.done[-4:] == [
        ("flush", temporary),
        ("exchange", temporary),
        ("flush", tmp_path.name),
        ("remove", temporary),
    ]


def test_a_file_is_on_the_disk_before_its_name_is(tmp_path: Path) -> None:
    files = Watched(1, never)
    replace_file(tmp_path / "model", b"new", files=files)
    assert [name for name, _ in files.done] == ["make_file", "write", "flush", "rename", "flush", "remove"]
