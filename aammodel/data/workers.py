"""Worker processes that make batches ahead of the training loop."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import active_children, forkserver, parent_process, resource_tracker
from threading import Thread

from torch.utils.data import DataLoader, IterableDataset

from aam_schemas.common.errors import AamError
from aammodel.batch import Batch
from aammodel.data.stream import BatchStream

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a run after its current step."""
WORKER_TIMEOUT_SECONDS = 600
"""A worker that is silent for this long hangs. Its run ends with an error instead of waiting for ever."""


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
    if not num_workers:
        yield from (batch.pin_memory() if pin_memory else batch for batch in stream)
        return
    _start_fork_server()
    loader = DataLoader(
        _ErrorsAsItems(stream),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        multiprocessing_context="forkserver",
        timeout=WORKER_TIMEOUT_SECONDS,
        worker_init_fn=_set_up_worker,
    )
    before = active_children()
    try:
        for batch in loader:
            if isinstance(batch, AamError):
                raise batch
            yield batch
    except RuntimeError:
        # DataLoader raises RuntimeError for a worker that hangs or died. A worker that hangs ignores the
        # signals that end others, so DataLoader would wait for it.
        for worker in active_children():
            if worker not in before:
                worker.kill()
        raise


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
