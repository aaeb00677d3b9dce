"""Hooks on every module of a model, which see each number on its way, forward and backward.

What a module takes and gives is handed on as a view, whose gradient is that of this one use: a gradient that
stops being finite is told apart from one that came so from another branch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from aammodel.batch import Batch
from aammodel.diagnostics.statistics import TensorStatistics, describe

Direction = Literal["forward", "backward"]
OUTPUT, INPUT, CHANGED = "output", "input", "changed output"

_MANY = 1_000_000
"""More than any model has modules."""


@dataclass(frozen=True)
class Passage:
    """One tensor on its way through the model."""

    module: str
    """Name of the module; empty for the model itself."""
    part: str
    """OUTPUT or INPUT of a module, the name of one of its parameters, or a field of the model's output;
    CHANGED for a gradient that a hook from outside changed."""
    batch: int
    """Micro-batch of the step."""
    call: int
    """How often the module had been called before, in this micro-batch: ASVs come in chunks."""


@dataclass(frozen=True)
class Birth:
    """The first tensor that was seen not to be finite."""

    direction: Direction
    passage: Passage
    statistics: TensorStatistics
    is_bad: Bool[Tensor, "..."]
    """True where a number is not finite."""
    after: str
    """The module that had finished last."""
    is_of_loss: bool
    """True for a gradient that came from an objective, by a module that it called after the model."""
    when: int
    """The earlier in the step, the smaller; several ranks, whose chunks differ in number, can compare it."""


@dataclass
class Seen:
    """What went through one module in a step, all of its calls together."""

    name: str
    kind: str
    num_calls: int = 0
    outputs: list[TensorStatistics] = field(default_factory=list)
    gradient_square: float | None = None
    """Sum of squares of the gradient of what it gave; None where no gradient came by."""
    weight_gradient_square: float | None = None
    """Sum of squares of the gradient of its own parameters."""

    def unscale(self, scale: float) -> None:
        """Take the factor of loss scaling out of the gradients."""
        for name in ("gradient_square", "weight_gradient_square"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value / scale**2)


class Watch:
    """Watches a model while it is used within a `with`: what went through each module, and what was born.

    Parameters
    ----------
    model : Module
        Its `forward` takes a `Batch`; each call is a micro-batch of the step.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.first: Birth | None = None
        """Where a number first stopped being finite."""
        self.seen: dict[str, Seen] = {}
        """By name, in the order in which modules finished."""
        self._handles: list[RemovableHandle] = []
        self._compiled: dict[nn.Module, Callable[..., Any] | None] = {}
        self._calls: dict[str, int] = {}
        self._met: set[str] = set()
        self._batch = -1
        self._is_forward = False
        self._has_ended = False
        self._of_losses: set[str] = set()
        self._finished = ""

    def __enter__(self) -> Self:
        # A compiled module hides its parts.
        self._compiled = {one: one._compiled_call_impl for one in self.model.modules()}
        for one in self._compiled:
            one._compiled_call_impl = None
        self._handles.append(self.model.register_forward_pre_hook(self._begin))
        for name, module in self.model.named_modules():
            if name:
                self._handles.append(module.register_forward_pre_hook(partial(self._enter, name)))
                self._handles.append(module.register_forward_hook(partial(self._leave, name)))
            for part, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad:
                    hook = partial(self._see_weight_gradient, name, part)
                    self._handles.append(parameter.register_hook(hook))
        self._handles.append(self.model.register_forward_hook(self._end))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        for one, compiled in self._compiled.items():
            one._compiled_call_impl = compiled

    @property
    def first_is_forward(self) -> bool:
        """True where no gradient was the first."""
        return self.first is not None and self.first.direction == "forward"

    def _begin(self, model: nn.Module, inputs: object) -> None:
        self._batch += 1
        self._calls, self._met = {}, set()
        self._is_forward, self._has_ended = True, False

    def _end(self, model: nn.Module, inputs: object, output: object) -> object:
        """Look at the fields of the model's output, each as a part of the model itself.

        Objectives call heads of the model after this, as a part of the same forward pass.
        """
        self._has_ended = True
        changed = {}
        for one in fields(output) if is_dataclass(output) else ():
            passage = Passage("", one.name, self._batch, 0)
            changed[one.name] = self._tap(passage, getattr(output, one.name))
        return replace(output, **changed) if changed else output  # type: ignore[type-var]

    def _enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        # A chunk that is computed again in the backward pass was seen before.
        if not self._is_forward:
            return None
        passage = Passage(name, INPUT, self._batch, self._calls.get(name, 0))
        return tuple(_mapped(one, partial(self._tap_input, passage)) for one in inputs)

    def _leave(self, name: str, module: nn.Module, inputs: object, output: object) -> object:
        if not self._is_forward:
            return None
        seen = self.seen.setdefault(name, Seen(name, type(module).__name__))
        passage = Passage(name, OUTPUT, self._batch, self._calls.get(name, 0))
        seen.num_calls += 1
        output = _mapped(output, partial(self._tap, passage))
        self._calls[name] = passage.call + 1
        if self._has_ended:
            self._of_losses.add(name)
        self._finished = name
        return output

    def _tap_input(self, passage: Passage, tensor: Tensor) -> Tensor:
        """Look at what a module takes of what was computed; what the batch holds is checked elsewhere."""
        if not tensor.requires_grad:
            return tensor
        self._look("forward", passage, tensor)
        view = tensor.view_as(tensor)
        view.register_hook(partial(self._look, "backward", passage))
        return view

    def _tap(self, passage: Passage, tensor: Tensor) -> Tensor:
        statistics = describe(tensor)
        if passage.module:
            self.seen[passage.module].outputs.append(statistics)
        if statistics.share_finite not in (None, 1.0):
            self._note("forward", passage, tensor, statistics)
        if not tensor.requires_grad:
            return tensor
        view = tensor.view_as(tensor)
        view.register_hook(partial(self._see_gradient, passage))
        # After whatever a hook from outside did to the gradient, which is then laid to this module.
        tensor.register_hook(partial(self._look, "backward", replace(passage, part=CHANGED)))
        return view

    def _see_gradient(self, passage: Passage, gradient: Tensor) -> None:
        # A loss depends on the encoders by the model's output alone, whose gradients come before any of
        # theirs. So this is False before the backward pass computes a chunk of ASVs again.
        self._is_forward = False
        self._met.add(passage.module)
        if passage.module:
            seen = self.seen[passage.module]
            seen.gradient_square = (seen.gradient_square or 0.0) + _square(gradient)
        self._look("backward", passage, gradient)

    def _see_weight_gradient(self, name: str, part: str, gradient: Tensor) -> None:
        if name in self.seen:
            seen = self.seen[name]
            seen.weight_gradient_square = (seen.weight_gradient_square or 0.0) + _square(gradient)
        self._look("backward", Passage(name, part, self._batch, 0), gradient)

    def _look(self, direction: Direction, passage: Passage, tensor: Tensor) -> None:
        # Detached: what autograd keeps must be the same when a chunk is computed again.
        if self.first is None and not tensor.detach().isfinite().all():
            self._note(direction, passage, tensor, describe(tensor))

    def _note(
        self, direction: Direction, passage: Passage, tensor: Tensor, statistics: TensorStatistics
    ) -> None:
        if self.first is None:
            is_bad = ~tensor.detach().isfinite().cpu()
            is_backward = direction == "backward"
            num_seen = len(self._met) if is_backward else len(self._calls)
            when = (2 * self._batch + is_backward) * _MANY + num_seen
            is_of_loss = is_backward and passage.part == OUTPUT and self._is_outermost(passage.module)
            self.first = Birth(direction, passage, statistics, is_bad, self._finished, is_of_loss, when)

    def _is_outermost(self, name: str) -> bool:
        """Return whether an objective called a module itself, not another module that it is a part of."""
        is_inside = any(name.startswith(f"{other}.") for other in self._of_losses)
        return name in self._of_losses and not is_inside


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64)) ** 2


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change every floating-point tensor in what a module takes or gives."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return type(value)(_mapped(one, change) for one in value)
    if is_dataclass(value) and not isinstance(value, Batch | type):
        return replace(
            value, **{one.name: _mapped(getattr(value, one.name), change) for one in fields(value)}
        )
    return value
