"""Compute whole chunks in parallel on a CPU: one chunk per thread, not all threads in each matrix product.

The matrix products, norms and attention of a chunk are small. Two threads that share each of them are slower
than two threads with a chunk each (`docs/experiments.md`).

Autograd computes a backward pass in one thread. Therefore each chunk has a graph of its own, which starts at
detached inputs. In the graph around them, all chunks are one node (`_ParallelChunks`). Its backward pass runs
those of the chunks in threads.

For a given number of threads, gradients are the same to the last bit in every run. Which chunks are summed
together, and in which order, depends on their costs only.
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


class _ThreadState(threading.local):
    """State that each thread has of its own."""

    is_sequential = False
    """Whether this thread computes its chunks itself."""


_thread_state = _ThreadState()
T = TypeVar("T")
Gradients = list[Tensor | None]


# Compared by identity, since tensors have no single truth value.
@dataclass(eq=False)
class ChunkTask:
    """The computation of one chunk."""

    compute: Callable[..., tuple[Tensor, ...]]
    """Function of `arguments`. All tasks of a list return the same number of tensors."""
    arguments: tuple[Any, ...]
    """Arguments of `compute`. Tensors that require a gradient get one. Weights need not be among them."""
    cost: int
    """Expected time, in a unit that all tasks of a list share."""
    is_kept: bool = True
    """Whether to keep the activations. If not, they are computed again in the backward pass."""
    seed: int = 0
    """Seed of dropout, so that neither the thread nor a second computation changes what is dropped."""
    graph: tuple[list[Tensor], tuple[Tensor, ...]] | None = None
    """Inputs and outputs of the task's own graph, from the forward to the backward pass."""

    def inputs(self) -> list[Tensor]:
        """Return the arguments that require a gradient."""
        return [argument for argument in self.arguments if _requires_grad(argument)]

    def forward(self) -> tuple[Tensor, ...]:
        """Compute the outputs as a part of the caller's graph."""
        if self.is_kept or not torch.is_grad_enabled():
            return self._compute(*self.arguments)
        outputs: tuple[Tensor, ...] = checkpoint(self._compute, *self.arguments, use_reentrant=False)
        return outputs

    def forward_detached(self, records: bool) -> tuple[Tensor, ...]:
        """Compute the outputs outside of the caller's graph.

        Parameters
        ----------
        records : bool
            Whether a backward pass follows. The graph for it is recorded now if activations are kept.
        """
        with torch.set_grad_enabled(records and self.is_kept):
            inputs, outputs = self._compute_detached()
        if records and self.is_kept:
            self.graph = inputs, outputs
        return tuple(output.detach() for output in outputs)

    def backward_detached(
        self, gradients: Sequence[Tensor], weights: list[Tensor]
    ) -> tuple[Gradients, Gradients]:
        """Return the gradients of the inputs and of the weights, and release the graph.

        Parameters
        ----------
        gradients : sequence of Tensor
            Gradients of the outputs.
        weights : list of Tensor
        """
        with torch.enable_grad():
            inputs, outputs = self.graph or self._compute_detached()
        self.graph = None
        # If all weights that an output depends on are frozen, it has no graph.
        learned = [pair for pair in zip(outputs, gradients, strict=True) if pair[0].requires_grad]
        if not learned:
            return [None] * len(inputs), [None] * len(weights)
        outputs, gradients = zip(*learned, strict=True)
        # `grad` and not `backward`, which would add to the `.grad` of shared weights from several threads.
        computed = torch.autograd.grad(outputs, [*inputs, *weights], gradients, allow_unused=True)
        return list(computed[: len(inputs)]), list(computed[len(inputs) :])

    def _compute_detached(self) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        arguments = [
            argument.detach().requires_grad_() if _requires_grad(argument) else argument
            for argument in self.arguments
        ]
        inputs = [argument for argument in arguments if _requires_grad(argument)]
        return inputs, self._compute(*arguments)

    def _compute(self, *arguments: Any) -> tuple[Tensor, ...]:
        with drawing_from(self.seed):
            return self.compute(*arguments)


@contextmanager
def sequential() -> Iterator[None]:
    """Compute chunks in the calling thread, one after another, while the block lasts.

    Use it for tools that see their own thread only, such as torch's modes and hooks on saved tensors.
    """
    before, _thread_state.is_sequential = _thread_state.is_sequential, True
    try:
        yield
    finally:
        _thread_state.is_sequential = before


def compute_chunks(module: nn.Module, tasks: list[ChunkTask]) -> list[tuple[Tensor, ...]]:
    """Compute chunks in parallel, in as many threads as torch has, or one after another where that is unsafe.

    Parameters
    ----------
    module : Module
        Module whose weights the tasks use. During training, dropout is seeded from torch's default generator.
    tasks : list of ChunkTask

    Returns
    -------
    list of tuple of Tensor
        Outputs of each task.
    """
    if module.training:
        for task, seed in zip(tasks, torch.randint(2**63 - 1, (len(tasks),)).tolist(), strict=True):
            task.seed = seed
    if (
        torch.get_num_threads() == 1
        or len(tasks) == 1
        or _thread_state.is_sequential
        or not _is_thread_safe(module)
    ):
        return [task.forward() for task in tasks]
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    # Autograd finds the tensors that require a gradient among the arguments of a function only.
    differentiable = [*(tensor for task in tasks for tensor in task.inputs()), *weights]
    records = torch.is_grad_enabled() and bool(differentiable)
    outputs = _ParallelChunks.apply(tasks, weights, records, *differentiable)
    return _split_by_task(outputs, len(tasks))


