"""Convert a published checkpoint to a run folder with the same model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aam_schemas import vocabulary
from aam_schemas.common.publish import OutputFolder, published_folder
from aam_schemas.common.text import truncate_list
from aam_schemas.preparation import Preparation
from aammodel.config.model import ModelConfig
from aammodel.interop.aam.checkpoint import PublishedCheckpoint, read_published
from aammodel.interop.aam.names import encoder_tensors, has_nucleotides, published_names, read_sizes
from aammodel.nn.model import AamModel
from aammodel.nn.sizes import model_without_weights
from aammodel.runs.checkpoint import MODEL_FILE, model_tensors, save_model
from aammodel.runs.config_file import CONFIG_FILE, tool_versions
from aammodel.runs.kinds import RUN


@dataclass(frozen=True)
class Imported:
    """A published model, converted to ours, and its origin."""

    model: AamModel
    published: PublishedCheckpoint
    left_out: tuple[str, ...]
    """Names of tensors of heads for other targets, which our model does not have."""
    guesses_bases: bool
    """Whether the checkpoint has a head for masked bases. Without one, all bases are equally likely to our
    model."""

    def as_dict(self) -> dict[str, Any]:
        """Return the content of `config.json`."""
        origin = {
            "file": self.published.path.name,
            "sha256": self.published.sha256,
            "left_out": list(self.left_out),
            "guesses_bases": self.guesses_bases,
        }
        return {
            "model": asdict(self.model.config),
            "imported": origin,
            "preparation": self.preparation.as_dict(),
            "versions": tool_versions(),
        }

    @property
    def preparation(self) -> Preparation:
        """How its training samples were prepared. A checkpoint only shows sizes."""
        config = self.model.config
        return Preparation(
            token_limit=config.slot_positions or None,
            sequence_length=config.sequence_length,
            vocabulary=vocabulary.NAMES[: config.vocabulary_size],
        )


def import_published(path: Path, heads: int, target: str) -> Imported:
    """Convert a published checkpoint to our model.

    Parameters
    ----------
    path : Path
        The checkpoint file.
    heads : int
        Number of attention heads. A state dict does not contain it.
    target : str
        Name of the metric that the checkpoint predicts.

    Raises
    ------
    UsageError
        If there is no such file, or the number of heads does not divide the width.
    InvalidDataError
        If the file is not such a checkpoint. The message names the tensor.
    """
    published = read_published(path)
    encoder = encoder_tensors(published)
    config = read_sizes(published, encoder.tensors, heads, target)
    guesses_bases = has_nucleotides(encoder.tensors)
    names = published_names(config, guesses_bases)
    _check_names(published, encoder.tensors, set(names.values()))
    return Imported(
        _fill(published, config, {ours: encoder.tensors[theirs] for ours, theirs in names.items()}, names),
        published,
        encoder.left_out,
        guesses_bases,
    )


def write_imported(imported: Imported, run: Path, overwrite: bool) -> None:
    """Write a run folder with configuration and weights. It appears whole or not at all."""
    with published_folder(OutputFolder(run, RUN, overwrite, (imported.published.path,))) as folder:
        content = json.dumps(imported.as_dict(), indent=2, ensure_ascii=False) + "\n"
        (folder / CONFIG_FILE).write_text(content, encoding="utf-8")
        config = asdict(imported.model.config)
        save_model(folder / MODEL_FILE, model_tensors(imported.model), config, imported.preparation)


def _check_names(published: PublishedCheckpoint, tensors: Mapping[str, Tensor], expected: set[str]) -> None:
    for what, names in (("missing", expected - tensors.keys()), ("unexpected", tensors.keys() - expected)):
        if names:
            plural = "s" if len(names) > 1 else ""
            raise published.refuse(f"{what} name{plural}: {truncate_list(sorted(names))}")


def _fill(
    published: PublishedCheckpoint,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
) -> AamModel:
    """Make the model with these weights. Weights that the checkpoint lacks are set to have no effect."""
    # Shapes are compared before memory is used.
    model = model_without_weights(config)
    weights = {}
    for ours, expected in model.state_dict().items():
        if ours in tensors:
            weights[ours] = _checked(published, names[ours], tensors[ours], expected.shape)
        else:
            weights[ours] = torch.full(expected.shape, 1.0 if ours.endswith(".spread") else 0.0)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _checked(published: PublishedCheckpoint, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """Return a copy of a tensor in float32, after checking its shape and that its values are finite."""
    if tensor.shape != shape:
        raise published.refuse(f"{name} has shape {tuple(tensor.shape)}, but must have {tuple(shape)}")
    if not tensor.isfinite().all():
        raise published.refuse(f"{name} has non-finite values")
    return tensor.detach().to(torch.float32, copy=True).contiguous()
