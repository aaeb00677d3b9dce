"""What a run keeps on disk so that it can go on: safetensors and JSON, no pickle, published whole."""

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from aammodel.sharding import cut_like, whole
from schemas.errors import InvalidDataError
from schemas.files import Files
from schemas.publish import published_folder, remove_folder, replace_file

CHECKPOINTS = "checkpoints"
_FILES = Files()
MODEL_FILE, OPTIMIZER_FILE, STATE_FILE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run has come: all that the next step depends on, besides weights and the optimiser."""

    step: int = 0
    """Optimiser steps taken."""
    batches: int = 0
    """Micro-batches consumed."""
    best_loss: float | None = None
    """Lowest validation loss so far."""
    best_step: int = 0
    validations_since_best: int = 0
    validations_since_reduction: int = 0
    """Since the best validation, or since the learning rate was reduced."""
    reductions: int = 0
    """Times that the learning rate was reduced where validation stopped getting better."""
    skipped: int = 0
    """Steps that were skipped since float16 overflowed."""
    skipped_in_a_row: int = 0
    scaling: dict[str, float] = field(default_factory=dict)
    """State of the loss scaling of float16; empty where there is none."""
    is_finished: bool = False

    def after_step(self, num_batches: int, is_skipped: bool) -> "Progress":
        """Give the progress after one more step."""
        return replace(
            self,
            step=self.step + 1,
            batches=self.batches + num_batches,
            skipped=self.skipped + is_skipped,
            skipped_in_a_row=self.skipped_in_a_row + 1 if is_skipped else 0,
        )

    def after_validation(self, loss: float, plateau_patience: int) -> "Progress":
        """Give the progress after one more validation."""
        if self.best_loss is None or loss < self.best_loss:
            return replace(
                self,
                best_loss=loss,
                best_step=self.step,
                validations_since_best=0,
                validations_since_reduction=0,
            )
        waited = self.validations_since_reduction + 1
        is_reduced = waited >= plateau_patience
        return replace(
            self,
            validations_since_best=self.validations_since_best + 1,
            validations_since_reduction=0 if is_reduced else waited,
            reductions=self.reductions + is_reduced,
        )


Tensors = dict[str, Tensor]


def model_tensors(model: nn.Module) -> Tensors:
    """Collect weights and buffers by name, whole ones, for which all ranks call this together."""
    return {name: whole(tensor.detach()).contiguous() for name, tensor in model.state_dict().items()}


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """Name the optimiser's tensors by the parameter that they belong to: `exp_avg|encoder.weight`."""
    return {
        f"{key}|{name}": whole(torch.as_tensor(value))
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def save_checkpoint(run: Path, progress: Progress, model: bytes, optimizer: Tensors, files: Files) -> None:
    """Write `checkpoints/step-NNNNNN/` with a model's file in it; it appears whole or not at all."""
    target = checkpoint_folder(run, progress.step)
    with published_folder(target, STATE_FILE, overwrite=True, files=files) as folder:
        files.write(folder / MODEL_FILE, model)
        files.write(folder / OPTIMIZER_FILE, save(optimizer))
        state = json.dumps(asdict(progress), indent=2, allow_nan=False) + "\n"
        files.write(folder / STATE_FILE, state.encode())


def remove_checkpoints(run: Path, keep: int, best_step: int, files: Files) -> None:
    """Remove the checkpoints that are neither the best nor among the last `keep`."""
    best = checkpoint_folder(run, best_step)
    for old in list_checkpoints(run)[:-keep]:
        if old != best:
            remove_folder(old, files)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Bring model and optimiser to where a checkpoint was written.

    Raises
    ------
    InvalidDataError
        If the checkpoint is damaged or of another model.
    """
    try:
        weights = load_file(folder / MODEL_FILE, device=str(device))
        model.load_state_dict(
            {name: cut_like(weights[name], one) for name, one in model.state_dict().items()}
        )
        _load_optimizer(load_file(folder / OPTIMIZER_FILE, device=str(device)), model, optimizer)
        return Progress(**json.loads((folder / STATE_FILE).read_text()))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InvalidDataError(
            f"this checkpoint cannot be read: {error}",
            str(folder),
            "remove its folder; the one before is used then",
        ) from error


def list_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints of a run, oldest first."""
    found = [path for path in (run / CHECKPOINTS).glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def checkpoint_folder(run: Path, step: int) -> Path:
    """Name the checkpoint after a step."""
    return run / CHECKPOINTS / f"step-{step:06d}"


def save_best(run: Path, model: Tensors, model_config: dict[str, object], files: Files = _FILES) -> None:
    """Write `model.safetensors`, the best weights so far."""
    save_model(run / MODEL_FILE, model, model_config, files)


def save_model(path: Path, model: Tensors, model_config: dict[str, object], files: Files = _FILES) -> None:
    """Write a model's file."""
    replace_file(path, model_file(model, model_config), files)


def model_file(model: Tensors, model_config: dict[str, object]) -> bytes:
    """Give what a model's file holds: weights, with the model's configuration in the header."""
    return save(model, metadata={"model_config": json.dumps(model_config)})


def _load_optimizer(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    parameters = dict(model.named_parameters())
    for both, tensor in tensors.items():
        key, name = both.split("|", 1)
        # Optimisers that are not fused keep their count of steps on the CPU.
        value = tensor.cpu() if key == "step" and not optimizer.defaults.get("fused") else tensor
        optimizer.state[parameters[name]][key] = cut_like(value, parameters[name])
