"""Worker processes and the limits of the system: refused before work begins, and never waited for in vain."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import pytest

from aam_schemas.common.errors import UsageError
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.data.workers import check_limits, load_batches
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs


@contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    """Lower a limit of this process for a while."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


@pytest.mark.parametrize(
    ("kind", "most", "words"),
    [
        (resource.RLIMIT_NOFILE, 64, "may open only 64 files, and 4 workers need 136"),
        (resource.RLIMIT_NOFILE, 32, "may open only 32 files"),
        (resource.RLIMIT_AS, 2 << 30, r"only 2\.0 GiB of address space, and a worker needs 3"),
    ],
)
def test_more_workers_than_a_limit_allows_are_refused(kind: int, most: int, words: str) -> None:
    with limited(kind, most), pytest.raises(UsageError, match=words) as error:
        check_limits(4)
    assert "ulimit" in error.value.fix
    assert error.value.where == "num_workers = 4"


def test_more_workers_than_fit_into_memory_are_refused() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(UsageError, match="100000 workers need"):
        check_limits(100_000)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_a_run_beyond_a_limit_makes_no_folder(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    config = tiny_config(tmp_path, "num_workers = 4\n")
    with limited(resource.RLIMIT_NOFILE, 100):
        ran = run("aammodel", "pretrain", shards.folder, "--output", tmp_path / "run", "--config", config)
    assert ran.code == 2
    assert "ulimit -n" in ran.err
    assert not (tmp_path / "run").exists()


def test_a_worker_that_is_killed_is_named(run: Programs, tmp_path: Path) -> None:
    stream = BatchStream(make_shards(run, tmp_path), "train", StreamConfig(batch_size=4))
    before = active_children()
    batches = load_batches(stream, 1, pin_memory=False)
    next(batches)
    (worker,) = set(active_children()) - set(before)
    assert worker.pid
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(UsageError, match="worker process died"):
        list(islice(batches, 20))
