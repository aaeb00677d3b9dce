"""Set up a training run: from shards and a configuration to a trainer.

- plan: shards, model and training configuration, checked against each other (`make_plan`)
- stepper: model, optimizer, precision and objectives (`make_stepper`)
- streams: batches of training samples, and the fixed batches of a validation (`train_stream`)
- trainer: all of these and the run's folder, new or at the last checkpoint (`make_trainer`)
"""

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
from aammodel.data.missing_input import alternatives, unavailable, why_unavailable
from aammodel.data.remote import ShardLocation
from aammodel.data.sample_labels import SAMPLE_LABELS
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.data.workers import check_limits
from aammodel.distances.metrics import METRICS
from aammodel.distributed.fsdp import shard
from aammodel.distributed.ranks import ALONE, Ranks
from aammodel.nn.model import AamModel
from aammodel.nn.sizes import require_weights_fit
from aammodel.objectives.registry import add_heads, labels_of, make_objectives
from aammodel.runs.checkpoint import CHECKPOINTS, RunFolder, list_checkpoints, load_checkpoint
from aammodel.runs.config_file import machine, tool_versions
from aammodel.runs.kinds import CHECKPOINT, RUN
from aammodel.runs.metrics_log import discard_metrics_after
from aammodel.runs.progress import Progress
from aammodel.training.best_metric import check_best_metric
from aammodel.training.console import SilentWatcher, make_watcher
from aammodel.training.device import pick_device
from aammodel.training.finite import OnNonFinite, raise_non_finite
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.step import Stepper
from aammodel.training.trainer import Trainer

VALIDATION_BATCH = 16
"""Number of samples in a validation batch, and in the batch from which a model takes initial weights."""
COPIES = {"adamw": 4, "adam": 4, "sgd": 3}
"""Values that each optimizer keeps for a weight: itself, its gradient and the moments."""
VALIDATION_SEED = 0
"""Validation masks the same bases whatever the run's seed, so that losses of runs can be compared."""


@dataclass(frozen=True)
class Plan:
    """The shards and the configuration of a run."""

    shards: ShardSet
    model: ModelConfig
    train: TrainConfig

    def as_dict(self) -> dict[str, Any]:
        """Return the content of `config.json`."""
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
        """Preparation of the samples. The first access reads the sequences of all ASVs."""
        return Preparation.from_shards(self.shards.manifest, self.shards.tokens, self.train.token_limit)


def make_plan(shards_folder: ShardLocation, model_values: dict[str, Any], train: TrainConfig) -> Plan:
    """Open the shards and complete the configuration.

    Parameters
    ----------
    shards_folder : ShardLocation
        A folder, or the URL of one.
    model_values : dict
        Values of `[model]` that the user chose. All others follow from the shards or are defaults.
    train : TrainConfig

    Raises
    ------
    UsageError
        If a value of the configuration is invalid, or an objective is not registered.
    InvalidDataError
        If the folder is not a shard set, or has no training sample.
    """
    shards = open_shards(shards_folder)
    check_shards(shards, train)
    check_best_metric(train)  # raises if an objective is not registered
    limit = train.token_limit or shards.manifest.choices.token_limit
    model = make_model_config(shards.manifest.sequence_length, limit, model_values, train)
    return Plan(shards, model, adapt_to_model(train, model))


def adapt_to_model(train: TrainConfig, model: ModelConfig) -> TrainConfig:
    """Return the training configuration with the values that the model requires.

    A model without `bases_by_position` must encode all ASVs.
    """
    # In such a model, an ASV that the transformer does not encode would have no embedding at all.
    return train if model.bases_by_position else replace(train, asv_encode_fraction=1.0)


def make_model_config(
    sequence_length: int, token_limit: int, values: dict[str, Any], train: TrainConfig
) -> ModelConfig:
    """Return the configuration of a model that fits the samples.

    Parameters
    ----------
    sequence_length : int
        Number of tokens of an ASV that the model must accept.
    token_limit : int
        Number of ASVs per sample that the model must accept.
    values : dict
        Values of `[model]` that the user chose.
    train : TrainConfig
        Holds the targets.

    Raises
    ------
    UsageError
        If a chosen value is invalid, or too small for the samples.
    """
    if "targets" in values:
        raise UsageError(
            "targets is not a key of [model]", "[model]", "write each below [train.targets], with its weight"
        )
    given: dict[str, Any] = {"sequence_length": sequence_length, "targets": tuple(train.targets)}
    model = ModelConfig(**(given | values))
    _check_large_enough("sequence_length", model.sequence_length, sequence_length)
    _check_large_enough("slot_positions", model.slot_positions or token_limit, token_limit)
    return model


