"""Read a checkpoint that jbk708/aam wrote.

Checkpoints are pickle files from the internet, and unpickling can run code. So they are read without running
any code, and everything in them is checked.
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.shards import file_sha256

MOST_BYTES = 1 << 33
"""Largest checkpoint that is read, 8 GiB. The published ones have about 0.1 GiB."""
MOST_ENTRIES = 100_000
"""Largest number of tensors in a checkpoint, and of files in its archive."""
MOST_PICKLE_BYTES = 1 << 25
"""Largest pickle file in a checkpoint. It holds names and shapes, of about 200 bytes for each tensor."""
_FIX = "give a checkpoint (*.pt) that the training of jbk708/aam wrote"
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
"""Prefixes that DataParallel and torch.compile add to all names."""


@dataclass(frozen=True)
class PublishedCheckpoint:
    """Weights of a published checkpoint."""

    path: Path
    sha256: str
    tensors: dict[str, Tensor]
    """Tensors by name in the state dict, without the prefixes of wrappers."""

    def refuse(self, what: str) -> InvalidDataError:
        """Return the error for an invalid part of this file."""
        return InvalidDataError(what, str(self.path), _FIX)


def read_published(path: Path) -> PublishedCheckpoint:
    """Read the state dict of a checkpoint.

    Parameters
    ----------
    path : Path
        File that `torch.save` wrote: a dict with `model_state_dict`, or the state dict itself.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If it is not a checkpoint, holds objects other than tensors and plain values, or claims to be larger
        than it is on disk.
    """
    if not path.is_file():
        raise UsageError("there is no such file", str(path), _FIX)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise _refusal(path, f"this file has {size:,} bytes; at most {MOST_BYTES:,} are read")
    _check_archive(path)
    tensors = _state_dict(path, _load(path))
    for name, tensor in tensors.items():
        _check_plain(path, name, tensor)
    # A stride of 0 can give a few bytes any shape, so that a small file would fill the memory.
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:
        raise _refusal(path, "its tensors claim to hold more numbers than the file does")
    return PublishedCheckpoint(path, file_sha256(path), tensors)


def _check_archive(path: Path) -> None:
    """Refuse a file that is damaged, or that `torch.save` cannot have written, before torch opens it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise _refusal(
                    path, "this is not a checkpoint: it is compressed, and those of torch never are"
                )
            names = {entry.filename for entry in entries}
            if len(names) < len(entries) or len(entries) > MOST_ENTRIES:
                raise _refusal(path, "this is not a checkpoint: its archive has a file twice, or too many")
            if any(
                entry.file_size > MOST_PICKLE_BYTES for entry in entries if entry.filename.endswith(".pkl")
            ):
                raise _refusal(path, f"its list of tensors has more than {MOST_PICKLE_BYTES:,} bytes")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise _refusal(path, "this is not a checkpoint: it claims to be larger than it is")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _refusal(path, f"this is not a checkpoint: {error}") from error
    if damaged is not None:
        raise _refusal(path, f"this file is damaged: {damaged} has a wrong checksum")


def _load(path: Path) -> Any:
    try:
        # With mmap, tensors that are not used, such as the state of the optimizer, are never read.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        # Torch explains at length how to load the file anyway. Only the reason is shown.
        message = str(error).strip()
        line = re.search(r"WeightsUnpickler error: (.+)", message) or re.search(r"(.+)", message)
        reason = line[1] if line else type(error).__name__
        raise _refusal(path, f"this checkpoint cannot be read safely: {reason}") from error


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, dict) and content.get("fsdp_sharded"):
        raise _refusal(
            path, "this checkpoint is one of several shards, and only a whole checkpoint can be imported"
        )
    state = content.get("model_state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise _refusal(path, "this checkpoint has no model_state_dict")
    if len(state) > MOST_ENTRIES:
        raise _refusal(path, f"its model_state_dict has more than {MOST_ENTRIES:,} names")
    if not all(isinstance(name, str) for name in state):
        raise _refusal(path, "its model_state_dict has names that are not text")
    tensors = {_WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    if len(tensors) < len(state):
        raise _refusal(
            path, "its model_state_dict has a name twice, with and without the prefix of a wrapper"
        )
    return tensors


def _check_plain(path: Path, name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor) or type(tensor) not in (Tensor, nn.Parameter):
        raise _refusal(path, f"{name} is not a tensor")
    is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    if not is_plain or tensor.is_quantized or not tensor.is_floating_point():
        raise _refusal(path, f"{name} is not a plain tensor of floating-point numbers ({tensor.dtype})")


def _refusal(path: Path, what: str) -> InvalidDataError:
    return InvalidDataError(what, str(path), _FIX)
