"""Read and write files of tensors: safetensors, with a SHA-256 of the whole file in its header.

A file is read in two stages. `read_header` checks its table of tensors against its size. A reader compares
names, types and shapes with what it expects, before anything of that size is allocated. Then `read_tensors`
reads the tensors once, and compares the hash.

The hash is that of all bytes of the file, with 64 zeros in place of its own digits. It detects any
change, also of the configuration in the header.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import open_regular, parse_json
from aam_schemas.common.text import shorten, truncate_list

DIGEST = "sha256"
"""Key of the header that holds the hash."""

MOST_HEADER_BYTES = 1 << 24
"""Largest header that is read. A thousand tensors take about 0.1 MB."""

MOST_DIMENSIONS = 8
"""Largest number of dimensions of a tensor. Ours have up to three."""

_BLANK = "0" * 64
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""Types of tensors by their names in a file."""
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT = 8
"""Number of bytes of which the length of a header is a multiple, as the safetensors library writes it."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Kind:
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @staticmethod
    def of(tensor: Tensor) -> "Kind":
        """Return the kind of a tensor. That of a sharded tensor has its whole shape."""
        return Kind(tensor.dtype, tuple(tensor.shape))

    @property
    def num_bytes(self) -> int:
        """Size of the tensor in a file."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} of shape {self.shape}"


@dataclass(frozen=True)
class Header:
    """Header of a file of tensors, checked against the size of the file."""

    path: Path
    fix: str
    """Fix for a damaged file, for messages."""
    content: bytes
    """All bytes before those of the tensors."""
    metadata: dict[str, str]
    """Text by key, as the writer gave it to `tensor_file`, without the hash."""
    sha256: str | None
    """Hash of the file. None in files of earlier versions."""
    kinds: dict[str, Kind]
    """Type and shape of each tensor by name, in the order of the file."""

    @property
    def num_bytes(self) -> int:
        """Size of all tensors."""
        return sum(kind.num_bytes for kind in self.kinds.values())

    def json(self, key: str) -> Any:
        """Return the value of a key, which is strict JSON.

        Raises
        ------
        InvalidDataError
            If there is no such key, or its value is not JSON.
        """
        if key not in self.metadata:
            raise self.refuse(f"its header has no {key}")
        return parse_json(self.metadata[key], f"{self.path}, {key}")

    def refuse(self, what: str) -> InvalidDataError:
        """Return the error for invalid content of this file."""
        return InvalidDataError(what, str(self.path), self.fix)

    def require(self, expected: Mapping[str, Kind]) -> None:
        """Refuse the file unless it has exactly these tensors.

        Raises
        ------
        InvalidDataError
            Naming the tensors that are missing or unexpected, or the first one of another type or shape.
        """
        missing, unexpected = expected.keys() - self.kinds, self.kinds.keys() - expected
        for what, names in (("missing", missing), ("unexpected", unexpected)):
            if names:
                plural = "s" if len(names) > 1 else ""
                raise self.refuse(f"{what} tensor{plural}: {truncate_list(map(shorten, sorted(names)))}")
        for name, kind in expected.items():
            if self.kinds[name] != kind:
                raise self.refuse(f"the tensor {name} is {self.kinds[name]}, but must be {kind}")


@dataclass(frozen=True)
class TensorFile:
    """Content of a file of tensors, to be written."""

    parts: tuple[memoryview, ...]
    """The header, then the values of each tensor. These are the memory of the tensors, not a copy."""
    sha256: str
    """Hash of the file."""

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


def tensor_file(tensors: Tensors, metadata: Mapping[str, str]) -> TensorFile:
    """Return the content of a file of tensors.

    Parameters
    ----------
    tensors : dict of str to Tensor
        They must not change before the file is written.
    metadata : mapping
        Text by key, for the header. A hash of the whole file is added.
    """
    # Large numbers first, so that each tensor is aligned for its type. Equal tensors are equal files.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    values = [_memory(tensors[name]) for name in names]
    ends = list(accumulate(map(len, values), initial=0))
    table: dict[str, Any] = {_METADATA: dict(sorted({**metadata, DIGEST: _BLANK}.items()))}
    for name, start, end in zip(names, ends, ends[1:], strict=False):
        dtype, shape = _DTYPE_NAMES[tensors[name].dtype], list(tensors[name].shape)
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // _ALIGNMENT) * _ALIGNMENT)
    length = len(text).to_bytes(_LENGTH_BYTES, "little")
    digest = hashlib.sha256(length + text)
    for value in values:
        digest.update(value)
    header = length + text.replace(_digest_entry(_BLANK), _digest_entry(digest.hexdigest()))
    return TensorFile((memoryview(header), *values), digest.hexdigest())


