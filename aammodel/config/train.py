"""Configuration of a training run.

`TrainConfig` consists of small classes, one for each part of training, and each checks its own values. All
keys are keys of `TrainConfig` itself: `TrainConfig(learning_rate=1e-3)`, `config.learning_rate`,
`learning_rate = 1e-3` below `[train]` in a TOML file, and `"learning_rate"` in `config.json` are the same
value under one name. `dataclasses.replace` and `dataclasses.asdict` work as usual. A function that needs one
part only can ask for that part, as `make_optimizer(model, config: OptimizerConfig)` does, and be given a
`TrainConfig`.
"""

import math
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from aam_schemas.common.text import shorten
from aammodel.config.checks import check_most, check_type, check_types, require
from aammodel.distances.metrics import METRICS

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "restarts", "plateau", "one-cycle", "constant"]
Precision = Literal["float32", "bf16", "fp16"]
Sharding = Literal["none", "fsdp"]

_TABLE = "[train]"
_require = partial(require, table=_TABLE)

MOST: dict[str, float] = {
    "max_steps": 10**9,
    "epochs": 10**9,
    "patience": 10**9,
    "batch_size": 1_000_000,
    "accumulate": 1_000_000,
    "token_limit": 1_000_000,
    "num_workers": 256,
    "learning_rate": 3.4e38,  # about the largest float32
    "clip_norm": 3.4e38,
    "warmup_steps": 10**9,
    "cycle_steps": 10**9,
    "plateau_patience": 10**9,
    "mask_span": 100_000,
    "nucleotide_weight": 1e6,
    "distance_weight": 1e6,
    "validate_every": 10**9,
    "validation_samples": 10**9,
    "checkpoint_every": 10**9,
    "keep_checkpoints": 10**9,
}
"""Largest values of keys whose rules have no end. They are far above any that makes sense, and bound what a
foreign file can ask for."""
MOST_WEIGHT = 1e6
"""Largest weight of a target or an objective."""
MOST_OBJECTIVES = 100
DEVICES = re.compile(r"auto|(cpu|cuda)(:\d{1,3})?")
"""Names of devices."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of the training configuration."""

    def __post_init__(self) -> None:
        # Each part calls `super()` first, so the types of all values are checked before any rule.
        check_types(self, _TABLE)
        check_most(self, MOST, _TABLE)


