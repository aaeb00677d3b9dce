"""Worker processes that make batches ahead of the training loop."""

import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import active_children, forkserver, get_context, parent_process, resource_tracker
from pathlib import Path
from threading import Thread

from torch.utils.data import DataLoader, IterableDataset

from aam_schemas.common.errors import AamError, UsageError, exhausted_limit
from aammodel.batch import Batch
from aammodel.data.stream import BatchStream

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run after its current step."""
WORKER_TIMEOUT_SECONDS = 600
"""A worker that is silent for this long hangs. Its run ends with an error instead of waiting for ever."""

_START_METHOD = "forkserver"
_FILES_OF_A_RUN = 40
"""Files that a process opens beside those of its workers: shards, metrics, checkpoints, libraries."""
_FILES_PER_WORKER = 24
"""A worker's pipes, and a file for each tensor of the batches that it has made ahead."""
_SEMAPHORES_OF_A_LOADER = 12
_SEMAPHORES_PER_WORKER = 8
_BYTES_PER_WORKER = 150 << 20
"""Memory of a worker that is not shared with others (measured: 160 MiB to 360 MiB)."""
_ADDRESSES_PER_WORKER = 3 << 30
"""Address space of a worker: most of it is torch, which is mapped and hardly touched."""


def check_limits(num_workers: int) -> None:
    """Refuse more workers than the limits of this process and the free memory allow.

    Beyond these limits, workers die or wait for ever without saying why.

    Raises
    ------
    UsageError
    """
    if not num_workers:
        return
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    files = _FILES_OF_A_RUN + _FILES_PER_WORKER * num_workers
    if most_files != resource.RLIM_INFINITY and files > most_files:
        raise _too_many(
            num_workers,
            f"this process may open only {most_files} files, and {num_workers} workers need {files}",
            f"raise it with `ulimit -n {files}`",
        )
    most_addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most_addresses != resource.RLIM_INFINITY and most_addresses < _ADDRESSES_PER_WORKER:
        raise _too_many(
            num_workers,
            f"this process may use only {most_addresses / 2**30:.1f} GiB of address space, "
            f"and a worker needs {_ADDRESSES_PER_WORKER >> 30}",
            "raise it with `ulimit -v unlimited`",
        )
    _check_semaphores(num_workers)
    needed, free = num_workers * _BYTES_PER_WORKER, _free_bytes()
    if free is not None and needed > free:
        raise _too_many(
            num_workers,
            f"{num_workers} workers need {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} are free",
            "use a machine with more memory",
        )


def _check_semaphores(num_workers: int) -> None:
    """Refuse workers if /dev/shm has no place for the semaphores of their queues, or cannot be written."""
    context = get_context(_START_METHOD)
    try:
        # They are removed at once.
        [context.Lock() for _ in range(_SEMAPHORES_OF_A_LOADER + _SEMAPHORES_PER_WORKER * num_workers)]
    except OSError as error:
        what = f"workers need semaphores and shared memory in /dev/shm, which says: {error.strerror}"
        fix = "make /dev/shm writable and larger (in Docker: `--shm-size=1g`)"
        raise _too_many(num_workers, what, fix) from error


def _too_many(num_workers: int, what: str, fix: str) -> UsageError:
    return UsageError(what, f"num_workers = {num_workers}", f"{fix}, or set num_workers to less, 0 for none")


def _free_bytes() -> int | None:
    """Return the memory that new processes can use, or None if the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().split("\n")
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def load_batches(stream: BatchStream, num_workers: int, pin_memory: bool) -> Iterator[Batch]:
    """Iterate over a stream, with its batches made ahead by worker processes.

    Parameters
    ----------
    stream : BatchStream
    num_workers : int
        Number of worker processes. With 0, this process makes each batch when it is asked for.
    pin_memory : bool
        Whether to copy batches to pinned memory, for faster transfer to a GPU.

    Raises
    ------
    UsageError
        At once if there cannot be so many workers, and later if one of them dies or hangs.
    AamError
        Any error of a worker, as the worker raised it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from aammodel.data.shards import open_shards
    >>> from aammodel.data.stream import BatchStream, StreamConfig
    >>> from aammodel.data.workers import load_batches
    >>> stream = BatchStream(open_shards(Path("shards")), "train", StreamConfig(batch_size=8))
    >>> batches = load_batches(stream, num_workers=0, pin_memory=False)
    >>> next(batches).num_samples
    8
    """
    check_limits(num_workers)
    if not num_workers:
        return (batch.pin_memory() if pin_memory else batch for batch in stream)
    return _load_ahead(stream, num_workers, pin_memory)


def _load_ahead(stream: BatchStream, num_workers: int, pin_memory: bool) -> Iterator[Batch]:
    _start_fork_server()
    loader = DataLoader(
        _ErrorsAsItems(stream),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        multiprocessing_context=_START_METHOD,
        timeout=WORKER_TIMEOUT_SECONDS,
        worker_init_fn=_set_up_worker,
    )
    before = active_children()
    try:
        for batch in loader:
            if isinstance(batch, AamError):
                raise batch
            yield batch
    except (RuntimeError, OSError, EOFError) as error:
        # DataLoader raises RuntimeError for a worker that hangs or died, and the fork server ends without a
        # word if it can fork no more. A worker that hangs ignores the signals that end others, so DataLoader
        # would wait for it.
        for worker in active_children():
            if worker not in before:
                worker.kill()
        raise exhausted_limit(error) or UsageError(
            f"a worker process died or hangs: {error or type(error).__name__}",
            f"num_workers = {num_workers}",
            "if the system killed it, memory or /dev/shm is too small: set num_workers to less, 0 for none, "
            "then resume",
        ) from error


@dataclass(frozen=True)
class _ErrorsAsItems(IterableDataset[Batch | AamError]):
    """Yield an AamError raised in a worker as the last item. DataLoader would re-raise it as RuntimeError."""

    stream: BatchStream

    def __iter__(self) -> Iterator[Batch | AamError]:
        try:
            yield from self.stream
        except AamError as error:
            yield error


def _start_fork_server() -> None:
    """Start the process that workers are forked from, with stop signals blocked, if it does not run yet.

    A signal to the whole process group may arrive while a worker is still being set up, before
    `_set_up_worker`. Other processes that a program forks from this server inherit the blocked signals, until
    they unblock them.
    """
    # First the tracker, since it unblocks the signals once it has started.
    resource_tracker.ensure_running()
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


def _set_up_worker(_: int) -> None:
    """Let a worker continue when its process group gets a stop signal, and end with the run.

    After its last step the run ends its workers itself. A run that was killed cannot. DataLoader's own check
    would not notice, since it looks for the fork server, which lives as long as the workers do.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_with_run, daemon=True).start()


def _end_with_run() -> None:
    run = parent_process()
    assert run is not None
    run.join()
    os._exit(1)
