"""Reading a checkpoint that jbk708/aam published: a file of another program, so nothing in it is trusted."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.shards import file_sha256

_REMEDY = "name a checkpoint of jbk708/aam, as its training writes them (*.pt)"
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
"""What DataParallel and torch.compile put before every name."""


@dataclass(frozen=True)
class Published:
    """What a checkpoint holds of a model."""

    path: Path
    sha256: str
    tensors: dict[str, Tensor]
    """Each by its name in the state dict."""

    def refuse(self, what: str) -> InvalidDataError:
        """Make the error for something in this file."""
        return InvalidDataError(what, str(self.path), _REMEDY)


def read_published(path: Path) -> Published:
    """Read the state dict of a checkpoint, and nothing else of it.

    Parameters
    ----------
    path : Path
        What `torch.save` wrote: a dict with `model_state_dict`, or the state dict itself.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If it is no checkpoint, holds objects other than tensors and plain values, or is larger inside than
        it is on disk.
    """
    if not path.is_file():
        raise UsageError("there is no such file", str(path), _REMEDY)
    _check_archive(path)
    tensors = _state_dict(path, _load(path))
    for name, tensor in tensors.items():
        _check_plain(path, name, tensor)
    # A view may claim any shape over a few bytes; what a model saves lies in the file number by number.
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:
        raise _refusal(path, "its tensors claim more numbers than the file holds")
    return Published(path, file_sha256(path), tensors)


def _check_archive(path: Path) -> None:
    """Refuse what `torch.save` does not write, and what is damaged, before torch looks at it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise _refusal(path, "this is no checkpoint: it is compressed, which torch never does")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise _refusal(path, "this is no checkpoint: it claims to hold more than it has")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _refusal(path, f"this is no checkpoint: {error}") from error
    if damaged is not None:
        raise _refusal(path, f"this file is damaged: the checksum of {damaged} is wrong")


def _load(path: Path) -> Any:
    try:
        # Mapped: what the model does not need, such as the optimiser's state, is never read.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        what = str(error).strip()
        reason = re.search(r"WeightsUnpickler error: (.+)", what) or re.search(r"(.+)", what)
        said = reason[1] if reason else type(error).__name__
        raise _refusal(path, f"this checkpoint cannot be read safely: {said}") from error


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, dict) and content.get("fsdp_sharded"):
        raise _refusal(path, "this checkpoint is one of several shards; one that was saved whole is needed")
    state = content.get("model_state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise _refusal(path, "this checkpoint has no model_state_dict")
    if not all(isinstance(name, str) for name in state):
        raise _refusal(path, "its model_state_dict has names that are no text")
    tensors = {_WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    if len(tensors) < len(state):
        raise _refusal(path, "its model_state_dict has names twice, with and without a wrapper's prefix")
    return tensors


def _check_plain(path: Path, name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor) or type(tensor) not in (Tensor, nn.Parameter):
        raise _refusal(path, f"{name} is no tensor")
    is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    if not is_plain or tensor.is_quantized or not tensor.is_floating_point():
        raise _refusal(path, f"{name} is no tensor of plain floating-point numbers ({tensor.dtype})")


def _refusal(path: Path, what: str) -> InvalidDataError:
    return InvalidDataError(what, str(path), _REMEDY)
