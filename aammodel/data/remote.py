"""Read shard sets behind a URL: http:// and https:// directly, s3://, gs:// and others by fsspec.

Files are read in ranges: a row group takes one request for each run of its columns, and no file is copied.
"""

import io
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from pathlib import Path

from aam_schemas.common.errors import InvalidDataError, UsageError

SECONDS_TO_WAIT = 60
"""Time to wait for an answer before the request is tried again."""
SECONDS_BETWEEN_TRIES = (0.5, 2.0, 8.0)
"""Pauses before further tries. A short failure must not end a run of several days."""

_HTTP = ("http://", "https://")
_GONE = (404, 410)
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class RemotePath:
    """A folder or file at a URL, with the methods of `Path` that readers need."""

    url: str

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    def absolute(self) -> "RemotePath":
        """Return the URL without a final slash. A URL is never relative."""
        return RemotePath(self.url.rstrip("/"))

    def read_bytes(self) -> bytes:
        """Read a whole file, which should be small."""
        with reporting_network_errors(self):
            return _with_retries(lambda: _fetch(self.url, None))

    def open(self, size: int) -> "RangeFile":
        """Open a file of known size in bytes, to read parts of it."""
        return RangeFile(self, size)


ShardLocation = Path | RemotePath


def parse_location(name: str) -> ShardLocation:
    """Return the `RemotePath` of a URL, or the `Path` of a path."""
    return RemotePath(name) if "://" in name else Path(name)


class RangeFile(io.BufferedIOBase):
    """A file behind a URL. Each read is one request.

    Parameters
    ----------
    path : RemotePath
    size : int
        Size of the file in bytes, as listed in the manifest.
    """

    def __init__(self, path: RemotePath, size: int) -> None:
        super().__init__()
        self._path, self._size, self._position = path, size, 0

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: it can be read from any position."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position of the next read."""
        self._position = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        )
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, or all that are left."""
        start = min(self._position, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        content = self._read(start, stop) if stop > start else b""
        self._position = start + len(content)
        return content

    def _read(self, start: int, stop: int) -> bytes:
        with reporting_network_errors(self._path):
            content = _with_retries(lambda: _fetch(self._path.url, (start, stop)))
        if len(content) > stop - start:
            raise UsageError(
                "this server sends whole files when a part is requested",
                str(self._path),
                "use a server that supports range requests (nginx, S3), or copy the shards to this machine",
            )
        if len(content) < stop - start:
            raise InvalidDataError(
                "this file is shorter than the manifest says, or the server did not send all of it",
                str(self._path),
                "copy the whole folder to the server again",
            )
        return content


@contextmanager
def reporting_network_errors(path: RemotePath) -> Iterator[None]:
    """Turn errors of the network or server into one that names the file.

    Raises
    ------
    UsageError
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"a package that reads such URLs is not installed: {error}",
            str(path),
            "pip install 'aamprep[remote]', or copy the shards to this machine",
        ) from error
    except ValueError as error:
        raise UsageError(f"this is not a valid URL: {error}", str(path), "check how it begins") from error
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code in _GONE:
            raise _missing(path) from error
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(
            f"the file cannot be read from the server: {str(reason) or type(reason).__name__}",
            str(path),
            "check the URL, the network and your permissions, then resume the run with --resume",
        ) from error


def _missing(path: RemotePath) -> UsageError:
    return UsageError(
        "this file does not exist on the server",
        str(path),
        "give the URL of the folder that holds manifest.json, and check that all of it was copied there",
    )


def _fetch(url: str, part: tuple[int, int] | None) -> bytes:
    """Read a file, or the part of it from a first byte to the one after its last."""
    if not url.startswith(_HTTP):
        import fsspec

        system, path = fsspec.url_to_fs(url)
        return bytes(system.cat_file(path, *(part or ())))
    request = urllib.request.Request(url)
    if part is not None:
        request.add_header("Range", f"bytes={part[0]}-{part[1] - 1}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_WAIT) as answer:
            size = None if part is None else part[1] - part[0]
            # One byte more than requested, to notice a server that sends the whole file.
            content: bytes = answer.read(None if size is None else size + 1)
            if size is not None and len(content) <= size and answer.length:
                # The connection was cut: `read` itself raises no error if fewer bytes arrive than announced.
                raise IncompleteRead(content, answer.length)
            return content
    except urllib.error.HTTPError as error:
        error.close()
        raise


def _with_retries(fetch: Callable[[], bytes]) -> bytes:
    """Fetch, and try again after errors that may be temporary."""
    for seconds in SECONDS_BETWEEN_TRIES:
        try:
            return fetch()
        except (OSError, HTTPException) as error:
            if not _is_temporary(error):
                raise
            time.sleep(seconds)
    return fetch()


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _TEMPORARY
    return not isinstance(error, FileNotFoundError | PermissionError)