def _memory(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor, without a copy if it is contiguous and on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return flat.numpy().data if len(flat) else memoryview(b"")


def _digest_entry(digest: str) -> bytes:
    # In a value of another key, the quotes would be escaped. So these bytes occur once.
    return f'"{DIGEST}":"{digest}"'.encode()


def read_header(path: Path, keys: Iterable[str], fix: str) -> Header:
    """Read and check the header of a file of tensors. Nothing of the size of the tensors is allocated.

    Parameters
    ----------
    path : Path
    keys : iterable of str
        All keys that earlier versions wrote into headers of such files, which had no hash.
    fix : str
        What to do about a damaged file.

    Raises
    ------
    InvalidDataError
        If the file is not a regular file, its header is larger than `MOST_HEADER_BYTES` or not strict JSON, a
        tensor has an unknown type, or the tensors do not fill the file exactly, one after another.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(_LENGTH_BYTES)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, MOST_HEADER_BYTES):
            raise InvalidDataError(
                f"this is no safetensors file: its first {_LENGTH_BYTES} bytes are not the size of a header",
                str(path),
                fix,
            )
        text = file.read(length)
    header = Header(path, fix, prefix + text, *_parse(text, path, fix))
    if header.num_bytes != size - _LENGTH_BYTES - length:
        raise header.refuse(
            f"its tensors have {header.num_bytes:,} bytes, but the file has {size - _LENGTH_BYTES - length:,}"
        )
    unknown = header.metadata.keys() - set(keys)
    if header.sha256 is None and unknown:
        # A damaged letter must not turn the hash into a key that nobody knows.
        raise header.refuse(f"its header has no {DIGEST}, but a key {shorten(repr(min(unknown)))}")
    return header


def _parse(text: bytes, path: Path, fix: str) -> tuple[dict[str, str], str | None, dict[str, Kind]]:
    table = parse_json(text, f"{path}, header")
    try:
        if not isinstance(table, dict):
            raise TypeError("it is not an object")
        metadata = table.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError(f"{_METADATA} must be an object of text")
        digest = metadata.pop(DIGEST, None)
        if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
            raise TypeError(f"{DIGEST} must have 64 hexadecimal digits")
        return metadata, digest, _kinds(table)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"its header is invalid: {error}", str(path), fix) from error


def _kinds(table: dict[str, Any]) -> dict[str, Kind]:
    """Return the kinds of all tensors in the order of the file, which they must fill without gaps."""
    parsed = [(*_entry(name, values), name) for name, values in table.items()]
    kinds, end = {}, 0
    for begins, ends, kind, name in sorted(parsed, key=lambda entry: entry[:2]):
        if begins != end or ends - begins != kind.num_bytes:
            raise ValueError(
                f"the tensor {shorten(name)} is {kind}, and its bytes {begins:,} to {ends:,} fit neither "
                "this nor the other tensors"
            )
        kinds[name], end = kind, ends
    return kinds


def _entry(name: str, values: object) -> tuple[int, int, Kind]:
    where = f"the tensor {shorten(repr(name))}"
    if not isinstance(values, dict) or values.keys() != {"dtype", "shape", "data_offsets"}:
        raise TypeError(f"{where} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = values["dtype"], values["shape"], values["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise TypeError(f"{where} has the type {shorten(repr(dtype))}, which is not read here")
    if not _is_list_of_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise TypeError(f"{where} has an invalid shape: {shorten(repr(shape))}")
    if not _is_list_of_sizes(offsets) or len(offsets) != 2:
        raise TypeError(f"{where} has invalid data_offsets: {shorten(repr(offsets))}")
    return *offsets, Kind(_DTYPES[dtype], tuple(shape))


def _is_list_of_sizes(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def read_tensors(header: Header) -> Tensors:
    """Read all tensors of a file, and compare its hash. The hash is not compared if the file has none.

    Returns
    -------
    dict of str to Tensor
        On the CPU.

    Raises
    ------
    InvalidDataError
        If the file is damaged, or was changed since its header was read.
    """
    with open_regular(header.path) as file:
        if file.read(len(header.content)) != header.content:
            raise header.refuse("this file was changed while it was read")
        found = hashlib.sha256(_with_blank_digest(header))
        tensors = {}
        for name, kind in header.kinds.items():
            # Each tensor gets memory of its own, which torch aligns, so results do not depend on offsets.
            content = torch.empty(kind.num_bytes, dtype=torch.uint8)
            if cast(BufferedReader, file).readinto(content.numpy().data) != kind.num_bytes:
                raise header.refuse("this file was truncated while it was read")
            if header.sha256 is not None:
                found.update(content.numpy().data)
            if kind.dtype == torch.bool and content.numel() and content.max() > 1:
                raise header.refuse(f"the tensor {name} has bytes other than 0 and 1 for false and true")
            tensors[name] = content.view(kind.dtype).view(kind.shape)
        if file.read(1):
            raise header.refuse("this file grew while it was read")
    if header.sha256 is not None and found.hexdigest() != header.sha256:
        raise header.refuse(f"this file is damaged: its content differs from the {DIGEST} in its header")
    return tensors


def _with_blank_digest(header: Header) -> bytes:
    if header.sha256 is None:
        return b""
    entry = _digest_entry(header.sha256)
    if header.content.count(entry) != 1:
        raise header.refuse(f"another program rewrote its header, and the {DIGEST} in it does not apply")
    return header.content.replace(entry, _digest_entry(_BLANK))


def require_finite(header: Header, tensors: Tensors) -> None:
    """Refuse a file with NaN or infinity.

    Raises
    ------
    InvalidDataError
        Naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            # The extremes take one pass without extra memory. They are NaN if any value is.
            smallest, largest = tensor.aminmax()
            if not (smallest.isfinite() and largest.isfinite()):
                raise header.refuse(f"the tensor {name} has NaN or infinite values")
