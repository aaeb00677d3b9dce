"""How a model is trained, checked where it is made; and `--config FILE.toml`."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args, get_type_hints

from aammodel.config.checks import _check, check_type
from aammodel.distances.metrics import METRICS

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "restarts", "plateau", "one-cycle", "constant"]
Precision = Literal["float32", "bf16", "fp16"]
Sharding = Literal["none", "fsdp"]

_AT_LEAST_ONE = (
    "max_steps",
    "epochs",
    "batch_size",
    "accumulate",
    "token_limit",
    "cycle_steps",
    "validate_every",
    "validation_samples",
    "patience",
    "plateau_patience",
    "checkpoint_every",
    "keep_checkpoints",
    "mask_span",
)
_BETWEEN = {
    "mask_fraction": (0, 1),
    "plateau_factor": (0, 1),
    "learning_rate": (0, math.inf),
    "clip_norm": (0, math.inf),
}
_CHOICES = {
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "precision": get_args(Precision),
    "sharding": get_args(Sharding),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a model is trained."""

    max_steps: int | None = None
    """Optimiser steps; by default those of `epochs`."""
    epochs: int = 50
    """Times that every training sample is seen."""
    batch_size: int = 32
    """Samples of a micro-batch; distances are learned between samples of the same one."""
    accumulate: int = 1
    """Micro-batches of an optimiser step."""
    bucket: bool = False
    """Put samples with about as many ASVs into a batch: less padding, but distances are learned between
    samples of like richness."""
    token_limit: int | None = None
    """Most ASVs of a sample; by default the shards' limit."""
    seed: int = 0
    """Of the weights, the order of samples, the hidden bases and dropout."""
    optimizer: Optimizer = "adamw"
    """What takes the step: adamw, adam or sgd."""
    momentum: float = 0.9
    """Of sgd."""
    learning_rate: float = 2e-3
    """The highest, after the warm-up."""
    schedule: Schedule = "cosine"
    """How the learning rate changes after the warm-up: cosine falls to a hundredth, restarts does so again
    and again, plateau falls where validation stops getting better, constant stays; one-cycle rises over
    three tenths of the run and falls, without another warm-up."""
    cycle_steps: int | None = None
    """Steps from one restart to the next; by default a quarter of the run."""
    plateau_patience: int = 3
    """Validations without a better loss after which plateau reduces the learning rate."""
    plateau_factor: float = 0.5
    """What plateau multiplies the learning rate by."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises from 0, at most a tenth of all steps."""
    weight_decay: float = 0.01
    """Of weight matrices; apart from the gradient in adamw, as a part of it in adam and sgd."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    mask_fraction: float = 0.15
    """Share of each ASV's bases that are hidden and predicted."""
    mask_span: int = 1
    """Neighbouring bases hidden together."""
    asv_encode_fraction: float = 0.1
    """Share of a batch's ASVs, drawn anew at each step, that the transformer over bases reads and learns
    from; the others are known by their bases by position alone. Validation reads all."""
    rarefy_fraction: float = 1.0
    """Share of each sample's reads that are drawn anew at each step, with the true distances of that draw; 1
    takes all. Validation takes all."""
    nucleotide_weight: float = 1.0
    """Weight of the loss of hidden bases."""
    distance_weight: float = 0.3
    """Weight of the loss of distances: their squared error, with the spread of the true ones as unit."""
    targets: dict[str, float] = field(default_factory=lambda: {"unweighted_unifrac": 1.0})
    """Metrics of distance to learn, and the weight of each among them."""
    validate_every: int | None = None
    """Steps between validations; by default an epoch's, but at most 100."""
    validation_samples: int = 128
    """Most samples of a validation."""
    patience: int = 10
    """Validations without a better loss after which training stops."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept: so many of the last ones, and the best."""
    num_workers: int | None = None
    """Processes that read ahead; by default none on a CPU, whose cores the model needs, else two."""
    precision: Precision = "float32"
    """Of products: float32, bf16 or fp16 (whose loss is scaled); weights and losses are float32 always."""
    sharding: Sharding = "none"
    """fsdp cuts weights, gradients and the optimiser's state among the processes that `torchrun` starts, for
    models that outgrow a device."""
    compile: bool = False
    """Compile the transformers: worth its minute or so on a GPU."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(TrainConfig).items():
            check_type(name, kind, getattr(self, name))
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            _check(value is None or value >= 1, name, "be at least 1", value)
        for name, (low, high) in _BETWEEN.items():
            _check(
                low < getattr(self, name) < high, name, f"lie between {low} and {high}", getattr(self, name)
            )
        for name in ("nucleotide_weight", "distance_weight"):
            value = getattr(self, name)
            _check(0 <= value < math.inf, name, "be at least 0 and finite", value)
        loss_weight = self.nucleotide_weight + self.distance_weight
        _check(loss_weight > 0, "nucleotide_weight + distance_weight", "be above 0", loss_weight)
        _check(
            self.num_workers is None or self.num_workers >= 0,
            "num_workers",
            "not be negative",
            self.num_workers,
        )
        _check(-(2**63) <= self.seed < 2**64, "seed", "lie in [-2^63, 2^64)", self.seed)
        for name in ("momentum", "weight_decay"):
            _check(0 <= getattr(self, name) < 1, name, "be at least 0 and below 1", getattr(self, name))
        for name in ("asv_encode_fraction", "rarefy_fraction"):
            _check(0 < getattr(self, name) <= 1, name, "be above 0 and at most 1", getattr(self, name))
        for name, weight in self.targets.items():
            _check(name in METRICS, "targets", f"be among {', '.join(METRICS)}", repr(name))
            check_type(f"target {name}", float, weight)
            _check(0 < weight < math.inf, f"target {name}", "have a weight above 0", weight)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            _check(value in choices, name, f"be one of {', '.join(choices)}", repr(value))
        is_drawn = self.rarefy_fraction < 1 and any(METRICS[name].over == "matrix" for name in self.targets)
        rule = "be 1 with the target precomputed, whose matrix is that of whole samples"
        _check(not is_drawn, "rarefy_fraction", rule, self.rarefy_fraction)
        is_scaled = self.precision == "fp16" and self.sharding == "fsdp"
        _check(not is_scaled, "precision", "be float32 or bf16 with sharding", "fp16")
