"""Several processes (ranks) that train one model together, as `torchrun` starts them.

Every rank has the whole model and a part of each micro-batch. Losses are sums that every rank divides by
the same numbers, those of all ranks, so the gradient of the whole is the plain sum of the ranks' gradients:
one all-reduce after the backward pass makes it. This is what `DistributedDataParallel` is for, and it is not
used. It gives means, reduces at each micro-batch unless told otherwise, and keeps the gradient twice; what it
gains, sending some gradients while others are computed, is little for a model of a few megabytes.

Numbers that steer a run (losses, counts, signals) are added up in the order of the ranks, so all ranks have
the same bits and decide alike.
"""

import os
import re
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
from aammodel.distributed.fsdp import is_cut

_LOST = re.compile("gloo|nccl|connection (closed|reset)|timed out", re.IGNORECASE)
"""What an error says that is of the network and not of this program."""
TIMEOUT = timedelta(minutes=10)
"""A rank that the others wait for so long is lost: an error, instead of a job that waits for ever."""


@dataclass(frozen=True)
class Ranks:
    """Which of several processes this one is; by default the only one, which costs nothing."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.rank == 0

    @property
    def turns(self) -> slice:
        """The samples of a micro-batch that this rank takes."""
        return slice(self.rank, None, self.size)

    def gather(self, rows: Float[Tensor, "B K"], total: int) -> Float[Tensor, "C K"]:
        """Collect the rows of all ranks, in the order of the micro-batch; gradients find their way back.

        Parameters
        ----------
        rows : Tensor, shape (B, K)
            One row for each sample of this rank's turns. Where it has none, any rows: they are left out.
        total : int
            Samples of all ranks, C.
        """
        return rows if self.size == 1 else _Gather.apply(rows, self.turns, total)

    def sum(self, numbers: list[float]) -> list[float]:
        """Add up numbers over all ranks, the same bits on each."""
        return numbers if self.size == 1 else self._table(numbers).sum(dim=0).tolist()

    def largest(self, number: float) -> float:
        """Give the largest of the ranks' numbers."""
        return number if self.size == 1 else self._table([number]).max().item()

    def wait(self) -> None:
        """Wait until every rank has come here."""
        self.largest(0)

    def first_text(self, text: str | None) -> str | None:
        """Give the text of the first rank that has one."""
        if self.size == 1:
            return text
        texts: list[str | None] = [None] * self.size
        dist.all_gather_object(texts, text)
        return next((one for one in texts if one is not None), None)

    @torch.no_grad()
    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up gradients over all ranks; one that no rank has stays absent.

        Those of sharded weights (`sharding.py`) are sums already.
        """
        if self.size == 1:
            return
        all_of_them = [one for one in parameters if not is_cut(one)]
        is_there = torch.tensor([one.grad is not None for one in all_of_them])
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in all_of_them]
        flat = torch.cat([is_there.to(gradients[0]), *(one.flatten() for one in gradients)])
        dist.all_reduce(flat)
        number, *parts = flat.split([len(all_of_them), *(one.numel() for one in all_of_them)])
        for parameter, count, part in zip(all_of_them, number.tolist(), parts, strict=True):
            parameter.grad = part.view_as(parameter) if count else None

    @torch.no_grad()
    def share_weights(self, model: nn.Module) -> None:
        """Give every rank the main rank's weights and buffers, bit for bit."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def _table(self, numbers: list[float]) -> Float[Tensor, "R N"]:
        """Lay the numbers of all ranks out, a row each."""
        table = torch.zeros(self.size, len(numbers), dtype=torch.float64)
        table[self.rank] = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(table)
        return table


ALONE = Ranks()
"""The one process of a run without `torchrun`."""


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward, what all ranks' losses say about this rank's rows.

    Each rank adds its rows to zeros: exact, and ranks may have different numbers of rows.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, mine: slice, total: int) -> Tensor:
        ctx.mine, ctx.num_rows = mine, len(rows)
        everyone = rows.new_zeros(total, rows.shape[1])
        everyone[mine] = rows[: len(range(total)[mine])]
        dist.all_reduce(everyone)
        return everyone

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        everyone = gradient.contiguous().clone()
        dist.all_reduce(everyone)
        here = everyone[ctx.mine]
        mine = everyone.new_zeros(ctx.num_rows, everyone.shape[1])
        mine[: len(here)] = here
        return mine, None, None


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the ranks that `torchrun` started; without it there is one.

    Numbers on the CPU travel by gloo, those on GPUs by NCCL.
    """
    rank, size = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    if size == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield Ranks(rank, size)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or _LOST.search(str(error)):
            raise LostRankError(
                f"another process of this run is gone, or did not answer in time ({error})",
                f"rank {rank}",
                "see what that one said before it ended; then go on with --resume",
            ) from error
        raise
    finally:
        # After an error others may wait for this rank, and leaving in good order would wait for them.
        if not isinstance(sys.exception(), Exception):
            dist.destroy_process_group()


def local_rank() -> int:
    """Give the number of this process on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))
