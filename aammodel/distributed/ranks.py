"""Train one model with several processes (ranks), as started by `torchrun`.

Each rank holds the whole model and takes a part of each micro-batch. Every rank divides its losses by the
counts of all ranks. So the gradient is the sum of the ranks' gradients, and one all-reduce after the backward
pass computes it.

Torch's `DistributedDataParallel` is not used. It averages gradients, exchanges them at each micro-batch by
default, and stores each gradient twice. Its advantage is that it sends some gradients while others are
computed, which saves little for a model of a few megabytes.

Values that control a run (losses, counts, signals) are summed in the order of the ranks. So they have the
same bits on all ranks, which then take the same decisions.
"""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import once_differentiable

from aam_schemas.common.errors import LostRankError
from aammodel.distributed.fsdp import is_sharded

_LOST = re.compile("gloo|nccl|connection (closed|reset)|timed out", re.IGNORECASE)
"""Words by which an error of the network is recognized. Torch raises many of them as a plain RuntimeError."""
_PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>."""
TIMEOUT = timedelta(minutes=10)
"""Time after which a rank that does not answer is lost. The job then fails instead of waiting forever."""


@dataclass(frozen=True)
class Ranks:
    """Index of this process, and the number of processes. By default, it is the only one.

    With one process, no method communicates. Otherwise, all ranks must call each method together.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes files and messages."""
        return self.rank == 0

    @property
    def turns(self) -> slice:
        """Slice of the samples of a micro-batch that this rank takes."""
        return slice(self.rank, None, self.size)

    def gather(self, rows: Float[Tensor, "B K"], total: int) -> Float[Tensor, "C K"]:
        """Collect the rows of all ranks, in the order of the micro-batch. The result is differentiable.

        Parameters
        ----------
        rows : Tensor, shape (B, K)
            One row for each sample of this rank. If the micro-batch has no sample for it, its rows are
            ignored.
        total : int
            Number of samples of all ranks, C.

        Returns
        -------
        Tensor, shape (C, K)
        """
        return rows if self.size == 1 else _Gather.apply(rows, self.turns, total)

    def sum(self, numbers: list[float]) -> list[float]:
        """Return the sums of numbers over all ranks, with the same bits on each rank."""
        return numbers if self.size == 1 else self._table(numbers).sum(dim=0).tolist()

    def largest(self, number: float) -> float:
        """Return the largest of the ranks' numbers."""
        return number if self.size == 1 else self._table([number]).max().item()

    def wait(self) -> None:
        """Wait until all ranks have called this."""
        self.largest(0)

    def first_text(self, text: str | None) -> str | None:
        """Return the text of the first rank that has one."""
        if self.size == 1:
            return text
        texts: list[str | None] = [None] * self.size
        dist.all_gather_object(texts, text)
        return next((text for text in texts if text is not None), None)

    @torch.no_grad()
    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over all ranks. A gradient that no rank has stays None.

        Gradients of sharded weights are skipped, since FSDP2 has already summed them.
        """
        if self.size == 1:
            return
        whole = [parameter for parameter in parameters if not is_sharded(parameter)]
        has_gradient = torch.tensor([parameter.grad is not None for parameter in whole])
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in whole
        ]
        # One exchange of one tensor is faster than one for each parameter.
        flat = torch.cat([has_gradient.to(gradients[0]), *(gradient.flatten() for gradient in gradients)])
        dist.all_reduce(flat)
        counts, *parts = flat.split([len(whole), *(parameter.numel() for parameter in whole)])
        for parameter, count, part in zip(whole, counts.tolist(), parts, strict=True):
            parameter.grad = part.view_as(parameter) if count else None

    @torch.no_grad()
    def share_weights(self, model: nn.Module) -> None:
        """Copy the main rank's weights and buffers to all ranks, bit for bit."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def _table(self, numbers: list[float]) -> Float[Tensor, "R N"]:
        """Return the numbers of all ranks, one row per rank."""
        # Adding a number to zeros is exact, so all ranks get the same bits. They sum them in the same order.
        table = torch.zeros(self.size, len(numbers), dtype=torch.float64)
        table[self.rank] = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(table)
        return table


ALONE = Ranks()
"""The only process of a run without `torchrun`."""


class _Gather(torch.autograd.Function):
    """Rows of all ranks. In the backward pass, gradients of all ranks' losses for this rank's rows.

    Each rank adds its rows to zeros. This is exact, and ranks may have different numbers of rows, which
    torch's all-gather does not support.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, mine: slice, total: int) -> Tensor:
        ctx.mine, ctx.num_rows = mine, len(rows)
        gathered = rows.new_zeros(total, rows.shape[1])
        gathered[mine] = rows[: len(range(total)[mine])]
        dist.all_reduce(gathered)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        mine = summed[ctx.mine]
        # A rank without a sample of its own passed rows that were ignored. Their gradient is 0.
        padded = summed.new_zeros(ctx.num_rows, summed.shape[1])
        padded[: len(mine)] = mine
        return padded, None, None


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the ranks that `torchrun` started, while the block lasts.

    Tensors on the CPU are exchanged by gloo, those on GPUs by NCCL.

    Yields
    ------
    Ranks
        `ALONE` without `torchrun`.

    Raises
    ------
    LostRankError
        If another rank has ended, or did not answer in time.
    """
    rank, size = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    if size == 1:
        yield ALONE
        return
    _stop_with_launcher()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield Ranks(rank, size)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or _LOST.search(str(error)):
            raise LostRankError(
                f"another process of this run has ended, or did not answer in time ({error})",
                f"rank {rank}",
                "read the last messages of that process, then continue with --resume",
            ) from error
        raise
    finally:
        # After an error, the other ranks may still wait for this one. An orderly exit would wait for them.
        if sys.exception() is None:
            dist.destroy_process_group()


def _stop_with_launcher() -> None:
    """Let this process get SIGTERM if `torchrun` is killed. It then stops after its step, and can resume."""
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def local_rank() -> int:
    """Return the index of this process on its machine, which is also the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))
