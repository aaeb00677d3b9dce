"""Hooks on every module of a model that record its tensors, forward and backward.

Inputs and outputs of modules are passed on as views. The gradient of a view is that of one use of a tensor.
So a gradient that a module made non-finite is distinguished from one that came from another branch.
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

_MORE_THAN_MODULES = 1_000_000
"""A number larger than that of the modules of any model."""


@dataclass(frozen=True)
class TensorLocation:
    """Module, call and micro-batch to which a tensor belongs."""

    module: str
    """Name of the module. It is empty for the model itself."""
    part: str
    """OUTPUT or INPUT of a module, the name of one of its parameters, or a field of the model's output.
    CHANGED is the gradient of an output after a hook of somebody else changed it."""
    batch: int
    """Index of the micro-batch in the step."""
    call: int
    """Number of earlier calls of the module in this micro-batch. A module is called once per chunk."""


@dataclass(frozen=True)
class FirstNonFinite:
    """The first tensor of a step with a non-finite value."""

    direction: Direction
    location: TensorLocation
    statistics: TensorStatistics
    is_nonfinite: Bool[Tensor, "..."]
    """True for non-finite values, with the shape of the tensor, on the CPU."""
    after: str
    """Name of the module that finished last before it."""
    is_of_loss: bool
    """Whether it is a gradient that an objective passed to a module that it had called itself."""
    order: int
    """Order within the step: smaller is earlier. Ranks can compare it, although their numbers of chunks
    differ."""


@dataclass
class ModuleRecord:
    """Outputs and gradients of one module in a step, over all of its calls."""

    name: str
    kind: str
    """Name of its class."""
    num_calls: int = 0
    outputs: list[TensorStatistics] = field(default_factory=list)
    gradient_square: float | None = None
    """Sum of squares of the gradient of its outputs. None if there was no gradient."""
    weight_gradient_square: float | None = None
    """Sum of squares of the gradient of its own parameters. None if there was no gradient."""

    def unscale(self, scale: float) -> None:
        """Divide the gradients by the factor of loss scaling."""
        for name in ("gradient_square", "weight_gradient_square"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value / scale**2)


class ModuleRecorder:
    """Record the tensors of every module of a model within a `with` block.

    Parameters
    ----------
    model : Module
        Each call of its `forward` is one micro-batch of the step.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.first: FirstNonFinite | None = None
        """The first non-finite tensor, or None."""
        self.records: dict[str, ModuleRecord] = {}
        """Records by name, in the order in which the modules finished."""
        self._handles: list[RemovableHandle] = []
        self._compiled: dict[nn.Module, Callable[..., Any] | None] = {}
        self._calls: dict[str, int] = {}
        self._with_gradient: set[str] = set()
        self._batch = -1
        self._is_forward = False
        self._has_ended = False
        self._called_by_losses: set[str] = set()
        self._last_finished = ""

    def __enter__(self) -> Self:
        # A compiled module does not call the hooks of its submodules. So it runs uncompiled here.
        self._compiled = {module: module._compiled_call_impl for module in self.model.modules()}
        for module in self._compiled:
            module._compiled_call_impl = None
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
        for module, compiled in self._compiled.items():
            module._compiled_call_impl = compiled

    @property
    def first_is_forward(self) -> bool:
        """Whether the first non-finite tensor appeared in the forward pass."""
        return self.first is not None and self.first.direction == "forward"

    def _begin(self, model: nn.Module, inputs: object) -> None:
        self._batch += 1
        self._calls, self._with_gradient = {}, set()
        self._is_forward, self._has_ended = True, False

    def _end(self, model: nn.Module, inputs: object, output: object) -> object:
        """Inspect the fields of the model's output. Each counts as a part of the model itself."""
        # Objectives call heads of the model after this. These calls are part of the same forward pass.
        self._has_ended = True
        changed = {}
        for output_field in fields(output) if is_dataclass(output) else ():
            location = TensorLocation("", output_field.name, self._batch, 0)
            changed[output_field.name] = self._tap(location, getattr(output, output_field.name))
        return replace(output, **changed) if changed else output  # type: ignore[type-var]

    def _enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        # Activation checkpointing computes chunks again in the backward pass. They are recorded already.
        if not self._is_forward:
            return None
        location = TensorLocation(name, INPUT, self._batch, self._calls.get(name, 0))
        return tuple(_map_tensors(value, partial(self._tap_input, location)) for value in inputs)

    def _leave(self, name: str, module: nn.Module, inputs: object, output: object) -> object:
        if not self._is_forward:
            return None
        record = self.records.setdefault(name, ModuleRecord(name, type(module).__name__))
        location = TensorLocation(name, OUTPUT, self._batch, self._calls.get(name, 0))
        record.num_calls += 1
        output = _map_tensors(output, partial(self._tap, location))
        self._calls[name] = location.call + 1
        if self._has_ended:
            self._called_by_losses.add(name)
        self._last_finished = name
        return output

    def _tap_input(self, location: TensorLocation, tensor: Tensor) -> Tensor:
        """Inspect an input of a module that was computed. Values of the batch itself have their own rules."""
        if not tensor.requires_grad:
            return tensor
        self._inspect("forward", location, tensor)
        view = tensor.view_as(tensor)
        view.register_hook(partial(self._inspect, "backward", location))
        return view

    def _tap(self, location: TensorLocation, tensor: Tensor) -> Tensor:
        statistics = describe(tensor)
        if location.module:
            self.records[location.module].outputs.append(statistics)
        if statistics.fraction_finite not in (None, 1.0):
            self._note("forward", location, tensor, statistics)
        if not tensor.requires_grad:
            return tensor
        view = tensor.view_as(tensor)
        view.register_hook(partial(self._see_gradient, location))
        # Hooks of a tensor run in the order of registration. So this one sees the gradient after a backward
        # hook of the module, registered before, has changed it. The change is attributed to this module.
        tensor.register_hook(partial(self._inspect, "backward", replace(location, part=CHANGED)))
        return view

    def _see_gradient(self, location: TensorLocation, gradient: Tensor) -> None:
        # Losses depend on the encoders only through the model's output, whose gradient comes first. So this
        # is False before the backward pass recomputes a chunk of ASVs.
        self._is_forward = False
        self._with_gradient.add(location.module)
        if location.module:
            record = self.records[location.module]
            record.gradient_square = (record.gradient_square or 0.0) + _square(gradient)
        self._inspect("backward", location, gradient)

    def _see_weight_gradient(self, name: str, part: str, gradient: Tensor) -> None:
        if name in self.records:
            record = self.records[name]
            record.weight_gradient_square = (record.weight_gradient_square or 0.0) + _square(gradient)
        self._inspect("backward", TensorLocation(name, part, self._batch, 0), gradient)

    def _inspect(self, direction: Direction, location: TensorLocation, tensor: Tensor) -> None:
        # Detached, since autograd must save the same tensors when a chunk is recomputed.
        if self.first is None and not tensor.detach().isfinite().all():
            self._note(direction, location, tensor, describe(tensor))

    def _note(
        self, direction: Direction, location: TensorLocation, tensor: Tensor, statistics: TensorStatistics
    ) -> None:
        if self.first is None:
            is_nonfinite = ~tensor.detach().isfinite().cpu()
            is_backward = direction == "backward"
            # Modules that were called are counted, not calls: the number of chunks differs between ranks.
            num_modules = len(self._with_gradient) if is_backward else len(self._calls)
            self.first = FirstNonFinite(
                direction=direction,
                location=location,
                statistics=statistics,
                is_nonfinite=is_nonfinite,
                after=self._last_finished,
                is_of_loss=is_backward and location.part == OUTPUT and self._is_outermost(location.module),
                order=(2 * self._batch + is_backward) * _MORE_THAN_MODULES + num_modules,
            )

    def _is_outermost(self, name: str) -> bool:
        """Return whether an objective called a module itself, rather than a module that contains it."""
        is_inside = any(name.startswith(f"{other}.") for other in self._called_by_losses)
        return name in self._called_by_losses and not is_inside


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64)) ** 2


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every floating-point tensor in an input or output of a module."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return type(value)(_map_tensors(item, change) for item in value)
    if is_dataclass(value) and not isinstance(value, Batch | type):
        names = [item.name for item in fields(value)]
        return replace(value, **{name: _map_tensors(getattr(value, name), change) for name in names})
    return value
