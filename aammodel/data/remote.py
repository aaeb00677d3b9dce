"""Read shard sets behind a URL: http:// and https:// directly, s3://, gs:// and others by fsspec.

Files are read in ranges: a row group takes one request, and no file is copied. A server decides neither how
much is read nor how long it takes: each request has a largest size and a deadline.
"""

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote, urljoin, urlsplit

from aam_schemas.common.errors import AamError, InvalidDataError, UsageError
from aam_schemas.common.seekable import SeekableReader

SECONDS_TO_WAIT = 12
"""Time to wait for an answer before the request is tried again."""
SECONDS_BETWEEN_TRIES = (0.5, 2.0, 8.0)
"""Pauses before further tries. A short failure must not end a run of several days."""
SECONDS_IN_ALL = 50
"""Time for a request with all its tries, and what it receives at the slowest speed that is accepted."""
SLOWEST_BYTES_PER_SECOND = 32 << 10
MOST_REDIRECTS = 5

_HTTP = ("http", "https")
_GONE = (404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
_BYTES_AT_ONCE = 1 << 16
_PARTIAL_CONTENT = 206
_LONGEST_SHOWN = 200
_COPY = "or copy the shards to this machine"


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

    def read_bytes(self, largest: int) -> bytes:
        """Read a whole file of up to `largest` bytes.

        Raises
        ------
        UsageError
            If it cannot be read, or not in time.
        InvalidDataError
            If it is larger.
        """
        content = _fetch(self, 0, None, largest + 1)
        if len(content) > largest:
            raise InvalidDataError(
                f"this file has more than {largest:,} bytes, and no such file of a shard set is so large",
                str(self),
                "give the URL of the folder that holds manifest.json",
            )
        return content

    def open(self, size: int) -> "RangeFile":
        """Open a file of known size in bytes, to read parts of it."""
        return RangeFile(self, size)


ShardLocation = Path | RemotePath


_KEPT_IN_PATH = "/%:@!$&'()*+,;=~[]"
"""Characters of a URL's path that are not encoded."""


def parse_location(name: str) -> ShardLocation:
    """Return the `RemotePath` of a URL, or the `Path` of a path.

    Blanks and letters beyond ASCII in the URL of a web server are encoded, as browsers do.

    Raises
    ------
    UsageError
        If the URL of a web server has a query or a fragment. The names of files could not follow it.
    """
    if "://" not in name:
        return Path(name)
    if not name.lower().startswith(("http://", "https://")):
        return RemotePath(name)
    if "?" in name or "#" in name:
        raise UsageError(
            "a URL with '?' or '#' does not lead to a folder",
            name,
            "leave out what begins there, or write %3F and %23 if the folder has these in its name",
        )
    scheme, _, rest = name.partition("://")
    host, slash, path = rest.partition("/")
    return RemotePath(f"{scheme}://{host}{slash}{quote(path, safe=_KEPT_IN_PATH)}")


class RangeFile(SeekableReader):
    """A file behind a URL. Each read is one request.

    Parameters
    ----------
    path : RemotePath
    size : int
        Size of the file in bytes, as listed in the manifest.
    """

    def __init__(self, path: RemotePath, size: int) -> None:
        super().__init__(size)
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, or all that are left."""
        start = min(self.position, self.size)
        stop = self.size if size is None or size < 0 else min(start + size, self.size)
        content = self._read(start, stop) if stop > start else b""
        self.position = start + len(content)
        return content

    def _read(self, start: int, stop: int) -> bytes:
        # One byte more than requested, to notice a server that sends the whole file.
        content = _fetch(self._path, start, stop, stop - start + 1)
        if len(content) > stop - start:
            raise _without_ranges(self._path.url)
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
    except AamError:
        raise
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
            "check the URL, the network and your permissions, then start again, or resume the run",
        ) from error


def _missing(path: RemotePath) -> UsageError:
    return UsageError(
        "this file does not exist on the server",
        str(path),
        "give the URL of the folder that holds manifest.json, and check that all of it was copied there",
    )


@dataclass
class _Transfer:
    """A request with all its tries, as seen from the thread that waits for it."""

    received: int = 0
    """Number of bytes that the longest try has received."""
    is_over: Event = field(default_factory=Event)
    is_abandoned: bool = False
    content: bytes = b""
    error: BaseException | None = None


def _fetch(path: RemotePath, start: int, stop: int | None, most: int) -> bytes:
    """Read a part of a file, to its end if `stop` is None, but never more than `most` bytes.

    The request runs in a thread, and this one waits until the deadline. So it ends wherever the server lets
    it hang: in the name lookup, the handshake, the headers or the content.
    """
    transfer = _Transfer()
    Thread(target=_run, args=(transfer, path.url, start, stop, most), daemon=True).start()
    begun = time.monotonic()
    while not transfer.is_over.is_set():
        # A slow network earns time with what it delivers.
        seconds = begun + SECONDS_IN_ALL + transfer.received / SLOWEST_BYTES_PER_SECOND - time.monotonic()
        if seconds <= 0:
            transfer.is_abandoned = True
            raise UsageError(
                f"the server is too slow: {transfer.received:,} bytes in {time.monotonic() - begun:.0f} s",
                str(path),
                f"check the network and the server, then start again, or resume the run, {_COPY}",
            )
        transfer.is_over.wait(seconds)
    if transfer.error is not None:
        with reporting_network_errors(path):
            raise transfer.error
    return transfer.content


def _run(transfer: _Transfer, url: str, start: int, stop: int | None, most: int) -> None:
    """Make a request, again after errors that may be temporary."""
    for seconds in (*SECONDS_BETWEEN_TRIES, None):
        try:
            transfer.content = _try(transfer, url, start, stop, most)
            transfer.error = None
            break
        except Exception as error:  # noqa: BLE001 (it is raised again by the thread that waits)
            transfer.error = error
            if seconds is None or not _is_temporary(error):
                break
        time.sleep(seconds)
        if transfer.is_abandoned:
            break
    transfer.is_over.set()


def _try(transfer: _Transfer, url: str, start: int, stop: int | None, most: int) -> bytes:
    if urlsplit(url).scheme not in _HTTP:
        return _read_with_fsspec(url, start, start + most if stop is None else stop)
    with _answer(url, None if stop is None else f"bytes={start}-{stop - 1}") as answer:
        _check_answer(answer, url, start, stop)
        content = bytearray()
        while len(content) < most and (part := answer.read1(min(most - len(content), _BYTES_AT_ONCE))):
            content += part
            transfer.received = max(transfer.received, len(content))
            if transfer.is_abandoned:
                break
        if len(content) < most and answer.length:
            # The connection was cut: `read1` itself raises no error if fewer bytes arrive than announced.
            raise IncompleteRead(bytes(content), answer.length)
        return bytes(content)


def _read_with_fsspec(url: str, start: int, stop: int) -> bytes:
    import fsspec

    try:
        system, path = fsspec.url_to_fs(url)
        return bytes(system.cat_file(path, start, stop)[: stop - start])
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:
        # Each of its file systems has errors of its own.
        raise OSError(f"{type(error).__name__}: {error}") from error


def _check_answer(answer: HTTPResponse, url: str, start: int, stop: int | None) -> None:
    """Refuse an answer that is not what was asked for, before its content is read."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UsageError(
            f"this server sends the file with the content encoding {encoding[:_LONGEST_SHOWN]!r}, "
            "though none was asked for",
            url,
            f"turn compression of these files off on the server, {_COPY}",
        )
    if stop is None:
        return
    if answer.status != _PARTIAL_CONTENT and (start > 0 or (answer.length or 0) > stop):
        raise _without_ranges(url)
    sent = answer.headers.get("Content-Range", "")
    if answer.status == _PARTIAL_CONTENT and sent and not sent.startswith(f"bytes {start}-"):
        raise UsageError(
            f"this server sends another part than the bytes from {start}: {sent[:_LONGEST_SHOWN]!r}",
            url,
            f"use a server that supports range requests (nginx, S3), {_COPY}",
        )


