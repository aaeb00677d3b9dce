"""Transformers compiled by torch: worth a minute's wait where steps are many, on a GPU above all."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, wraps
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import sweep_all
from aam_schemas.preparation import Preparation
from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig
from aammodel.data.masking import Masking
from aammodel.data.remote import ShardLocation
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.distances.metrics import METRICS
from aammodel.distributed.fsdp import shard
from aammodel.distributed.ranks import ALONE, Ranks
from aammodel.nn.model import AamModel
from aammodel.objectives.registry import add_heads, make_objectives
from aammodel.runs.checkpoint import CHECKPOINTS, RunFolder, list_checkpoints, load_checkpoint
from aammodel.runs.config_file import machine, tool_versions
from aammodel.runs.metrics_log import discard_metrics_after
from aammodel.runs.progress import Progress
from aammodel.training.console import Silence, make_watcher
from aammodel.training.device import pick_device
from aammodel.training.finite import OnNonFinite, stop_plainly
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.step import Stepper
from aammodel.training.trainer import Trainer

VALIDATION_BATCH = 16
VALIDATION_SEED = 0
"""Validation hides the same bases whatever the run's seed, so that losses of runs compare."""


@dataclass(frozen=True)
class Plan:
    """Everything that a run is made of."""

    shards: ShardSet
    model: ModelConfig
    train: TrainConfig

    def as_dict(self) -> dict[str, Any]:
        """Give what `config.json` holds."""
        return {
            "model": asdict(self.model),
            "train": asdict(self.train),
            "shards": {
                "folder": str(self.shards.folder.absolute()),
                "manifest_sha256": self.shards.manifest.sha256,
            },
            "preparation": self.preparation.as_dict(),
            "versions": tool_versions(),
            "machine": machine(),
        }

    @cached_property
    def preparation(self) -> Preparation:
        """How the samples are prepared; reads the sequences of all ASVs."""
        return Preparation.from_shards(self.shards.manifest, self.shards.tokens, self.train.token_limit)


def make_plan(shards_folder: ShardLocation, model_values: dict[str, Any], train: TrainConfig) -> Plan:
    """Open the shards and settle the configuration.

    Raises
    ------
    UsageError
        If a value of the configuration cannot be, or an objective is not registered.
    InvalidDataError
        If the folder is no shard set, or has no training sample.
    """
    shards = open_shards(shards_folder)
    check_shards(shards, train)
    make_objectives(train)  # which refuses one that is not registered
    limit = train.token_limit or shards.manifest.choices.token_limit
    model = make_model_config(shards.manifest.sequence_length, limit, model_values, train)
    return Plan(shards, model, settled(model, train))


def settled(model: ModelConfig, train: TrainConfig) -> TrainConfig:
    """Give how a model is trained, where it leaves no choice."""
    # What the transformer does not read would have no embedding at all.
    return train if model.bases_by_position else replace(train, asv_encode_fraction=1.0)


def make_model_config(
    sequence_length: int, token_limit: int, values: dict[str, Any], train: TrainConfig
) -> ModelConfig:
    """Settle the configuration of a model that reads so many tokens an ASV, and so many ASVs a sample.

    Raises
    ------
    UsageError
        If one of the values chosen cannot be.
    """
    if "targets" in values:
        raise UsageError(
            "targets are not a key of [model]", "[model]", "write each below [train.targets], with its weight"
        )
    given: dict[str, Any] = {"sequence_length": sequence_length, "targets": tuple(train.targets)}
    model = ModelConfig(**(given | values))
    _check_reads("sequence_length", model.sequence_length, sequence_length)
    _check_reads("slot_positions", model.slot_positions or token_limit, token_limit)
    return model


def _check_reads(name: str, chosen: int, needed: int) -> None:
    if chosen < needed:
        raise UsageError(
            f"{name} must be at least {needed}, as the samples need, and is {chosen}",
            "[model]",
            "leave it out, or correct the configuration",
        )


def check_shards(shards: ShardSet, train: TrainConfig) -> None:
    """Refuse shards that have nothing to learn from, or not what is asked for.

    Raises
    ------
    UsageError, InvalidDataError
    """
    if not shards.manifest.num_rows("train"):
        raise InvalidDataError(
            "there is no training sample",
            str(shards.folder),
            "shard a table with more samples (10 or so at least)",
        )
    remedies = {"branches": ("tree", "--tree"), "matrix": ("precomputed matrix", "--distances")}
    # By default, without a tree, no distance is learned.
    for name in train.targets if train.targets != TrainConfig().targets else ():
        if not METRICS[name].is_available(shards.metric_inputs):
            what, option = remedies[METRICS[name].over]
            raise UsageError(
                f"these shards have no {what}, which {name} needs",
                str(shards.folder),
                f"shard the table with one ({option}), or leave --target out",
            )