def _is_thread_safe(module: nn.Module) -> bool:
    """Return whether a module computes the same in any thread and in any order."""
    is_on_cpu = all(parameter.device.type == "cpu" for parameter in module.parameters())
    # Autocast is a state of the calling thread. Other threads would compute without it.
    return is_on_cpu and not torch.is_autocast_enabled("cpu") and not any(map(_has_hooks, module.modules()))


def _has_hooks(module: nn.Module) -> bool:
    """Return whether a module is compiled, or has hooks, as FSDP and our diagnostics register them.

    Torch has no public way to list hooks.
    """
    forward = module._forward_pre_hooks or module._forward_hooks
    backward = module._backward_pre_hooks or module._backward_hooks
    of_weights = any(parameter._backward_hooks for parameter in module.parameters(recurse=False))
    return bool(forward or backward or of_weights or module._compiled_call_impl)


class _ParallelChunks(torch.autograd.Function):
    """One node of the outer graph, which stands for the graphs of all chunks."""

    @staticmethod
    def forward(
        ctx: Any, tasks: list[ChunkTask], weights: list[Tensor], records: bool, *_differentiable: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.tasks, ctx.weights = tasks, weights
        assigned = _assign(tasks)
        outputs = _in_threads(
            lambda indices: [tasks[index].forward_detached(records) for index in indices], assigned
        )
        return tuple(output for of_task in _in_order(assigned, outputs) for output in of_task)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "parallel chunks have no second derivatives: compute them within "
                "aammodel.nn.parallel.sequential()"
            )
        assigned, by_task = _assign(ctx.tasks), _split_by_task(gradients, len(ctx.tasks))

        def backward_of(indices: list[int]) -> tuple[list[Gradients], Gradients]:
            of_inputs: list[Gradients] = []
            of_weights: Gradients = [None] * len(ctx.weights)
            for index in indices:
                inputs, weights = ctx.tasks[index].backward_detached(by_task[index], ctx.weights)
                of_inputs.append(inputs)
                of_weights = _add(of_weights, weights)
            return of_inputs, of_weights

        of_inputs, of_weights = zip(*_in_threads(backward_of, assigned), strict=True)
        flat = [gradient for of_task in _in_order(assigned, of_inputs) for gradient in of_task]
        # Neither the tasks nor the list of weights nor `records` has a gradient.
        return None, None, None, *flat, *reduce(_add, of_weights)


def _assign(tasks: list[ChunkTask]) -> list[list[int]]:
    """Assign tasks to threads: the most expensive first, each to the thread with the least work so far.

    This is the LPT rule (Graham, "Bounds on multiprocessing timing anomalies", 1969).
    """
    assigned: list[list[int]] = [[] for _ in range(min(torch.get_num_threads(), len(tasks)))]
    loads = [0.0] * len(assigned)
    for index in sorted(range(len(tasks)), key=lambda index: -tasks[index].cost):
        least = loads.index(min(loads))
        assigned[least].append(index)
        loads[least] += tasks[index].cost
    return assigned


def _in_order(assigned: list[list[int]], results: Sequence[list[T]]) -> list[T]:
    """Return the results of all threads in the order of the tasks."""
    by_index = {
        index: result
        for indices, of_thread in zip(assigned, results, strict=True)
        for index, result in zip(indices, of_thread, strict=True)
    }
    return [by_index[index] for index in range(len(by_index))]


def _split_by_task(tensors: tuple[Tensor, ...], number: int) -> list[tuple[Tensor, ...]]:
    size = len(tensors) // number
    return [tensors[first : first + size] for first in range(0, len(tensors), size)]


def _add(first: Gradients, second: Gradients) -> Gradients:
    """Add gradients. None stands for no gradient."""
    return [a if b is None else b if a is None else a + b for a, b in zip(first, second, strict=True)]


def _in_threads(work: Callable[[list[int]], T], assigned: list[list[int]]) -> list[T]:
    """Run `work` on the tasks of each thread."""
    return list(_thread_pool(torch.get_num_threads()).map(work, assigned))


@cache
def _thread_pool(number: int) -> ThreadPoolExecutor:
    """Start threads in each of which torch uses a single thread."""
    pool, barrier = ThreadPoolExecutor(number, "chunks"), threading.Barrier(number)

    def set_up(_: int) -> None:
        # At its first query in a thread, torch overwrites the thread's setting with the default. So query
        # first, then set.
        torch.get_num_threads()
        torch.set_num_threads(1)
        # No thread may take a second task before all threads have been set up.
        barrier.wait()

    list(pool.map(set_up, range(number)))
    # The setting applies to its own thread, but the last one is also the default of new threads. Restore it.
    torch.set_num_threads(number)
    return pool


def _requires_grad(argument: object) -> TypeGuard[Tensor]:
    return isinstance(argument, Tensor) and argument.requires_grad