def _without_ranges(url: str) -> UsageError:
    return UsageError(
        "this server sends whole files when a part is requested",
        url,
        f"use a server that supports range requests (nginx, S3), {_COPY}",
    )


def _answer(url: str, part: str | None) -> HTTPResponse:
    """Return the answer of a server, after a few redirects at most."""
    target = url
    for _ in range(MOST_REDIRECTS + 1):
        request = urllib.request.Request(target, headers={} if part is None else {"Range": part})
        try:
            answer: HTTPResponse = _opener().open(request, timeout=SECONDS_TO_WAIT)
            return answer
        except urllib.error.HTTPError as error:
            # Its body is not read, since it may have no end.
            error.close()
            location = error.headers.get("Location")
            if error.code not in _REDIRECTS or not location:
                raise
            target = _redirected(url, target, location)
    raise UsageError(
        f"the server redirects more than {MOST_REDIRECTS} times", url, "give the URL that it leads to"
    )


def _redirected(url: str, source: str, location: str) -> str:
    """Return where a redirect leads. Only http and https are followed, and never from https to http."""
    target = urljoin(source, location)
    scheme = urlsplit(target).scheme
    if scheme not in _HTTP or (scheme == "http" and urlsplit(source).scheme == "https"):
        raise UsageError(
            f"the server redirects from {urlsplit(source).scheme} to {target[:_LONGEST_SHOWN]!r}, "
            "which is not followed",
            url,
            f"check the URL, {_COPY}",
        )
    return target


@cache
def _opener() -> urllib.request.OpenerDirector:
    """Return what opens URLs: of http and https alone, without redirects."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _TEMPORARY
    return isinstance(error, OSError | HTTPException) and not isinstance(
        error, FileNotFoundError | PermissionError
    )
