"""Cache the token ids of ASVs in the user's cache folder, for every process to memory-map.

A file is named by the SHA-256 of its content, which each process compares before it uses the file. So
whatever is in the cache, the tokens are those that the manifest lists, or they are made again.
"""

import hashlib
import logging
import os
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import UsageError
from aam_schemas.common.publish import replace_file

Tokens = npt.NDArray[np.uint8]

_LOGGER = logging.getLogger(__name__)
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def tokens_sha256(tokens: Tokens) -> str:
    """Return the SHA-256 of tokens, ASV after ASV, as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(tokens).data).hexdigest()


def map_tokens(sha256: str, shape: tuple[int, int]) -> Tokens | None:
    """Return tokens memory-mapped from the cache, after comparing all of them with their SHA-256.

    Parameters
    ----------
    sha256 : str
        Hash of the tokens, as 64 hexadecimal digits.
    shape : tuple of int
        Number of ASVs and tokens per ASV.

    Returns
    -------
    ndarray of uint8, or None
        None if the cache does not have them. A file that is damaged, is no regular file, or that another user
        may change is not used, and a message says so.
    """
    path = _path(sha256)
    try:
        return _map(path, sha256, shape)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        _LOGGER.warning("%s: this cached file is not used, and is made again: %s", path, error)
        return None


def _map(path: Path, sha256: str, shape: tuple[int, int]) -> Tokens:
    # O_NOFOLLOW refuses a link, and O_NONBLOCK does not wait for the writer of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _check_file(os.fstat(descriptor), shape[0] * shape[1])
        if not shape[0]:
            return np.zeros(shape, dtype=np.uint8)
        # As a plain array, since indexing a memmap is slower.
        tokens: Tokens = np.asarray(np.memmap(file, dtype=np.uint8, mode="r", shape=shape))
    if tokens_sha256(tokens) != sha256:
        raise ValueError("its content was changed")
    return tokens


def keep_tokens(sha256: str, tokens: Tokens) -> None:
    """Write tokens to the cache.

    Raises
    ------
    UsageError
        If the cache cannot be written.
    """
    path = _path(sha256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, np.ascontiguousarray(tokens).tobytes())
        # Whatever the umask, no other user may change it.
        path.chmod(path.stat().st_mode & ~_WRITABLE_BY_OTHERS)
    except OSError as error:
        raise UsageError(
            f"the ASVs' tokens cannot be cached here: {error.strerror}",
            str(path.parent),
            "set the environment variable XDG_CACHE_HOME to a folder that is writable and has free space",
        ) from error


def _check_file(found: os.stat_result, size: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & _WRITABLE_BY_OTHERS:
        raise ValueError("another user may change it")
    if found.st_size != size:
        raise ValueError(f"it has {found.st_size:,} bytes in place of {size:,}")


def _path(sha256: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aam" / "tokens" / sha256