def make_trainer(
    plan: Plan, run: Path, resume: bool, ranks: Ranks = ALONE, on_non_finite: OnNonFinite = stop_plainly
) -> Trainer:
    """Make the trainer, at the beginning or where the last checkpoint was written, by however many ranks.

    A run that was stopped before its first checkpoint begins again, in the same way.

    Parameters
    ----------
    plan : Plan
    run : Path
        The folder of the run.
    resume : bool
        Whether to start from the last checkpoint.
    ranks : Ranks
    on_non_finite : OnNonFinite
        How the run stops where a loss or its gradient is not finite.
    """
    config, stream, progress = plan.train, train_stream(plan), Progress()
    checkpoints = list_checkpoints(run) if resume else []
    stepper = make_stepper(plan, None if checkpoints else first_batch(stream), ranks)
    if checkpoints:
        device = stepper.precision.device
        progress = load_checkpoint(checkpoints[-1], stepper.model, stepper.optimizer, device)
        stepper.precision.load(progress.scaling)
    ranks.wait()  # for those that still look for the last checkpoint
    if resume and ranks.is_main:
        sweep_all(run)
        sweep_all(run / CHECKPOINTS)
        discard_metrics_after(run, progress.step if checkpoints else -1)
    return Trainer(
        folder=RunFolder(
            run,
            asdict(plan.model),
            config.keep_checkpoints,
            ranks.is_main,
            # Only the main rank writes models.
            preparation=plan.preparation if ranks.is_main else None,
        ),
        config=config,
        stepper=stepper,
        train_stream=stream.for_rank(ranks.rank, ranks.size),
        validation=_validation_batches(plan, ranks),
        watcher=make_watcher(run) if ranks.is_main else Silence(),
        progress=progress,
        num_steps=config.max_steps or config.epochs * stream.steps_per_epoch,
        on_non_finite=on_non_finite,
    )


def make_stepper(plan: Plan, first: Batch | None, ranks: Ranks = ALONE) -> Stepper:
    """Make a model, with the same weights on all ranks, and its optimiser; it starts from a first batch."""
    config, device = plan.train, pick_device(plan.train.device, ranks)
    objectives = make_objectives(config)
    torch.manual_seed(config.seed)
    model = AamModel(plan.model).to(device)
    # After all others, whose initial weights do not depend on which objectives there are.
    add_heads(model, (objective.name for objective in objectives))
    if first is not None:
        model.init_from_batch(first.to(device))
    ranks.share_weights(model)
    if config.sharding == "fsdp" and ranks.size > 1:
        # The heads are small, and stay whole on each rank.
        shard((model.asv_encoder, model.sample_encoder), ranks.size, model.device)
    if config.compile:
        compile_transformers(model)
    precision = Precision(config.precision, device)
    return Stepper(model, make_optimizer(model, config), precision, config, objectives, ranks)


def train_stream(plan: Plan) -> BatchStream:
    """Return the stream of the training samples, from the first on."""
    train = plan.train
    config = StreamConfig(
        batch_size=train.batch_size,
        token_limit=train.token_limit,
        targets=plan.model.targets,
        masking=Masking(
            seed=train.seed,
            fraction=train.mask_fraction,
            span=train.mask_span,
            asv_encode_fraction=train.asv_encode_fraction,
        ),
        seed=train.seed,
        bucket=train.bucket,
        rarefy_fraction=train.rarefy_fraction,
        accumulate=train.accumulate,
    )
    return BatchStream(plan.shards, "train", config)


def first_batch(stream: BatchStream) -> Batch:
    """Make the batch from which the model takes initial weights, however small the batches are."""
    samples = list(islice(stream.samples(), VALIDATION_BATCH))
    return stream.collator(samples)


def validation_stream(plan: Plan) -> BatchStream:
    """Return the stream of the validation samples, in the order of the files."""
    train = plan.train
    config = StreamConfig(
        batch_size=VALIDATION_BATCH,
        token_limit=train.token_limit,
        targets=plan.model.targets,
        masking=Masking(seed=VALIDATION_SEED, fraction=train.mask_fraction, span=train.mask_span),
        shuffle=False,
    )
    return BatchStream(plan.shards, "validation", config)


def _validation_batches(plan: Plan, ranks: Ranks) -> list[Batch]:
    stream = validation_stream(plan).for_rank(ranks.rank, ranks.size)
    samples = list(islice(stream.samples(), plan.train.validation_samples))
    starts = range(0, len(samples), VALIDATION_BATCH)
    return [stream.collate(samples[start : start + VALIDATION_BATCH], step=0) for start in starts]


def compile_transformers(model: AamModel) -> None:
    """Compile what nearly all the time goes into; shapes may change without compiling again.

    Raises
    ------
    UsageError
        If there is no C++ compiler, with which torch does it.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if not shutil.which(compiler):
        raise UsageError(
            "torch compiles with a C++ compiler, and there is none",
            f"{compiler} (CXX names another)",
            "install one, or train with compile = false",
        )
    for transformer in (model.asv_encoder.transformer, model.sample_encoder.transformer):
        transformer.compile(dynamic=True)
        transformer._compiled_call_impl = _always_same_graph(transformer._compiled_call_impl)


def _always_same_graph(call: Callable[..., Any] | None) -> Callable[..., Any]:
    """Make a compiled module use the first of several graphs that fit, not the one used last.

    Activations that are computed again in the backward pass must come from the graph that computed them in
    the forward pass (pytorch issue 166926, whose error message asks for this switch). It is global, so it is
    flipped while the module is called.
    """
    assert call is not None
    set_lru_cache = torch._C._dynamo.eval_frame._set_lru_cache  # type: ignore[attr-defined]

    @wraps(call)
    def called(*arguments: Any, **options: Any) -> Any:
        set_lru_cache(False)
        try:
            return call(*arguments, **options)
        finally:
            set_lru_cache(True)

    return called
