"""Cache the token ids of a shard set's ASVs in the user's cache folder, for every process to memory-map.

A cached file holds the array, followed by its SHA-256. A file that does not match its checksum is made again.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import UsageError
from aam_schemas.common.publish import replace_file

Tokens = npt.NDArray[np.uint8]

_HASH_BYTES = 32


def cached_tokens(name: str, shape: tuple[int, int], make: Callable[[], Tokens]) -> Tokens:
    """Return tokens memory-mapped from the cache, after checking all of them. Cache them first if needed.

    Parameters
    ----------
    name : str
        Identity of the shard set.
    shape : tuple of int
        Shape of the array that `make` returns, (ASVs, L).
    make : callable
        Called if the tokens are not in the cache.

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    UsageError
        If the cache cannot be written.
    """
    path = _folder() / name
    found = _mapped(path, shape)
    if found is not None:
        return found
    made = make()
    _keep(path, made)
    found = _mapped(path, shape)
    return made if found is None else found


def _mapped(path: Path, shape: tuple[int, int]) -> Tokens | None:
    size = shape[0] * shape[1]
    try:
        # As a plain array, since indexing a memmap is slower.
        content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    except (OSError, ValueError):  # an empty file is a ValueError
        return None
    if len(content) != size + _HASH_BYTES or _hash(content[:size]) != content[size:].tobytes():
        return None
    return content[:size].reshape(shape)


def _keep(path: Path, tokens: Tokens) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, b"".join((tokens.data, _hash(tokens))))
    except OSError as error:
        raise UsageError(
            f"the ASVs' tokens cannot be cached here: {error.strerror}",
            str(path.parent),
            "set the environment variable XDG_CACHE_HOME to a folder that is writable and has free space",
        ) from error


def _hash(tokens: Tokens) -> bytes:
    return hashlib.sha256(tokens.data).digest()


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aam" / "tokens"
