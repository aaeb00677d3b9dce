"""From a path to its content: what the file is, its identity for the manifest, and its bytes within limits.

A gzipped file is unpacked and an artifact's member is taken out on the way, so that the reader of a format
never meets either.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aam_schemas.common.errors import UsageError
from aamprep.choices import DEFAULT_BUDGET
from aamprep.read.sniff import Kind, is_gzip, sniff
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule

PIECE_BYTES = 1 << 20
_NO_DATA = {
    Kind.EMPTY: rules.FILE_EMPTY,
    Kind.HTML: rules.FILE_HTML,
    Kind.LFS_POINTER: rules.FILE_LFS_POINTER,
}


@dataclass(frozen=True)
class Limits:
    """How much a file may ask for before it is refused."""

    declared_bytes: int = int(DEFAULT_BUDGET * 2**30)
    """Largest size of a file, unpacked, and of the arrays that an HDF5 table declares."""
    ratio: int = 200
    """Largest ratio of unpacked to packed bytes, above `ratio_above`."""
    ratio_above: int = 256 << 20
    """Honest tables compress well, too, but none above this size compresses beyond `ratio`."""
    memory_bytes: int = 4 << 30
    """Address space of the process that reads a table."""
    seconds: float = 600.0
    """Time for reading a table, beside a second for each MB of the file."""


@dataclass(frozen=True)
class Source:
    """A file that exists and holds something."""

    path: Path
    name: str
    """As the user typed it, for findings."""
    kind: Kind
    is_gzip: bool
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ObjectFile:
    """A file that a Python object was written to, to be read as any other."""

    path: Path
    name: str
    """What findings and the manifest call it, such as `<biom.Table>`."""
    study: str = "study"
    """Name of the study, where the object is a table."""

    def __str__(self) -> str:
        """Return its name."""
        return self.name


InputPath = Path | ObjectFile


class RefusedError(Exception):
    """A file cannot be used; carries the finding."""

    def __init__(self, rule: Rule, where: str, value: object = "") -> None:
        super().__init__(f"{rule.code} {where}: {value}")
        self.rule, self.where, self.value = rule, where, value

    def report(self, findings: Findings) -> None:
        """Add the finding that this carries."""
        findings.add(self.rule, self.where, self.value)


def open_source(file: InputPath) -> Source:
    """Identify a file.

    Raises
    ------
    UsageError
        If there is no such file, it may not be read, or it is a pipe.
    RefusedError
        If it is empty, a web page or a pointer to the data.
    """
    path, name = (file.path if isinstance(file, ObjectFile) else file), str(file)
    if not path.exists():
        raise UsageError("there is no such file", name, "check the path")
    if not path.is_file() and not path.is_dir():
        raise UsageError("this is a pipe or a device, not a file", name, "write it to a file first")
    try:
        kind = sniff(path)
        refuse_no_data(kind, name)
        if path.is_dir():
            raise RefusedError(rules.FILE_KIND, name, f"{kind}; a file is needed")
        with path.open("rb") as content:
            packed = is_gzip(content.read(8))
            size = content.seek(0, 2)
            content.seek(0)
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(
            f"the file cannot be opened: {error.strerror}", name, "check its permissions"
        ) from None
    return Source(path, name, kind, packed, size, digest)


def refuse_no_data(kind: Kind, where: str) -> None:
    """Refuse what takes the place of data: an empty file, a web page, a pointer."""
    if kind in _NO_DATA:
        raise RefusedError(_NO_DATA[kind], where, kind)


def unpack(source: Source, limits: Limits) -> Iterator[bytes]:
    """Unpack a gzipped file piece by piece.

    Raises
    ------
    RefusedError
        If it is cut short or damaged, or unpacks to more than the limits allow.
    """
    with source.path.open("rb") as file:
        try:
            yield from _inflate(file, source, limits)
        except zlib.error as error:
            raise RefusedError(rules.FILE_UNREADABLE, source.name, f"gzip: {error}") from None


def content_of(source: Source, limits: Limits) -> bytes:
    """Read a whole file that is no artifact, unpacked where it is gzipped."""
    if source.is_gzip:
        for _ in unpack(source, limits):  # once for its size, so that a bomb is never held in memory
            pass
        return b"".join(unpack(source, limits))
    check_size(source.bytes, source.bytes, source.name, limits)
    return source.path.read_bytes()


def text_of(content: bytes, where: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises
    ------
    RefusedError
        If it is not UTF-8; names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RefusedError(
            rules.FILE_ENCODING, f"{where}, line {line}", f"byte 0x{content[error.start]:02x}"
        ) from None


def check_size(unpacked: int, packed: int, where: str, limits: Limits) -> None:
    """Refuse content that is, or says it is, larger than the limits allow."""
    if unpacked > limits.declared_bytes:
        budget = size_in_words(limits.declared_bytes)
        raise RefusedError(rules.FILE_TOO_LARGE, where, f"{size_in_words(unpacked)}; the budget is {budget}")
    if unpacked > limits.ratio_above and unpacked > limits.ratio * packed:
        value = f"{size_in_words(packed)} unpack to {size_in_words(unpacked)} or more"
        raise RefusedError(rules.FILE_RATIO, where, value)


def size_in_words(size: float) -> str:
    """Say a number of bytes as people do."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _is_dense(unpacked: int, packed: int, limits: Limits) -> bool:
    """Tell whether the first piece is packed so tightly that the file may be a bomb.

    Only then is the size believed that the file gives in its last bytes, which spares unpacking what is
    refused anyway: behind an honest table may stand bytes that mean nothing.
    """
    return unpacked > limits.ratio * packed


def _declared_bytes(path: Path) -> int:
    """Read the unpacked size that a gzip file gives in its last four bytes (RFC 1952)."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")


def _inflate(file: IO[bytes], source: Source, limits: Limits) -> Iterator[bytes]:
    """Unpack all members of a gzip file; bytes after the last one that are no member are ignored."""
    total, pending = 0, file.read(PIECE_BYTES)
    while is_gzip(pending):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            piece = member.decompress(pending, PIECE_BYTES)
            pending = member.unconsumed_tail
            total += len(piece)
            check_size(total, source.bytes, source.name, limits)
            if total == len(piece) and _is_dense(len(piece), file.tell() - len(pending), limits):
                check_size(_declared_bytes(source.path), source.bytes, source.name, limits)
            yield piece
            if not pending and not member.eof:
                pending = file.read(PIECE_BYTES)
                if not pending:
                    raise RefusedError(rules.FILE_UNREADABLE, source.name, "gzip: the file is cut short")
        pending = member.unused_data
        pending += file.read(PIECE_BYTES) if len(pending) < 8 else b""
