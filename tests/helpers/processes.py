"""`aammodel pretrain` in several processes that communicate by gloo, as `torchrun` starts them."""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from aammodel.cli import main as run_aammodel
from aammodel.data.workers import STOP_SIGNALS
from aammodel.distributed.ranks import Ranks, joined
from aammodel.workflows import pretrain

TIMEOUT_SECONDS = 120
# Processes fork from a server that has loaded the slow modules; an optimizer loads torch._dynamo.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([pretrain.__name__, "torch._dynamo", __name__])


def hear_signals() -> None:
    """Unblock the signals that ask a process of `CONTEXT` to stop.

    The server blocks these signals if an earlier test started it for the workers of a stream. The processes
    that it forks inherit this.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


@dataclass(frozen=True)
class Rank:
    """A process, and the file with its output."""

    process: ForkServerProcess
    output: Path

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self.process.pid
        os.kill(self.process.pid, number)

    @property
    def text(self) -> str:
        """The output so far."""
        return self.output.read_text()


def start(size: int, folder: Path, *arguments: object) -> list[Rank]:
    """Start `aammodel` on several ranks."""
    return _start(size, folder, _run_aammodel, list(map(str, arguments)))


def start_unchecked(size: int, folder: Path, *arguments: object) -> list[Rank]:
    """Start `aammodel` without the checks that `unchecked` removes."""
    return _start(size, folder, _run_unchecked, list(map(str, arguments)))


def call_on(size: int, folder: Path, function: Callable[[Ranks], None]) -> None:
    """Call a function on several ranks, none of which may raise."""
    ranks = _start(size, folder, _call, function)
    assert end(ranks) == [0] * size, "\n".join(rank.text for rank in ranks)


def _start(size: int, folder: Path, target: Callable[..., None], argument: object) -> list[Rank]:
    port = _free_port()
    ranks = []
    for rank in range(size):
        output = folder / f"rank-{rank}.txt"
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        environment |= {"MASTER_ADDR": "localhost", "XDG_CACHE_HOME": folder / "cache"}
        all_arguments = (environment, output, target, argument)
        process = CONTEXT.Process(target=_run_rank, args=all_arguments, daemon=True)
        process.start()
        ranks.append(Rank(process, output))
    return ranks


def end(ranks: list[Rank]) -> list[int | None]:
    """Wait for all ranks and return their exit codes, None for a rank that hangs."""
    codes = []
    for rank in ranks:
        rank.process.join(TIMEOUT_SECONDS)
        codes.append(rank.process.exitcode)
        rank.process.kill()
    return codes


def pretrain_on(size: int, folder: Path, *arguments: object) -> list[Rank]:
    """Run `aammodel pretrain` on several ranks, all of which must succeed."""
    ranks = start(size, folder, "pretrain", *arguments)
    assert end(ranks) == [0] * size, "\n".join(rank.text for rank in ranks)
    return ranks


def _run_aammodel(arguments: list[str]) -> None:
    sys.argv = ["aammodel", *arguments]
    run_aammodel()


def _run_unchecked(arguments: list[str]) -> None:
    from tests.helpers import unchecked  # noqa: F401 - changes this process alone

    _run_aammodel(arguments)


def _call(function: Callable[[Ranks], None]) -> None:
    with joined() as ranks:
        function(ranks)


def _run_rank(
    environment: dict[str, object], output: Path, target: Callable[..., None], argument: object
) -> None:
    hear_signals()
    os.environ.update({name: str(value) for name, value in environment.items()})
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.__stdout__ = sys.stdout
        try:
            target(argument)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])
