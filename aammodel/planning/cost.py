"""Estimate the cost of a run: operations and memory are counted, time is measured on two steps."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from aammodel.batch import Batch
from aammodel.data.stream import BatchStream
from aammodel.nn.model import AamModel
from aammodel.nn.parallel import sequential
from aammodel.training.precision import Precision
from aammodel.training.throughput import peak_bytes, reset_peak
from aammodel.training.trainer import Trainer

STEPS_TO_MEASURE = 2
SAMPLES_TO_COUNT = 8
"""Number of samples on which the operations of other sizes are counted."""
BYTES_PER_PARAMETER = 16
"""Four float32 values per parameter: weight, gradient, and two moments of the optimizer."""
TOKEN_LIMITS = (64, 128, 256, 512, 1024)
"""Token limits for which the cost is estimated, if they are below that of the run."""
WIDTHS = (0.5, 2)
"""Widths for which the cost is estimated, as multiples of the run's width."""


@dataclass(frozen=True)
class Size:
    """Cost of a step that does not depend on the machine."""

    token_limit: int
    width: int
    parameters: int
    operations: float
    """Floating-point operations of the matrix products of a step, forward and backward."""
    memory_bytes: int
    """Memory for weights, gradients, optimizer state and the activations saved for the backward pass."""


@dataclass(frozen=True)
class Estimate:
    """Cost of a run on this machine."""

    device: str
    num_samples: int
    num_steps: int
    num_validations: int
    size: Size
    seconds_per_step: float
    data_seconds_per_step: float
    """Time to make the batches of a step. Workers, if there are any, do this during the step before."""
    seconds_per_validation: float
    peak_bytes: int
    """Peak memory in the measured steps: that of the process on a CPU, that of all tensors on a GPU."""
    is_read_ahead: bool
    """Whether workers make batches during the step before."""
    growth: list[Size]
    """Cost of the same run with other token limits and widths."""

    @property
    def seconds(self) -> float:
        """Duration of the whole run in seconds, if it is not stopped early."""
        return self.seconds_at(self.size)

    def seconds_at(self, size: Size) -> float:
        """Return the duration in seconds of a run of another size, if time is proportional to operations."""
        waited = 0.0 if self.is_read_ahead else self.data_seconds_per_step
        compute = self.num_steps * self.seconds_per_step + self.num_validations * self.seconds_per_validation
        return compute * size.operations / self.size.operations + self.num_steps * waited


def estimate(trainer: Trainer) -> Estimate:
    """Compute a few steps of a new run, and estimate the cost of the whole run.

    Nothing is written to disk.

    Parameters
    ----------
    trainer : Trainer
        Trainer of a run that has not begun. Its weights are changed, so do not use it afterwards.

    Returns
    -------
    Estimate
    """
    stream, config = trainer.train_stream, trainer.config
    device = trainer.device
    reset_peak(device)
    made, data_seconds = _timed_batches(stream, device)
    # The first micro-batch is not timed, since some of its work is done only once.
    with _record_saved() as saved:
        _step_seconds(trainer, made[0][:1])
    seconds = [_step_seconds(trainer, batches) for batches in made[1:]]
    peak = peak_bytes(device)
    size = _size(trainer, made[0][0], saved.bytes)
    every = config.validate_every or min(stream.steps_per_epoch, 100)
    workers = config.num_workers if config.num_workers is not None else int(device.type == "cuda")
    return Estimate(
        device=str(device),
        num_samples=stream.order.num_samples,
        num_steps=trainer.num_steps,
        num_validations=1 + math.ceil(trainer.num_steps / every) if trainer.validation else 0,
        size=size,
        seconds_per_step=sum(seconds) / STEPS_TO_MEASURE,
        data_seconds_per_step=data_seconds,
        seconds_per_validation=_validation_seconds(trainer),
        peak_bytes=peak,
        is_read_ahead=workers > 0,
        growth=_growth(trainer, size, saved.bytes),
    )


def _size(trainer: Trainer, batch: Batch, saved_bytes: int) -> Size:
    config, stream = trainer.model.config, trainer.train_stream
    parameters = _num_parameters(trainer.model)
    operations = _operations(trainer.model, batch, trainer.stepper.precision) * stream.batches_per_step
    return Size(
        stream.token_limit,
        config.width,
        parameters,
        operations,
        BYTES_PER_PARAMETER * parameters + saved_bytes,
    )


