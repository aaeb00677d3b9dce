"""Shard sets behind a URL: http:// and https:// by themselves, s3://, gs:// and others by fsspec.

Files are read by ranges: a row group costs a request for each run of its columns, and nothing is copied.
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
"""For an answer; then the request is tried again."""
SECONDS_BETWEEN_TRIES = (0.5, 2.0, 8.0)
"""Before each further try: what goes wrong for a moment must not end a run of days."""

_HTTP = ("http://", "https://")
_GONE = (404, 410)
_FOR_A_MOMENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class RemotePath:
    """A folder or file at a URL; what `Path` has, too, is called as there."""

    url: str

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    def absolute(self) -> "RemotePath":
        """Give itself: a URL is never relative."""
        return RemotePath(self.url.rstrip("/"))

    def read_bytes(self) -> bytes:
        """Read a whole, small file."""
        with reaching(self):
            return _patiently(lambda: _fetch(self.url, None))

    def open(self, size: int) -> "RangeFile":
        """Open a file of known size, to read parts of it."""
        return RangeFile(self, size)


ShardLocation = Path | RemotePath


def parse_location(name: str) -> ShardLocation:
    """Tell a URL from a path."""
    return RemotePath(name) if "://" in name else Path(name)


class RangeFile(io.BufferedIOBase):
    """A file of which each read is one request.

    Parameters
    ----------
    path : RemotePath
    size : int
        Bytes of the file, as the manifest has it.
    """

    def __init__(self, path: RemotePath, size: int) -> None:
        super().__init__()
        self._path, self._size, self._at = path, size, 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read at any place."""
        return True

    def tell(self) -> int:
        """Say where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Choose where the next read begins."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes, or all that are left."""
        start = min(self._at, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        content = self._read(start, stop) if stop > start else b""
        self._at = start + len(content)
        return content

    def _read(self, start: int, stop: int) -> bytes:
        with reaching(self._path):
            content = _patiently(lambda: _fetch(self._path.url, (start, stop)))
        if len(content) > stop - start:
            raise UsageError(
                "this server sends whole files where a part is asked for",
                str(self._path),
                "use a server that knows range requests (nginx, S3), or copy the shards to this machine",
            )
        if len(content) < stop - start:
            raise InvalidDataError(
                "this file is shorter than the manifest has it, or the server sent less than all",
                str(self._path),
                "copy the whole folder to the server again",
            )
        return content


@contextmanager
def reaching(path: RemotePath) -> Iterator[None]:
    """Turn what goes wrong on the way to a server into an error that names it.

    Raises
    ------
    UsageError
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"what reads such addresses is not installed: {error}",
            str(path),
            "pip install 'aamprep[remote]', or copy the shards to this machine",
        ) from error
    except ValueError as error:
        raise UsageError(f"this is no address: {error}", str(path), "check its beginning") from error
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code in _GONE:
            raise _missing(path) from error
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(
            f"the server gives no answer that is of use: {str(reason) or type(reason).__name__}",
            str(path),
            "check the address, the network, and that you may read it; then go on with --resume",
        ) from error


def _missing(path: RemotePath) -> UsageError:
    return UsageError(
        "there is no such file on the server",
        str(path),
        "name the folder that holds manifest.json, and copy the whole of it there",
    )


def _fetch(url: str, part: tuple[int, int] | None) -> bytes:
    """Read a file, or a part of it (its first byte, and the first after it)."""
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
            # A byte more than was asked for tells a whole file from a part.
            content: bytes = answer.read(None if size is None else size + 1)
            if size is not None and len(content) <= size and answer.length:
                # The connection was cut: what is announced and did not come is no error to `read` by itself.
                raise IncompleteRead(content, answer.length)
            return content
    except urllib.error.HTTPError as error:
        error.close()
        raise


def _patiently(fetch: Callable[[], bytes]) -> bytes:
    """Try again what may have gone wrong for a moment."""
    for seconds in SECONDS_BETWEEN_TRIES:
        try:
            return fetch()
        except (OSError, HTTPException) as error:
            if not _is_for_a_moment(error):
                raise
            time.sleep(seconds)
    return fetch()


def _is_for_a_moment(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _FOR_A_MOMENT
    return not isinstance(error, FileNotFoundError | PermissionError)
