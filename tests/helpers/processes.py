"""`aammodel pretrain` on several processes that talk by gloo, as `torchrun` starts them."""

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
# Processes fork from a server that has loaded already what takes seconds; an optimiser loads torch._dynamo.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([pretrain.__name__, "torch._dynamo", __name__])


def hear_signals() -> None:
    """Let a process of `CONTEXT` hear what asks it to stop.

    Its server is deaf to that if an earlier test started it for the workers of a stream, and so is what it
    forks.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


@dataclass(frozen=True)
class Rank:
    """One process and what it said."""

    process: ForkServerProcess
    said: Path

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid
        os.kill(self.process.pid, number)

    @property
    def text(self) -> str:
        """All that it printed."""
        return self.said.read_text()


def start(size: int, folder: Path, *arguments: object) -> list[Rank]:
    """Start `aammodel` on so many ranks."""
    return _start(size, folder, _run_aammodel, [str(one) for one in arguments])


def start_unchecked(size: int, folder: Path, *arguments: object) -> list[Rank]:
    """Start `aammodel` as `unchecked` has it."""
    return _start(size, folder, _run_unchecked, [str(one) for one in arguments])


def call_on(size: int, folder: Path, function: Callable[[Ranks], None]) -> None:
    """Call a function of a test module on so many ranks, none of which may raise."""
    ranks = _start(size, folder, _call, function)
    assert end(ranks) == [0] * size, "\n".join(rank.text for rank in ranks)


def _start(size: int, folder: Path, target: Callable[..., None], argument: object) -> list[Rank]:
    port = _free_port()
    ranks = []
    for rank in range(size):
        said = folder / f"rank-{rank}.txt"
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        environment |= {"MASTER_ADDR": "localhost", "XDG_CACHE_HOME": folder / "cache"}
        told = (environment, said, target, argument)
        process = CONTEXT.Process(target=_be_a_rank, args=told, daemon=True)
        process.start()
        ranks.append(Rank(process, said))
    return ranks


def end(ranks: list[Rank]) -> list[int | None]:
    """Wait for all ranks and give their exit codes; None for one that hangs."""
    codes = []
    for rank in ranks:
        rank.process.join(TIMEOUT_SECONDS)
        codes.append(rank.process.exitcode)
        rank.process.kill()
    return codes


def pretrain_on(size: int, folder: Path, *arguments: object) -> list[Rank]:
    """Run `aammodel pretrain` on so many ranks, all of which must end well."""
    ranks = start(size, folder, "pretrain", *arguments)
    assert end(ranks) == [0] * size, "\n".join(rank.text for rank in ranks)
    return ranks


def _run_aammodel(arguments: list[str]) -> None:
    sys.argv = ["aammodel", *arguments]
    run_aammodel()


def _run_unchecked(arguments: list[str]) -> None:
    from tests.helpers import unchecked  # noqa: F401 - here alone, for this process

    _run_aammodel(arguments)


def _call(function: Callable[[Ranks], None]) -> None:
    with joined() as ranks:
        function(ranks)


def _be_a_rank(
    environment: dict[str, object], said: Path, target: Callable[..., None], argument: object
) -> None:
    hear_signals()
    os.environ.update({name: str(value) for name, value in environment.items()})
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        try:
            target(argument)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])
