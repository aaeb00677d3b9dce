"""Write checkpoints and model files, and load checkpoints to resume from.

Files are safetensors and JSON. Pickle is not used, since loading it can run code. A checkpoint appears whole
or not at all, so an interrupted run leaves none that is incomplete. Each file has a hash, and `state.json`
lists those of the other two, so that they cannot come from different steps.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from aam_schemas.common.files import Files
from aam_schemas.common.publish import OutputFolder, published_folder, remove_folder, replace_file
from aam_schemas.preparation import Preparation
from aammodel.config.model import ModelConfig
from aammodel.config.stored import load_model_config
from aammodel.distributed.fsdp import full_tensor, shard_like
from aammodel.nn.model import AamModel
from aammodel.runs.kinds import CHECKPOINT
from aammodel.runs.metrics_log import METRICS_FILE, Row, append_metrics
from aammodel.runs.progress import Progress
from aammodel.runs.state_file import STATE_FILE, State, read_state, state_file
from aammodel.runs.tensor_file import (
    Header,
    Kind,
    TensorFile,
    Tensors,
    read_header,
    read_tensors,
    require_finite,
    tensor_file,
)

CHECKPOINTS = "checkpoints"
MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
MODEL_KEYS = ("model_config", "preparation")
"""Keys in the header of a model file."""
OBJECTIVE_HEADS = "objective_heads."
"""Beginning of the names of weights in the heads of objectives."""


def model_tensors(model: nn.Module) -> Tensors:
    """Return whole weights and buffers by name. All ranks must call this together."""
    return {name: full_tensor(tensor.detach()) for name, tensor in model.state_dict().items()}


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the tensors of the optimizer by name and parameter, such as `exp_avg|encoder.weight`.

    All ranks must call this together. Names, not indices, so that order does not matter on loading.
    """
    return {
        f"{key}|{name}": full_tensor(torch.as_tensor(value))
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def save_checkpoint(
    run: Path, progress: Progress, model: TensorFile, optimizer: TensorFile, files: Files
) -> None:
    """Write the folder `checkpoints/step-NNNNNN`. It appears whole or not at all.

    Parameters
    ----------
    run : Path
    progress : Progress
    model, optimizer : TensorFile
    files : Files
        Functions that change the disk.
    """
    target = checkpoint_folder(run, progress.step)
    with published_folder(OutputFolder(target, CHECKPOINT, overwrite=True), files) as folder:
        contents = {MODEL_FILE: model, OPTIMIZER_FILE: optimizer}
        for name, content in contents.items():
            files.write(folder / name, *content.parts)
        digests = {name: content.sha256 for name, content in contents.items()}
        files.write(folder / STATE_FILE, state_file(progress, digests))


def remove_checkpoints(run: Path, keep: int, best_step: int, files: Files) -> None:
    """Remove checkpoints, except the best one, the last `keep`, and those with files of somebody else."""
    best = checkpoint_folder(run, best_step)
    for old in list_checkpoints(run)[:-keep]:
        if old != best and not CHECKPOINT.problem(old):
            remove_folder(old, files)


def load_checkpoint(
    folder: Path, model: AamModel, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Load a checkpoint into a model and an optimizer, and return its progress.

    The names, types and shapes of all tensors are compared with those of the model and the optimizer before
    anything is loaded.

    Raises
    ------
    InvalidDataError
        If a file of the checkpoint is damaged, belongs to another step, model or optimizer, or has a
        non-finite value. The message names the file and the tensor.
    """
    fix = f"restore it from a copy, or move {folder.name} away, to resume from the checkpoint before it"
    state = read_state(folder / STATE_FILE, fix)
    model_header = read_header(folder / MODEL_FILE, MODEL_KEYS, fix)
    optimizer_header = read_header(folder / OPTIMIZER_FILE, (), fix)
    own, parameters = model.state_dict(), dict(model.named_parameters())
    if model_config_of(model_header) != model.config:
        raise model_header.refuse("its model_config differs from that in config.json of the run")
    model_header.require({name: Kind.of(tensor) for name, tensor in own.items()})
    optimizer_header.require(_expected_moments(optimizer_header, state.progress, parameters, optimizer))
    weights, moments = _read_bound(model_header, state), _read_bound(optimizer_header, state)
    _check_moments(optimizer_header, moments, state.progress)
    whole = {name: tensor.to(device) for name, tensor in weights.items()}
    model.load_state_dict({name: shard_like(whole[name], tensor) for name, tensor in own.items()})
    for full_name, tensor in moments.items():
        key, name = full_name.split("|", 1)
        # Optimizers that are not fused keep their number of steps on the CPU.
        value = tensor if key == "step" and not optimizer.defaults.get("fused") else tensor.to(device)
        optimizer.state[parameters[name]][key] = shard_like(value, parameters[name])
    return state.progress


def model_config_of(header: Header) -> ModelConfig:
    """Return the configuration in the header of a model file.

    Raises
    ------
    InvalidDataError
        If there is none, or a value of it is invalid.
    """
    values = header.json("model_config")
    try:
        return load_model_config(values)
    except ValueError as error:
        raise header.refuse(f"its model_config is invalid: {error}") from error


def _read_bound(header: Header, state: State) -> Tensors:
    """Read the tensors of a file that the state of its checkpoint must list by its hash.

    Raises
    ------
    InvalidDataError
        If the file is damaged, has a non-finite value, or belongs to another checkpoint.
    """
    if state.digests is not None and header.sha256 != state.digests.get(header.path.name, ""):
        raise header.refuse(
            f"this file belongs to another checkpoint than {STATE_FILE} beside it, of step "
            f"{state.progress.step}, which lists another hash"
        )
    tensors = read_tensors(header)
    require_finite(header, tensors)
    return tensors


def _moment_names(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """Return the names of the tensors that an optimizer keeps for each weight."""
    if isinstance(optimizer, torch.optim.SGD):
        return ("momentum_buffer",) if optimizer.defaults["momentum"] else ()
    return "step", "exp_avg", "exp_avg_sq"


def _expected_moments(
    header: Header, progress: Progress, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> dict[str, Kind]:
    """Return the kinds of the tensors that an optimizer has after the steps of a run.

    It has none before the first step. A head of an objective from outside has none before its first gradient.
    """
    names = _moment_names(optimizer)
    if progress.step == progress.skipped and not header.kinds:
        return {}
    return {
        f"{key}|{name}": Kind(weight.dtype, () if key == "step" else tuple(weight.shape))
        for name, weight in parameters.items()
        for key in names
        if not name.startswith(OBJECTIVE_HEADS) or any(f"{each}|{name}" in header.kinds for each in names)
    }


def _check_moments(header: Header, moments: Tensors, progress: Progress) -> None:
    """Refuse impossible values of an optimizer: negative squares, or another number of steps."""
    for name, tensor in moments.items():
        if name.startswith("exp_avg_sq|") and tensor.numel() and tensor.min() < 0:
            raise header.refuse(f"the tensor {name} has negative values, but holds means of squares")
    steps = {name: float(tensor) for name, tensor in moments.items() if name.startswith("step|")}
    # A step that overflowed in float16 does not count.
    expected = progress.step - progress.skipped
    for name, value in steps.items():
        is_valid = 0 <= value <= expected if name.startswith(f"step|{OBJECTIVE_HEADS}") else value == expected
        if not is_valid:
            raise header.refuse(f"the tensor {name} is {value:g}, but the run has taken {expected} steps")


def list_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints of a run, oldest first."""
    folders = [path for path in (run / CHECKPOINTS).glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(folders, key=lambda path: int(path.name.removeprefix("step-")))


def checkpoint_folder(run: Path, step: int) -> Path:
    """Return the folder of the checkpoint of a step."""
    return run / CHECKPOINTS / f"step-{step:06d}"


def save_model(
    path: Path,
    model: Tensors,
    model_config: dict[str, object],
    preparation: Preparation | None = None,
) -> None:
    """Write a model file."""
    replace_file(path, *model_file(model, model_config, preparation).parts)


def model_file(
    model: Tensors, model_config: dict[str, object], preparation: Preparation | None
) -> TensorFile:
    """Return the content of a model file: weights, with configuration and preparation in the header."""
    # Header and weights are one file, so a model cannot be separated from its configuration.
    header = {"model_config": json.dumps(model_config)}
    if preparation is not None:
        header["preparation"] = json.dumps(preparation.as_dict())
    return tensor_file(model, header)


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, to write to.

    All ranks call its methods together. Only the main rank writes.
    """

    path: Path
    model_config: dict[str, object]
    keep: int
    """Number of latest checkpoints that are kept, beside the best one."""
    is_written: bool = True
    """Whether this rank writes. It is False on all ranks but the main one."""
    files: Files = field(default_factory=Files)
    """Functions that change the disk."""
    preparation: Preparation | None = None
    """How the samples are prepared. None on ranks that do not write."""

    def append(self, row: Row) -> None:
        """Add a line of metrics."""
        if self.is_written:
            append_metrics(self.path, row)

    def save_best(self, model: nn.Module) -> None:
        """Write the weights as the best so far."""
        weights = model_tensors(model)
        if self.is_written:
            content = model_file(weights, self.model_config, self.preparation)
            replace_file(self.path / MODEL_FILE, *content.parts, files=self.files)

    def save_checkpoint(self, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write a checkpoint, then remove old ones."""
        weights, moments = model_tensors(model), optimizer_tensors(model, optimizer)
        if self.is_written:
            # Metrics are flushed first, so that a checkpoint on the disk implies the lines before it.
            self.files.flush(self.path / METRICS_FILE)
            content = model_file(weights, self.model_config, self.preparation)
            save_checkpoint(self.path, progress, content, tensor_file(moments, {}), self.files)
            remove_checkpoints(self.path, self.keep, progress.best_step, self.files)