def _growth(trainer: Trainer, size: Size, saved_bytes: int) -> list[Size]:
    """Estimate the cost of other sizes from the operations of a few samples.

    The activations saved for the backward pass grow as the operations do, except that they grow linearly with
    the width, and the operations quadratically.
    """
    stream = trainer.train_stream
    samples = list(islice(stream.samples(), SAMPLES_TO_COUNT))
    config, precision = trainer.model.config, trainer.stepper.precision
    limits = sorted({limit for limit in TOKEN_LIMITS if limit < stream.token_limit} | {stream.token_limit})
    widths = [int(config.width * factor) for factor in WIDTHS]
    others = [(limit, config.width) for limit in limits]
    others += [(stream.token_limit, width) for width in widths if width % config.attention_heads == 0]
    own_operations = _operations(trainer.model, stream.collator(samples).to(precision.device), precision)
    sizes = []
    for limit, width in others:
        model = AamModel(replace(config, width=width)).to(precision.device)
        batch = replace(stream.collator, token_limit=limit)(samples).to(precision.device)
        ratio, parameters = _operations(model, batch, precision) / own_operations, _num_parameters(model)
        saved = round(saved_bytes * ratio * config.width / width)
        memory = BYTES_PER_PARAMETER * parameters + saved
        sizes.append(Size(limit, width, parameters, size.operations * ratio, memory))
    return sizes


@torch.no_grad()
def _operations(model: AamModel, batch: Batch, precision: Precision) -> float:
    """Return three times the operations of a forward pass.

    In the backward pass, each matrix product leads to two: one for each of its factors.
    """
    model.train()
    with sequential(), FlopCounterMode(display=False) as counter, precision.autocast():
        model(batch)
    return 3.0 * counter.get_total_flops()


def _num_parameters(model: AamModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass
class _SavedMemory:
    """Memory of the tensors that autograd saves for the backward pass. Each block counts once."""

    blocks: dict[int, int] = field(default_factory=dict)
    """Size of each block in bytes, by its address."""

    def note(self, tensor: Tensor) -> Tensor:
        """Note a saved tensor, unless it is a weight. Weights are counted as parameters."""
        if not tensor.is_leaf or not tensor.requires_grad:
            storage = tensor.untyped_storage()
            self.blocks[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """Size of all blocks."""
        return sum(self.blocks.values())


@contextmanager
def _record_saved() -> Iterator[_SavedMemory]:
    saved = _SavedMemory()
    # The hooks are local to a thread. So chunks must be computed in this one.
    with sequential(), saved_tensors_hooks(saved.note, lambda tensor: tensor):
        yield saved


def _timed_batches(stream: BatchStream, device: torch.device) -> tuple[list[list[Batch]], float]:
    """Return the batches of each step, and the mean time to make those of one step.

    The first step is left out of the mean, since it includes the opening of files and the start of workers.
    """
    batches, steps, seconds = iter(stream), [], []
    for _ in range(STEPS_TO_MEASURE + 1):
        started = time.perf_counter()
        steps.append([batch.to(device) for batch in islice(batches, stream.batches_per_step)])
        seconds.append(time.perf_counter() - started)
    return steps, sum(seconds[1:]) / STEPS_TO_MEASURE


def _step_seconds(trainer: Trainer, batches: list[Batch]) -> float:
    started = time.perf_counter()
    trainer.stepper.backward(batches)
    trainer.stepper.update(trainer.config.learning_rate / 100)
    _finish(trainer.device)
    return time.perf_counter() - started


def _validation_seconds(trainer: Trainer) -> float:
    if not trainer.validation:
        return 0.0
    started = time.perf_counter()
    trainer.stepper.measure(trainer.validation[:1])
    _finish(trainer.device)
    return (time.perf_counter() - started) * len(trainer.validation)


def _finish(device: torch.device) -> None:
    # CUDA computes asynchronously. A time that is taken before it has finished would be too short.
    if device.type == "cuda":
        torch.cuda.synchronize(device)