def _check_large_enough(key: str, chosen: int, required: int) -> None:
    if chosen < required:
        raise UsageError(
            f"{key} must be at least {required} for these samples, and is {chosen}",
            "[model]",
            f"leave it out, or set it to {required} or more",
        )


def check_shards(shards: ShardSet, train: TrainConfig) -> None:
    """Refuse shards without training samples, or without the tree or matrix that a target needs.

    Raises
    ------
    InvalidDataError
        If there is no training sample.
    UsageError
        If the distances of a target that was asked for, or the values of an objective, cannot be computed
        from these shards.
    """
    if not shards.manifest.num_rows("train"):
        raise InvalidDataError("there is no training sample", str(shards.folder), _more_for_training(shards))
    missing = [name for name in train.targets if not METRICS[name].is_available(shards.metric_inputs)]
    # The default target is not required: a run on shards without a tree learns from masked bases alone.
    learns_otherwise = train.nucleotide_weight > 0 or bool(train.objectives)
    if missing and not (train.targets == TrainConfig().targets and learns_otherwise):
        raise unavailable(shards, missing[0], "--target")
    has_tree = METRICS["unweighted_unifrac"].is_available(shards.metric_inputs)
    for name in labels_of(train):
        if SAMPLE_LABELS[name].needs_tree and not has_tree:
            raise UsageError(
                f"these shards have no tree, which the objective {name} needs",
                str(shards.folder),
                "shard the table again with --tree, or leave this objective out",
            )


def _more_for_training(shards: ShardSet) -> str:
    choices = shards.manifest.choices
    if choices.split_ids:
        return "shard the table again, with --split-ids train=FILE"
    drawn = "ids" if choices.split_by is None else "values in the column of --split-by"
    return f"shard a table with more samples: eight of ten are for training, drawn by their {drawn}"


def shortcomings(plan: Plan) -> list[str]:
    """Return what a run cannot learn, or not choose, as sentences for the user."""
    shards, targets, found = plan.shards, plan.model.targets, []
    missing = [name for name in targets if not METRICS[name].is_available(shards.metric_inputs)]
    if missing:
        what, fix = why_unavailable(shards, missing[0])
        found.append(
            f"{what}: the model learns no distances. To learn some, use --target {alternatives(shards)}, "
            f"or {fix}"
        )
    elif plan.train.batch_size == 1:
        found.append(
            "a batch of one sample has no pair, so distances are not learned; set batch_size to 2 or more"
        )
    if not shards.manifest.num_rows("validation"):
        more = (
            "List some with `aamprep shard --split-ids validation=FILE`"
            if shards.manifest.choices.split_ids
            else "One of ten samples is for validation, so shard a table with more samples to have some"
        )
        found.append(f"there is no validation sample: the last weights are kept, not the best ones. {more}")
    return found


def make_trainer(
    plan: Plan, run: Path, resume: bool, ranks: Ranks = ALONE, on_non_finite: OnNonFinite = raise_non_finite
) -> Trainer:
    """Make the trainer of a new run, or of a run that resumes from its last checkpoint.

    A run that was stopped before its first checkpoint begins again, with the same weights and samples. The
    number of ranks may differ from the number that wrote the checkpoint.

    Parameters
    ----------
    plan : Plan
    run : Path
        The folder of the run.
    resume : bool
        Whether to start from the last checkpoint.
    ranks : Ranks
    on_non_finite : OnNonFinite
        Called at a step with a non-finite loss or gradient.
    """
    check_limits(plan.train.num_workers or 0)  # before the folder of the run is made
    config, stream, progress = plan.train, train_stream(plan), Progress()
    checkpoints = list_checkpoints(run) if resume else []
    stepper = make_stepper(plan, None if checkpoints else first_batch(stream), ranks)
    if checkpoints:
        device = stepper.precision.device
        progress = load_checkpoint(checkpoints[-1], stepper.model, stepper.optimizer, device)
        stepper.precision.load(progress.scaling)
    # Other ranks may still look for the last checkpoint, so nothing is removed before they have found it.
    ranks.wait()
    if resume and ranks.is_main:
        # Remains of files that were being written when the run was killed.
        sweep_all(run, RUN)
        sweep_all(run / CHECKPOINTS, CHECKPOINT)
        # Without a checkpoint, the validation before the first step is repeated, too.
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
        watcher=make_watcher(run) if ranks.is_main else SilentWatcher(),
        progress=progress,
        num_steps=config.max_steps or config.epochs * stream.steps_per_epoch,
        on_non_finite=on_non_finite,
    )


