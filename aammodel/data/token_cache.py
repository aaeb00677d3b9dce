"""Token ids of the ASVs of shard sets in the user's cache: made once, then mapped by every process.

A file there is the array as it is, and then its SHA-256. What does not fit is made again.
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
    """Map tokens from the cache, after a look at all of them; make them where they are not there whole.

    Parameters
    ----------
    name : str
        Identity of the shard set that they are of.
    shape : tuple of int
        Of what `make` gives.
    make : callable

    Raises
    ------
    UsageError
        If they cannot be kept in the cache.
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
        # Taken from as plain arrays, since a memmap's own indexing is slower.
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
            f"the ASVs' tokens cannot be kept here: {error.strerror}",
            str(path.parent),
            "name a folder that can be written to, with room in it, in the variable XDG_CACHE_HOME",
        ) from error


def _hash(tokens: Tokens) -> bytes:
    return hashlib.sha256(tokens.data).digest()


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aam" / "tokens"