@dataclass(frozen=True, kw_only=True)
class LengthConfig(_Part):
    """Length, patience and random seed of a run."""

    max_steps: int | None = None
    """Number of optimizer steps. If not given, `epochs` sets the length of the run."""
    epochs: int = 50
    """Number of passes over the training samples. It is not used if `max_steps` is given."""
    patience: int = 10
    """Training stops early after this many validations in a row that are not better than the best."""
    best_metric: str = "loss"
    """Metric of the validation samples that chooses the weights to keep: `loss`, that of an objective such as
    `distance_loss`, or the correlation of a target such as `unweighted_unifrac_r`. Early stopping and the
    plateau schedule follow it, too."""
    seed: int = 0
    """Random seed for initial weights, sample order, masking and dropout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps is not None:
            _require(self.max_steps >= 1, "max_steps must be at least 1", self.max_steps)
        _require(self.epochs >= 1, "epochs must be at least 1", self.epochs)
        _require(self.patience >= 1, "patience must be at least 1", self.patience)
        # The range of seeds that torch accepts.
        _require(-(2**63) <= self.seed < 2**64, "seed must lie in [-2^63, 2^64)", self.seed)


@dataclass(frozen=True, kw_only=True)
class BatchConfig(_Part):
    """Samples of a step, and the processes that read them."""

    batch_size: int = 32
    """Number of samples in a micro-batch. Distances are learned between the samples of one micro-batch."""
    accumulate: int = 1
    """Number of micro-batches in an optimizer step. The gradient is the mean over all of them."""
    bucket: bool = False
    """Whether to put samples with similar numbers of ASVs into the same batch. This reduces padding, but
    distances are then learned between samples of similar richness only."""
    token_limit: int | None = None
    """Maximum number of ASVs in a sample. If not given, the limit of the shards is used."""
    rarefy_fraction: float = 1.0
    """Fraction of each sample's reads that is drawn anew at each step. The true distances are those of the
    draw. With 1, all reads are used. Validation always uses all reads."""
    num_workers: int | None = None
    """Number of processes that read samples ahead. If not given, there are two on a GPU and none on a CPU,
    where the model needs all cores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.batch_size >= 1, "batch_size must be at least 1", self.batch_size)
        _require(self.accumulate >= 1, "accumulate must be at least 1", self.accumulate)
        if self.token_limit is not None:
            _require(self.token_limit >= 1, "token_limit must be at least 1", self.token_limit)
        fraction = self.rarefy_fraction
        _require(0 < fraction <= 1, "rarefy_fraction must be above 0 and at most 1", fraction)
        if self.num_workers is not None:
            _require(self.num_workers >= 0, "num_workers must not be negative", self.num_workers)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(_Part):
    """Optimizer and its settings."""

    optimizer: Optimizer = "adamw"
    """Optimizer that updates the weights: adamw, adam or sgd."""
    learning_rate: float = 2e-3
    """Highest learning rate of the run, reached after the warm-up."""
    momentum: float = 0.9
    """Nesterov momentum of sgd. The other optimizers do not use it."""
    weight_decay: float = 0.01
    """Weight decay of the weight matrices. It is decoupled from the gradient in adamw, and added to the
    gradient in adam and sgd."""
    clip_norm: float = 1.0
    """Maximum norm of the gradient. A longer gradient is scaled down to this norm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rate, norm = self.learning_rate, self.clip_norm
        _require(0 < rate < math.inf, "learning_rate must be above 0 and finite", rate)
        _require(0 <= self.momentum < 1, "momentum must be at least 0 and below 1", self.momentum)
        _require(0 <= self.weight_decay < 1, "weight_decay must be at least 0 and below 1", self.weight_decay)
        _require(0 < norm < math.inf, "clip_norm must be above 0 and finite", norm)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(_Part):
    """Schedule of the learning rate."""

    schedule: Schedule = "cosine"
    """Shape of the learning rate after the warm-up. With cosine, it falls to a hundredth. With restarts, it
    does so again and again. With plateau, it falls when the validation loss stops improving. With constant,
    it stays. With one-cycle, it rises over three tenths of the run and then falls, and there is no
    warm-up."""
    warmup_steps: int = 20
    """Number of steps over which the learning rate rises from 0. At most a tenth of all steps is used."""
    cycle_steps: int | None = None
    """Number of steps between two restarts. If not given, it is a quarter of the run."""
    plateau_patience: int = 3
    """The plateau schedule reduces the learning rate after this many validations without a lower loss."""
    plateau_factor: float = 0.5
    """Factor by which the plateau schedule multiplies the learning rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.warmup_steps >= 0, "warmup_steps must not be negative", self.warmup_steps)
        if self.cycle_steps is not None:
            _require(self.cycle_steps >= 1, "cycle_steps must be at least 1", self.cycle_steps)
        patience, factor = self.plateau_patience, self.plateau_factor
        _require(patience >= 1, "plateau_patience must be at least 1", patience)
        _require(0 < factor < 1, "plateau_factor must lie between 0 and 1", factor)


