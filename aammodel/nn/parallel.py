"""Chunks side by side: each thread of a CPU computes whole chunks, instead of all threads each product.

Products, norms and attention of a chunk are small: two threads that share each of them need more time than
two threads that take a chunk each. Autograd goes back through a graph in one thread, so each chunk has a
graph of its own, and one node of the outer graph stands for all of them.

Gradients are the same to the last digit whenever torch has as many threads: which chunks are summed together,
and in which order, follows from their costs alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aammodel.nn.dropout import drawing_from


class _Here(threading.local):
    """What is each thread's own."""

    in_order = False
    """Whether tasks are computed one after the other, in this thread."""


_here = _Here()
T = TypeVar("T")
Gradients = list[Tensor | None]


@dataclass(eq=False)
class ChunkTask:
    """What is to be computed of one chunk."""

    compute: Callable[..., tuple[Tensor, ...]]
    arguments: tuple[Any, ...]
    """Of `compute`. Tensors among them that ask for a gradient get one."""
    cost: int
    """How long it takes, in whatever unit all tasks have."""
    is_kept: bool = True
    """False where its activations are computed again in the backward pass."""
    seed: int = 0
    """Of its dropout, so that it matters not which thread computes it, nor when."""
    graph: tuple[list[Tensor], tuple[Tensor, ...]] | None = None
    """Its inputs and outputs, while a graph of its own waits for the backward pass."""

    def inputs(self) -> list[Tensor]:
        """Give the arguments that ask for a gradient."""
        return [one for one in self.arguments if _asks(one)]

    def forward(self) -> tuple[Tensor, ...]:
        """Compute it as a part of the graph that is being recorded."""
        if self.is_kept or not torch.is_grad_enabled():
            return self._compute(*self.arguments)
        outputs: tuple[Tensor, ...] = checkpoint(self._compute, *self.arguments, use_reentrant=False)
        return outputs

    def forward_apart(self, records: bool) -> tuple[Tensor, ...]:
        """Compute it, and record a graph of its own if one is asked for and its activations are kept."""
        with torch.set_grad_enabled(records and self.is_kept):
            inputs, outputs = self._compute_apart()
        if records and self.is_kept:
            self.graph = inputs, outputs
        return tuple(one.detach() for one in outputs)

    def backward_apart(
        self, gradients: Sequence[Tensor], weights: list[Tensor]
    ) -> tuple[Gradients, Gradients]:
        """Give the gradients of its inputs and of the weights, and let go of its graph."""
        with torch.enable_grad():
            inputs, outputs = self.graph or self._compute_apart()
        self.graph = None
        # What nothing that learns had a part in has no graph to go back through.
        learned = [pair for pair in zip(outputs, gradients, strict=True) if pair[0].requires_grad]
        if not learned:
            return [None] * len(inputs), [None] * len(weights)
        outputs, gradients = zip(*learned, strict=True)
        given = torch.autograd.grad(outputs, [*inputs, *weights], gradients, allow_unused=True)
        return list(given[: len(inputs)]), list(given[len(inputs) :])

    def _compute_apart(self) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        arguments = [one.detach().requires_grad_() if _asks(one) else one for one in self.arguments]
        return [one for one in arguments if _asks(one)], self._compute(*arguments)

    def _compute(self, *arguments: Any) -> tuple[Tensor, ...]:
        with drawing_from(self.seed):
            return self.compute(*arguments)


@contextmanager
def sequential() -> Iterator[None]:
    """Compute tasks in the thread that asks, for what watches that thread alone: torch's modes and hooks."""
    before, _here.in_order = _here.in_order, True
    try:
        yield
    finally:
        _here.in_order = before


def compute_chunks(module: nn.Module, tasks: list[ChunkTask]) -> list[tuple[Tensor, ...]]:
    """Compute tasks: side by side in as many threads as torch has, or else one after the other.

    Parameters
    ----------
    module : Module
        All tasks are computed by it, or by parts of it.
    tasks : list of ChunkTask
        Each gives as many tensors.

    Returns
    -------
    list of tuple of Tensor
        What each task gave.
    """
    if module.training:
        for task, seed in zip(tasks, torch.randint(2**63 - 1, (len(tasks),)).tolist(), strict=True):
            task.seed = seed
    if torch.get_num_threads() == 1 or len(tasks) == 1 or _here.in_order or not _is_plain(module):
        return [task.forward() for task in tasks]
    weights = [one for one in module.parameters() if one.requires_grad]
    asking = [*(one for task in tasks for one in task.inputs()), *weights]
    outputs = _SideBySide.apply(tasks, weights, torch.is_grad_enabled() and bool(asking), *asking)
    return _by_piece(outputs, len(tasks))


