"""Write checkpoints and model files, and load checkpoints to resume from.

Files are safetensors and JSON. Pickle is not used, since loading it can run code. A checkpoint appears whole
or not at all, so an interrupted run leaves none that is incomplete.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.files import Files
from aam_schemas.common.publish import published_folder, remove_folder, replace_file
from aam_schemas.preparation import Preparation
from aammodel.distributed.fsdp import full_tensor, shard_like
from aammodel.runs.metrics_log import METRICS_FILE, Row, append_metrics
from aammodel.runs.progress import Progress

CHECKPOINTS = "checkpoints"
_FILES = Files()
MODEL_FILE, OPTIMIZER_FILE, STATE_FILE = "model.safetensors", "optimizer.safetensors", "state.json"


Tensors = dict[str, Tensor]


def model_tensors(model: nn.Module) -> Tensors:
    """Return whole weights and buffers by name. All ranks must call this together."""
    return {name: full_tensor(tensor.detach()).contiguous() for name, tensor in model.state_dict().items()}


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the tensors of the optimizer by name and parameter, such as `exp_avg|encoder.weight`.

    All ranks must call this together. Names, not indices, so that order does not matter on loading.
    """
    return {
        f"{key}|{name}": full_tensor(torch.as_tensor(value))
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def save_checkpoint(run: Path, progress: Progress, model: bytes, optimizer: Tensors, files: Files) -> None:
    """Write the folder `checkpoints/step-NNNNNN`. It appears whole or not at all.

    Parameters
    ----------
    run : Path
    progress : Progress
    model : bytes
        Content of the model file, from `model_file`.
    optimizer : dict of str to Tensor
        Tensors from `optimizer_tensors`.
    files : Files
        Functions that change the disk.
    """
    target = checkpoint_folder(run, progress.step)
    with published_folder(target, STATE_FILE, overwrite=True, files=files) as folder:
        files.write(folder / MODEL_FILE, model)
        files.write(folder / OPTIMIZER_FILE, save(optimizer))
        state = json.dumps(asdict(progress), indent=2, allow_nan=False) + "\n"
        files.write(folder / STATE_FILE, state.encode())


def remove_checkpoints(run: Path, keep: int, best_step: int, files: Files) -> None:
    """Remove checkpoints, except the best one and the last `keep`."""
    best = checkpoint_folder(run, best_step)
    for old in list_checkpoints(run)[:-keep]:
        if old != best:
            remove_folder(old, files)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Load a checkpoint into a model and an optimizer, and return its progress.

    Raises
    ------
    InvalidDataError
        If the checkpoint is damaged, or belongs to another model.
    """
    try:
        weights = load_file(folder / MODEL_FILE, device=str(device))
        model.load_state_dict(
            {name: shard_like(weights[name], tensor) for name, tensor in model.state_dict().items()}
        )
        _load_optimizer(load_file(folder / OPTIMIZER_FILE, device=str(device)), model, optimizer)
        return Progress(**json.loads((folder / STATE_FILE).read_text()))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InvalidDataError(
            f"this checkpoint cannot be read: {error}",
            str(folder),
            "remove this folder. The checkpoint before it is then used",
        ) from error


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
    files: Files = _FILES,
) -> None:
    """Write a model file."""
    replace_file(path, model_file(model, model_config, preparation), files)


def model_file(model: Tensors, model_config: dict[str, object], preparation: Preparation | None) -> bytes:
    """Return the content of a model file: weights, with configuration and preparation in the header."""
    # Header and weights are one file, so a model cannot be separated from its configuration.
    header = {"model_config": json.dumps(model_config)}
    if preparation is not None:
        header["preparation"] = json.dumps(preparation.as_dict())
    return _with_sorted_header(save(model, metadata=header))


def _with_sorted_header(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in random order.

    The header is JSON, padded with spaces, after its length as a 64-bit little-endian number. Sorted, it has
    as many bytes, so equal models are equal files.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(end - 8) + content[end:]


def _load_optimizer(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    parameters = dict(model.named_parameters())
    for full_name, tensor in tensors.items():
        key, name = full_name.split("|", 1)
        # Optimizers that are not fused keep their number of steps on the CPU.
        value = tensor.cpu() if key == "step" and not optimizer.defaults.get("fused") else tensor
        optimizer.state[parameters[name]][key] = shard_like(value, parameters[name])


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
            path = self.path / MODEL_FILE
            save_model(path, weights, self.model_config, self.preparation, self.files)

    def save_checkpoint(self, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write a checkpoint, then remove old ones."""
        weights, moments = model_tensors(model), optimizer_tensors(model, optimizer)
        if self.is_written:
            # Metrics are flushed first, so that a checkpoint on the disk implies the lines before it.
            self.files.flush(self.path / METRICS_FILE)
            content = model_file(weights, self.model_config, self.preparation)
            save_checkpoint(self.path, progress, content, moments, self.files)
            remove_checkpoints(self.path, self.keep, progress.best_step, self.files)
