"""Methods of training for `step.py`, each in a child process of its own that takes a step on request.

With one thread, time is processor time, which other programs on the machine change little.
"""

import ctypes
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig
from aammodel.data.shards import open_shards
from aammodel.nn.model import AamModel
from aammodel.objectives.base import ForwardPass
from aammodel.objectives.distances import DistanceObjective
from aammodel.objectives.nucleotides import NucleotideObjective
from aammodel.training.optimizer import make_optimizer

from .child_processes import Answer
from .operation_counts import measured_speed, needed_by_step
from .plain_transformer import PlainModel, loss, pad
from .workloads import first_batch

PLAIN_ARCHITECTURE = {"bases_per_position": 1, "bases_by_position": False, "kmers": False}
"""Model options of the plain architecture: one position per base, and no network over bases."""
DISTANCE_WEIGHT = 10.0
WARM_SAMPLES, WARM_ASVS = 2, 8
HELD_BYTES = 2.5e9
PART_SAMPLES = 4
"""Number of samples in a step of the plain transformer. It encodes every ASV of every sample, so its time is
proportional to the real slots, and is scaled up by them."""


@dataclass(frozen=True)
class Method:
    """A method of training."""

    model: dict[str, object] = field(default_factory=dict)
    """Options that differ from the default configuration."""
    asv_encode_fraction: float = 1.0
    plain_dropout: float | None = None
    """With a value, the model is computed by the plain transformer with this dropout."""


METHODS = {
    "plain": Method(PLAIN_ARCHITECTURE, plain_dropout=0.1),
    "plain, no dropout": Method(PLAIN_ARCHITECTURE, plain_dropout=0.0),
    "ours": Method(asv_encode_fraction=TrainConfig().asv_encode_fraction),
    "ours, all ASVs encoded": Method(),
    "like for like, same dropout": Method(PLAIN_ARCHITECTURE | {"dropout": 0.1, "inner_dropout": 0.1}),
    "like for like, no dropout": Method(PLAIN_ARCHITECTURE),
}


class Stages:
    """Seconds and peak memory of each stage of a step."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}
        self.peak_bytes: dict[str, int] = {}

    def run(self, name: str, work: Callable[[], torch.Tensor | None]) -> torch.Tensor | None:
        """Do the work of a stage, and record its time and memory."""
        # Linux: this resets the high-water mark of resident memory.
        Path("/proc/self/clear_refs").write_text("5")
        start = self.clock()
        value = work()
        self.seconds[name] = self.clock() - start
        self.peak_bytes[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return value


def steps(name: str, shards: Path, batch_size: int, threads: int) -> Iterator[Answer]:
    """Make the batch and the model, and warm up; then take a step for each answer."""
    torch.set_num_threads(threads)
    stages, method = Stages(time.process_time if threads == 1 else time.perf_counter), METHODS[name]
    whole = batch = first_batch(shards, batch_size, method.asv_encode_fraction, None)
    if method.plain_dropout is not None:
        batch = first_batch(shards, min(batch_size, PART_SAMPLES), method.asv_encode_fraction, None)
    fraction = int(batch.is_real.sum()) / int(whole.is_real.sum())
    warm = first_batch(shards, WARM_SAMPLES, method.asv_encode_fraction, WARM_ASVS)
    torch.manual_seed(0)
    config = ModelConfig(sequence_length=open_shards(shards).manifest.sequence_length, **method.model)
    model = AamModel(config)
    model.init_from_batch(warm)
    if method.plain_dropout is None:
        trained, compute = model, lambda batch: _our_loss(model, batch)
    else:
        trained = plain = PlainModel(model, method.plain_dropout)
        compute = lambda batch: _plain_loss(plain, batch)  # noqa: E731
    optimizer = make_optimizer(trained, TrainConfig())
    _step(trained, optimizer, lambda: compute(warm), Stages())
    yield _facts(whole)
    while True:
        speed = measured_speed(stages.clock)
        _step(trained, optimizer, lambda: compute(batch), stages)
        update = stages.seconds["update"]
        scaled = {name: seconds / fraction for name, seconds in stages.seconds.items()} | {"update": update}
        seconds = sum(scaled.values())
        yield {
            "seconds": seconds,
            "stages": scaled,
            "peak_bytes": stages.peak_bytes,
            "efficiency": needed_by_step(config, whole) / seconds / speed,
            "operations": needed_by_step(config, whole),
            "speed": speed,
        }


def _our_loss(model: AamModel, batch: Batch) -> torch.Tensor:
    forward = ForwardPass(model, batch, model(batch))
    bases, distances = (
        NucleotideObjective(1.0),
        DistanceObjective(1.0, dict.fromkeys(model.config.targets, 1.0)),
    )
    nucleotide = bases.loss_sum(forward) / bases.denominator(batch)
    distance = (distances.loss_sum(forward) / distances.denominator(batch).clamp_min(1)).sum()
    return nucleotide + DISTANCE_WEIGHT * distance


def _plain_loss(model: PlainModel, batch: Batch) -> torch.Tensor:
    padded = pad(batch)
    return loss(model(padded), padded, DISTANCE_WEIGHT)


def _step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    compute: Callable[[], torch.Tensor],
    stages: Stages,
) -> None:
    model.train()
    value = stages.run("forward", compute)
    stages.run("backward", value.backward)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    stages.run("update", lambda: optimizer.step())
    optimizer.zero_grad(set_to_none=True)
    # A process that holds much memory gives it back while it waits for its turn (glibc). The others keep it,
    # as in training: a step that has to ask the system for all of its memory takes a sixth longer.
    if max(stages.peak_bytes.values()) > HELD_BYTES:
        ctypes.CDLL(None).malloc_trim(0)


def _facts(batch: Batch) -> Answer:
    num_real = int(batch.is_real.sum())
    return {
        "samples": batch.num_samples,
        "real": num_real,
        "distinct": len(batch.tokens),
        "read": int(batch.is_encoded.sum()),
        "tokens": batch.tokens.shape[1],
    }