def make_stepper(plan: Plan, first: Batch | None, ranks: Ranks = ALONE) -> Stepper:
    """Make a model and its optimizer, with the same weights on all ranks.

    Parameters
    ----------
    plan : Plan
    first : Batch or None
        The batch from which some initial weights are computed (`first_batch`). Pass None if the weights are
        loaded afterwards.
    ranks : Ranks
    """
    config, device = plan.train, pick_device(plan.train.device, ranks)
    objectives = make_objectives(config)
    # With fsdp, each rank has a part of the weights.
    parts = ranks.size if config.sharding == "fsdp" else 1
    require_weights_fit(plan.model, -(-COPIES[config.optimizer] // parts), device)
    torch.manual_seed(config.seed)
    model = AamModel(plan.model).to(device)
    # The heads of objectives draw their weights last. So the other weights do not depend on the objectives.
    add_heads(model, (objective.name for objective in objectives))
    if first is not None:
        first = first.to(device)
        model.init_from_batch(first)
        for objective in objectives:
            objective.init_from_batch(model, first)
    ranks.share_weights(model)
    if config.sharding == "fsdp" and ranks.size > 1:
        # The heads are small. They stay whole on each rank.
        shard((model.asv_encoder, model.sample_encoder), ranks.size, model.device)
    if config.compile:
        compile_transformers(model)
    precision = Precision(config.precision, device)
    # The optimizer is made last, since sharding replaces the parameters.
    return Stepper(model, make_optimizer(model, config), precision, config, objectives, ranks)


def train_stream(plan: Plan) -> BatchStream:
    """Return the stream of the training samples, from the first epoch on."""
    train = plan.train
    config = StreamConfig(
        batch_size=train.batch_size,
        token_limit=train.token_limit,
        targets=plan.model.targets,
        labels=labels_of(train),
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
    """Return the batch from which the model takes initial weights.

    It has `VALIDATION_BATCH` samples whatever the batch size of the run, since a batch of one or two samples
    would give poor estimates.
    """
    samples = list(islice(stream.samples(), VALIDATION_BATCH))
    return stream.collator(samples)


def validation_stream(plan: Plan) -> BatchStream:
    """Return the stream of the validation samples, in the order of the files."""
    train = plan.train
    config = StreamConfig(
        batch_size=VALIDATION_BATCH,
        token_limit=train.token_limit,
        targets=plan.model.targets,
        labels=labels_of(train),
        masking=Masking(seed=VALIDATION_SEED, fraction=train.mask_fraction, span=train.mask_span),
        shuffle=False,
    )
    return BatchStream(plan.shards, "validation", config)


def _validation_batches(plan: Plan, ranks: Ranks) -> list[Batch]:
    stream = validation_stream(plan).for_rank(ranks.rank, ranks.size)
    samples = list(islice(stream.samples(), plan.train.validation_samples))
    firsts = range(0, len(samples), VALIDATION_BATCH)
    # The masked bases depend on the step, so all batches have the same one.
    return [stream.collate(samples[first : first + VALIDATION_BATCH], step=0) for first in firsts]


def compile_transformers(model: AamModel) -> None:
    """Compile both transformers, which take nearly all of the time. New shapes need no new compilation.

    Compiling takes about a minute. It pays off in runs of many steps, on a GPU above all.

    Raises
    ------
    UsageError
        If there is no C++ compiler, which torch needs.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if not shutil.which(compiler):
        raise UsageError(
            f"torch needs a C++ compiler, and {compiler} was not found",
            "compile = true",
            "install it, set CXX to the name of another, or train with compile = false",
        )
    for transformer in (model.asv_encoder.transformer, model.sample_encoder.transformer):
        # Batches differ in size, and each size would otherwise be compiled by itself.
        transformer.compile(dynamic=True)
        transformer._compiled_call_impl = _always_same_graph(transformer._compiled_call_impl)


def _always_same_graph(call: Callable[..., Any] | None) -> Callable[..., Any]:
    """Make a compiled module use the first graph that fits, in place of the one used last.

    Activations that are computed again in the backward pass must come from the graph that computed them in
    the forward pass. The error message of pytorch issue 166926 asks for this switch. The switch is global,
    so it is set only while the module is called.
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