def _is_plain(module: nn.Module) -> bool:
    """Tell whether it matters not in which thread a module computes, nor in which order."""
    is_on_cpu = all(one.device.type == "cpu" for one in module.parameters())
    return is_on_cpu and not torch.is_autocast_enabled("cpu") and not any(map(_minds, module.modules()))


def _minds(part: nn.Module) -> bool:
    # Of those who watch or change what is computed, or gather weights that are cut among ranks.
    forward = part._forward_pre_hooks or part._forward_hooks
    backward = part._backward_pre_hooks or part._backward_hooks
    of_weights = any(one._backward_hooks for one in part.parameters(recurse=False))
    return bool(forward or backward or of_weights or part._compiled_call_impl)


class _SideBySide(torch.autograd.Function):
    """Stands for the graphs of all tasks in the graph around them."""

    @staticmethod
    def forward(
        ctx: Any, tasks: list[ChunkTask], weights: list[Tensor], records: bool, *_asking: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.tasks, ctx.weights = tasks, weights
        shares = _shares(tasks)
        outputs = _in_threads(lambda share: [tasks[place].forward_apart(records) for place in share], shares)
        return tuple(one for several in _in_order(shares, outputs) for one in several)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("chunks side by side give no second derivatives: ask sequential()")
        shares, of_piece = _shares(ctx.tasks), _by_piece(gradients, len(ctx.tasks))

        def go_back(share: list[int]) -> tuple[list[Gradients], Gradients]:
            of_inputs: list[Gradients] = []
            of_weights: Gradients = [None] * len(ctx.weights)
            for place in share:
                inputs, here = ctx.tasks[place].backward_apart(of_piece[place], ctx.weights)
                of_inputs.append(inputs)
                of_weights = _sum(of_weights, here)
            return of_inputs, of_weights

        of_inputs, of_weights = zip(*_in_threads(go_back, shares), strict=True)
        flat = [one for several in _in_order(shares, of_inputs) for one in several]
        return None, None, None, *flat, *reduce(_sum, of_weights)


def _shares(tasks: list[ChunkTask]) -> list[list[int]]:
    """Deal tasks out to threads, the dearest first, each to the thread that has the least to do."""
    shares: list[list[int]] = [[] for _ in range(min(torch.get_num_threads(), len(tasks)))]
    loads = [0.0] * len(shares)
    for place in sorted(range(len(tasks)), key=lambda place: -tasks[place].cost):
        least = loads.index(min(loads))
        shares[least].append(place)
        loads[least] += tasks[place].cost
    return shares


def _in_order(shares: list[list[int]], results: Sequence[list[T]]) -> list[T]:
    """Put what was made of each share's tasks into the order of the tasks."""
    by_place = {
        place: result
        for share, several in zip(shares, results, strict=True)
        for place, result in zip(share, several, strict=True)
    }
    return [by_place[place] for place in range(len(by_place))]


def _by_piece(tensors: tuple[Tensor, ...], number: int) -> list[tuple[Tensor, ...]]:
    size = len(tensors) // number
    return [tensors[start : start + size] for start in range(0, len(tensors), size)]


def _sum(some: Gradients, others: Gradients) -> Gradients:
    """Add gradients; None is no gradient."""
    return [a if b is None else b if a is None else a + b for a, b in zip(some, others, strict=True)]


def _in_threads(work: Callable[[list[int]], T], shares: list[list[int]]) -> list[T]:
    """Do the shares in as many threads."""
    return list(_threads(torch.get_num_threads()).map(work, shares))


@cache
def _threads(number: int) -> ThreadPoolExecutor:
    """Start threads within which torch uses one thread alone."""
    threads, together = ThreadPoolExecutor(number, "chunks"), threading.Barrier(number)

    def set_up(_: int) -> None:
        # Torch's first look at a thread sets it to what all have; what is set before is lost.
        torch.get_num_threads()
        torch.set_num_threads(1)
        together.wait()

    list(threads.map(set_up, range(number)))
    # Torch's setting is each thread's own, but the last one is also what threads of others begin with.
    torch.set_num_threads(number)
    return threads


def _asks(argument: object) -> TypeGuard[Tensor]:
    return isinstance(argument, Tensor) and argument.requires_grad
