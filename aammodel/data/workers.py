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
"""What ends a run after the step that it is at."""
WORKER_TIMEOUT_SECONDS = 600
"""A worker that is silent for so long hangs: an error, instead of a job that waits for ever."""


def load(stream: BatchStream, num_workers: int, pin_memory: bool) -> Iterator[Batch]:
    """Stream batches, with workers that read ahead where there are any.

    Raises
    ------
    AamError
        What a worker found wrong, as it found it.
    """
    if not num_workers:
        yield from (batch.pin_memory() if pin_memory else batch for batch in stream)
        return
    _start_server()
    loader = DataLoader(
        _Told(stream),
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
        # The loader's word for a worker that hangs or died. One that hangs is deaf to what ends others, and
        # would be waited for.
        for worker in active_children():
            if worker not in before:
                worker.kill()
        raise


@dataclass(frozen=True)
class _Told(IterableDataset[Batch | AamError]):
    """Gives what goes wrong in a worker as the last item: the loader would make a traceback of it."""

    stream: BatchStream

    def __iter__(self) -> Iterator[Batch | AamError]:
        try:
            yield from self.stream
        except AamError as error:
            yield error


def _start_server() -> None:
    """Start the process that workers are forked from, if there is none, deaf to signals as they shall be.

    A signal to the whole group may come while a worker is still being set up, before `_set_up_worker`. What
    else a program forks from this server later is as deaf, until it lets signals through.
    """
    # First, since it lets signals through again once it has started.
    resource_tracker.ensure_running()
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)


def _set_up_worker(_: int) -> None:
    """Let a worker read on when its whole group is signalled, and end when the run is no more.

    After its last step the run ends its workers itself. One that was killed cannot, and the loader asks only
    for the fork server, which lives as long as the workers do.
    """
    for one in STOP_SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    Thread(target=_end_with_run, daemon=True).start()


def _end_with_run() -> None:
    run = parent_process()
    assert run is not None
    run.join()
    os._exit(1)
