"""A folder that is replaced while it is read is noticed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from aam_schemas.common.files import Files
from aam_schemas.common.replaced import ReplacedError, read_one_version, refusing_replaced
from tests.helpers.studies import Programs


def test_a_replaced_folder_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with refusing_replaced([tmp_path / "a", tmp_path / "missing"]) as check:
        check()
    with pytest.raises(ReplacedError), refusing_replaced([tmp_path / "a"]):  # noqa: PT012
        Files().exchange(tmp_path / "a", tmp_path / "b")
        raise ValueError("a file is missing")
    with pytest.raises(ReplacedError), refusing_replaced([tmp_path / "a"]) as check:  # noqa: PT012
        (tmp_path / "a").rmdir()
        check()


def test_a_folder_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    seen = []

    def read() -> str:
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
        if len(seen) < 2:
            Files().exchange(tmp_path / "a", tmp_path / "b")
        seen.append("read")
        return "result"

    (tmp_path / "a").mkdir()
    assert read_one_version(tmp_path / "a", read) == "result"
    assert len(seen) == 3


@contextmanager
def swapping(first: Path, second: Path, pause: float) -> Iterator[None]:
    end = Event()

    def swap() -> None:
        while not end.wait(pause):
            Files().exchange(first, second)

    thread = Thread(target=swap)
    thread.start()
    yield
    end.set()
    thread.join()


def test_a_sound_set_that_is_swapped_is_never_called_unsound(run: Programs, tmp_path: Path) -> None:
    assert run("aamprep", "simulate", tmp_path / "study", "--samples", 20, "--asvs", 30).code == 0
    for limit in (5, 9):
        options = ("--token-limit", limit, "--output", tmp_path / str(limit))
        assert run("aamprep", "shard", tmp_path / "study/table.biom", *options).code == 0
    shutil.copytree(tmp_path / "5", tmp_path / "other")
    with swapping(tmp_path / "5", tmp_path / "9", 0.03):
        codes = {run("aamprep", "verify", tmp_path / "5").code for _ in range(20)}
        # Both sets have the same samples, so this merge is invalid, or was disturbed.
        merge = {run("aamprep", "merge", tmp_path / "5", tmp_path / "other", "--output", tmp_path / "m").code}
    assert codes <= {0, 2}
    assert merge <= {1, 2}