@dataclass(frozen=True, kw_only=True)
class MaskingConfig(_Part):
    """Masking of bases, and the fraction of ASVs that are encoded."""

    mask_fraction: float = 0.15
    """Fraction of each encoded ASV's bases that is masked and predicted."""
    mask_span: int = 1
    """Number of neighboring bases that are masked together."""
    asv_encode_fraction: float = 0.1
    """Fraction of a batch's ASVs that the transformer over bases encodes and learns from, drawn anew at each
    step. The other ASVs are represented by the network over base positions alone. Validation encodes all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        masked, encoded = self.mask_fraction, self.asv_encode_fraction
        _require(0 < masked < 1, "mask_fraction must lie between 0 and 1", masked)
        _require(self.mask_span >= 1, "mask_span must be at least 1", self.mask_span)
        _require(0 < encoded <= 1, "asv_encode_fraction must be above 0 and at most 1", encoded)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(_Part):
    """Objectives of a run, and their weights in the loss."""

    nucleotide_weight: float = 1.0
    """Weight of the loss of masked bases."""
    distance_weight: float = 0.3
    """Weight of the loss of distances. It is the squared error in units of the true distances' spread."""
    targets: dict[str, float] = field(default_factory=lambda: {"unweighted_unifrac": 1.0})
    """Distances to learn, and the weight of each among them."""
    objectives: dict[str, float] = field(default_factory=dict)
    """Further objectives, which Python packages register, and the weight of each in the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bases, distances = self.nucleotide_weight, self.distance_weight
        _require(0 <= bases < math.inf, "nucleotide_weight must be at least 0 and finite", bases)
        _require(0 <= distances < math.inf, "distance_weight must be at least 0 and finite", distances)
        total = bases + distances
        _require(total > 0, "nucleotide_weight + distance_weight must be above 0", total)
        number = len(self.objectives)
        _require(number <= MOST_OBJECTIVES, f"objectives must be at most {MOST_OBJECTIVES}", number)
        for name, weight in self.targets.items():
            _require(name in METRICS, f"targets must be among {', '.join(METRICS)}", repr(name))
            _check_weight(f"target {name}", weight)
        for name, weight in self.objectives.items():
            _check_weight(f"objective {shorten(name)}", weight)


def _check_weight(name: str, weight: object) -> None:
    check_type(name, float, weight, _TABLE)
    is_valid = isinstance(weight, int | float) and 0 < weight <= MOST_WEIGHT
    _require(is_valid, f"{name} must have a weight above 0 and at most {MOST_WEIGHT:,.0f}", weight)


@dataclass(frozen=True, kw_only=True)
class ValidationConfig(_Part):
    """Intervals and sizes of validations and checkpoints."""

    validate_every: int | None = None
    """Number of steps between validations. If not given, it is the steps of an epoch, but at most 100."""
    validation_samples: int = 128
    """Maximum number of samples in a validation."""
    checkpoint_every: int = 100
    """Number of steps between checkpoints."""
    keep_checkpoints: int = 2
    """Number of checkpoints that are kept. These are the latest ones, and the best one is kept beside
    them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validate_every is not None:
            _require(self.validate_every >= 1, "validate_every must be at least 1", self.validate_every)
        samples, every, kept = self.validation_samples, self.checkpoint_every, self.keep_checkpoints
        _require(samples >= 1, "validation_samples must be at least 1", samples)
        _require(every >= 1, "checkpoint_every must be at least 1", every)
        _require(kept >= 1, "keep_checkpoints must be at least 1", kept)


@dataclass(frozen=True, kw_only=True)
class DeviceConfig(_Part):
    """Hardware of a run, precision and compilation."""

    device: str = "auto"
    """Device of the model, as cpu, cuda or cuda:1. With auto, a GPU is used if there is one."""
    precision: Precision = "float32"
    """Precision of matrix products: float32, bf16 or fp16. The loss is scaled with fp16. Weights and losses
    are always float32."""
    sharding: Sharding = "none"
    """Whether the processes that `torchrun` starts share the weights, gradients and optimizer state. Use fsdp
    if a model does not fit on one device."""
    compile: bool = False
    """Whether to compile the transformers. This takes about a minute, and pays off on a GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        is_device = DEVICES.fullmatch(self.device) is not None
        _require(is_device, "device must be auto, cpu, cuda or as cuda:1", repr(self.device))
        is_supported = not (self.precision == "fp16" and self.sharding == "fsdp")
        _require(is_supported, "precision must be float32 or bf16 with sharding", self.precision)


# A dataclass takes its fields from the last base first. So the fields begin with those of `LengthConfig`.
@dataclass(frozen=True, kw_only=True)
class TrainConfig(
    DeviceConfig,
    ValidationConfig,
    ObjectiveConfig,
    MaskingConfig,
    ScheduleConfig,
    OptimizerConfig,
    BatchConfig,
    LengthConfig,
):
    """Configuration of a training run: all keys of `[train]`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(METRICS[name].over == "matrix" for name in self.targets):
            rule = "rarefy_fraction must be 1 with the target precomputed, whose matrix is of whole samples"
            _require(self.rarefy_fraction == 1, rule, self.rarefy_fraction)
