"""What a run would cost: its operations and memory counted, its time measured on two steps."""

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
from aammodel.training.throughput import forget_peak, peak_bytes
from aammodel.training.trainer import Trainer

STEPS_TO_MEASURE = 2
SAMPLES_TO_COUNT = 8
"""On which operations of other sizes are compared."""
BYTES_PER_PARAMETER = 16
"""Weight, gradient and two moments of the optimiser, in float32."""
TOKEN_LIMITS = (64, 128, 256, 512, 1024)
WIDTHS = (0.5, 2)
"""Other widths, in multiples of the configured one."""


@dataclass(frozen=True)
class Size:
    """What a step takes, whatever the machine."""

    token_limit: int
    width: int
    parameters: int
    operations: float
    """Of a step, forwards and backwards: multiplications and additions of its products."""
    memory_bytes: int
    """Weights, what training keeps for each, and what the forward pass keeps for the backward one."""


@dataclass(frozen=True)
class Estimate:
    """What a run would take on this machine."""

    device: str
    num_samples: int
    num_steps: int
    num_validations: int
    size: Size
    seconds_per_step: float
    data_seconds_per_step: float
    """To make the batches of a step: workers do so meanwhile, where there are any."""
    seconds_per_validation: float
    peak_bytes: int
    """Most memory in use at the steps measured: of the process on a CPU, of tensors on a GPU."""
    is_read_ahead: bool
    """Whether workers make batches meanwhile."""
    growth: list[Size]
    """The same run at other token limits, and with other widths."""

    @property
    def seconds(self) -> float:
        """Time of the whole run, if nothing stops it early."""
        return self.seconds_at(self.size)

    def seconds_at(self, size: Size) -> float:
        """Time of a run of another size, if time grows as operations do."""
        waited = 0.0 if self.is_read_ahead else self.data_seconds_per_step
        compute = self.num_steps * self.seconds_per_step + self.num_validations * self.seconds_per_validation
        return compute * size.operations / self.size.operations + self.num_steps * waited


def estimate(trainer: Trainer) -> Estimate:
    """Take a few steps of a run that has not begun, and reckon what the whole would take.

    Nothing is written; the trainer's weights are not of use afterwards.
    """
    stream, config = trainer.train_stream, trainer.config
    device = trainer.device
    forget_peak(device)
    made, data_seconds = _timed_batches(stream, device)
    # The first micro-batch pays for what is done once, and is not timed.
    with _kept() as kept:
        _step_seconds(trainer, made[0][:1])
    seconds = [_step_seconds(trainer, batches) for batches in made[1:]]
    peak = peak_bytes(device)
    size = _size(trainer, made[0][0], kept.bytes)
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
        growth=_growth(trainer, size, kept.bytes),
    )


def _size(trainer: Trainer, batch: Batch, kept_bytes: int) -> Size:
    config, stream = trainer.model.config, trainer.train_stream
    parameters = _num_parameters(trainer.model)
    operations = _operations(trainer.model, batch, trainer.stepper.precision) * stream.batches_per_step
    return Size(
        stream.token_limit,
        config.width,
        parameters,
        operations,
        BYTES_PER_PARAMETER * parameters + kept_bytes,
    )


def _growth(trainer: Trainer, size: Size, kept_bytes: int) -> list[Size]:
    """Reckon other sizes from how the operations of a few samples grow.

    What is kept for the backward pass grows as operations do, but with the width itself, not its square.
    """
    stream = trainer.train_stream
    samples = list(islice(stream.samples(), SAMPLES_TO_COUNT))
    config, precision = trainer.model.config, trainer.stepper.precision
    limits = sorted({one for one in TOKEN_LIMITS if one < stream.token_limit} | {stream.token_limit})
    widths = [int(config.width * factor) for factor in WIDTHS]
    others = [(limit, config.width) for limit in limits]
    others += [(stream.token_limit, width) for width in widths if width % config.attention_heads == 0]
    here = _operations(trainer.model, stream.collator(samples).to(precision.device), precision)
    sizes = []
    for limit, width in others:
        model = AamModel(replace(config, width=width)).to(precision.device)
        batch = replace(stream.collator, token_limit=limit)(samples).to(precision.device)
        share, parameters = _operations(model, batch, precision) / here, _num_parameters(model)
        kept = round(kept_bytes * share * config.width / width)
        memory = BYTES_PER_PARAMETER * parameters + kept
        sizes.append(Size(limit, width, parameters, size.operations * share, memory))
    return sizes


@torch.no_grad()
def _operations(model: AamModel, batch: Batch, precision: Precision) -> float:
    """Count the operations of a forward pass three times: backwards, each product makes two."""
    model.train()
    with sequential(), FlopCounterMode(display=False) as counter, precision.autocast():
        model(batch)
    return 3.0 * counter.get_total_flops()


def _num_parameters(model: AamModel) -> int:
    return sum(one.numel() for one in model.parameters())


@dataclass
class _Kept:
    """Memory that the backward pass needs, each block once."""

    blocks: dict[int, int] = field(default_factory=dict)

    def note(self, tensor: Tensor) -> Tensor:
        """Note what autograd saves; blocks of weights are no activations."""
        if not tensor.is_leaf or not tensor.requires_grad:
            storage = tensor.untyped_storage()
            self.blocks[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """All of them."""
        return sum(self.blocks.values())


@contextmanager
def _kept() -> Iterator[_Kept]:
    kept = _Kept()
    with sequential(), saved_tensors_hooks(kept.note, lambda tensor: tensor):
        yield kept


def _timed_batches(stream: BatchStream, device: torch.device) -> tuple[list[list[Batch]], float]:
    """Make the batches of the steps, and measure how long one step's take; the first pays for opening."""
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
    if device.type == "cuda":
        torch.cuda.synchronize(device)
