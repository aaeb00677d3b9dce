"""Open input files: detect the format, compute the hash for the manifest, and read the content within limits.

Gzipped files are unpacked here, so that the parsers of the formats do not see compression.
"""

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aam_schemas.common.errors import UsageError
from aamprep.choices import DEFAULT_BUDGET
from aamprep.read.packing import damaged_errors, packing_of, unpacked_chunks
from aamprep.read.sniff import Kind, sniff
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule

CHUNK_BYTES = 1 << 20
_PLACEHOLDERS = {
    Kind.EMPTY: rules.FILE_EMPTY,
    Kind.HTML: rules.FILE_HTML,
    Kind.LFS_POINTER: rules.FILE_LFS_POINTER,
}
"""Files in place of the data, with the rule that refuses each."""


@dataclass(frozen=True)
class Limits:
    """Limits on the resources that a file may require."""

    declared_bytes: int = int(DEFAULT_BUDGET * 2**30)
    """Maximum size of an unpacked file, and of the arrays that an HDF5 table declares."""
    ratio: int = 200
    """Maximum ratio of unpacked to packed bytes for content larger than `ratio_above`."""
    ratio_above: int = 256 << 20
    """Unpacked size from which `ratio` applies, in bytes. Smaller real tables can compress even better."""
    memory_bytes: int = 1280 << 20
    """Maximum address space of the process that reads an empty file, in bytes. Larger files may use more."""
    seconds: float = 45.0
    """Maximum time for reading an empty file. Larger files have one more second per MB."""

    def memory_for(self, size: int) -> int:
        """Return the maximum address space of the process that reads a file of `size` bytes.

        A compressed file needs many times its size, but hardly more than 4 GiB. An uncompressed file of many
        GiB needs a few times its size.
        """
        return self.memory_bytes + max(min(20 * size, 11 << 28), 4 * size)

    def seconds_for(self, size: int) -> float:
        """Return the maximum time for reading a file of `size` bytes."""
        return self.seconds + size / 1e6


@dataclass(frozen=True)
class Source:
    """An input file that exists and is not empty."""

    path: Path
    name: str
    """Path as given by the user, for findings."""
    kind: Kind
    """Format of the content. For compressed files, that of the unpacked content."""
    packing: str
    """Compression: gzipped, bzip2, xz, or empty."""
    bytes: int
    """Size of the file."""
    sha256: str


@dataclass(frozen=True)
class ObjectFile:
    """A file that holds a Python object and is read like any other file."""

    path: Path
    name: str
    """Name in findings and in the manifest, such as `<biom.Table>`."""
    study: str = "study"
    """Name of the study, if the object is a table."""

    def __str__(self) -> str:
        """Return the name."""
        return self.name


InputPath = Path | ObjectFile


class RefusedError(Exception):
    """A file cannot be used. The attributes are those of a finding."""

    def __init__(self, rule: Rule, where: str, value: object = "") -> None:
        super().__init__(f"{rule.code} {where}: {value}")
        self.rule, self.where, self.value = rule, where, value

    def report(self, findings: Findings) -> None:
        """Add the error to the findings."""
        findings.add(self.rule, self.where, self.value)


@dataclass(frozen=True)
class Status:
    """State of a file on disk. Two equal states mean that the file was not changed in between."""

    device: int
    inode: int
    bytes: int
    modified: int
    """In nanoseconds."""


def status_of(path: Path, name: str) -> Status:
    """Return the state of a file without opening it: opening a pipe would wait for its writer.

    Raises
    ------
    UsageError
        If the file does not exist, cannot be accessed, or is neither a file nor a folder.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError("there is no such file", name, "check the path") from None
    except (OSError, ValueError) as error:
        raise _cannot_be_opened(error, name) from None
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise UsageError("this is a pipe or a device, not a file", name, "write it to a file first")
    return Status(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def open_source(path: Path, name: str, limits: Limits) -> Source:
    """Detect the format of a file and compute its hash.

    Parameters
    ----------
    path : Path
    name : str
        Path as given by the user, for findings.
    limits : Limits

    Raises
    ------
    UsageError
        If the file does not exist, cannot be opened, or is a pipe or device.
    RefusedError
        If the file is a folder, is empty, is larger than the budget, or is a web page or a Git LFS pointer in
        place of the data.
    """
    size = status_of(path, name).bytes
    try:
        if path.is_dir():
            raise RefusedError(rules.FILE_KIND, name, f"{sniff(path)}; a file is needed")
        check_size(size, size, name, limits)
        kind = sniff(path)
        refuse_placeholder(kind, name)
        with path.open("rb") as content:
            packing = packing_of(content.read(16))
            content.seek(0)
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise _cannot_be_opened(error, name) from None
    source = Source(path, name, kind, packing, size, digest)
    if kind is Kind.UNKNOWN and packing:
        _check_unpacking(source, limits)
    return source


def _check_unpacking(source: Source, limits: Limits) -> None:
    """Raise RefusedError if a compressed file is damaged, which is why its format is unknown."""
    for _ in unpack(source, limits):
        pass


def _cannot_be_opened(error: OSError | ValueError, name: str) -> UsageError:
    reason = getattr(error, "strerror", None) or str(error)
    return UsageError(f"the file cannot be opened: {reason}", name, "check its permissions")


def refuse_placeholder(kind: Kind, where: str) -> None:
    """Raise RefusedError for a file in place of the data: empty, a web page or a Git LFS pointer."""
    if kind in _PLACEHOLDERS:
        raise RefusedError(_PLACEHOLDERS[kind], where, kind)


def unpack(source: Source, limits: Limits) -> Iterator[bytes]:
    """Yield the content of a compressed file in chunks.

    Raises
    ------
    RefusedError
        If the file is cut short or damaged, or unpacks to more than the limits allow.
    """

    def check(total: int, num_read: int, is_first: bool) -> None:
        check_size(total, source.bytes, source.name, limits)
        # If the first chunk is packed very tightly, the file may be a zip bomb. Then the size that gzip
        # declares is checked now, which saves unpacking it. It cannot be trusted in general, since other
        # bytes may follow the last member.
        if source.packing == "gzipped" and is_first and total > limits.ratio * num_read:
            check_size(_declared_bytes(source.path), source.bytes, source.name, limits)

    with source.path.open("rb") as file:
        try:
            yield from unpacked_chunks(file, check)
        except damaged_errors() as error:
            name = source.packing.replace("gzipped", "gzip")
            raise RefusedError(rules.FILE_UNREADABLE, source.name, f"{name}: {error}") from None


def read_content(source: Source, limits: Limits) -> bytes:
    """Return the whole content of a file that is not an artifact, unpacked if it is compressed.

    Raises
    ------
    RefusedError
        If the file is damaged, or larger than the limits allow.
    """
    if source.packing:
        # The first pass only checks the size, so that a zip bomb is never held in memory.
        for _ in unpack(source, limits):
            pass
        return b"".join(unpack(source, limits))
    check_size(source.bytes, source.bytes, source.name, limits)
    return source.path.read_bytes()


def decode_text(content: bytes, where: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises
    ------
    RefusedError
        If the content is not UTF-8, with the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RefusedError(
            rules.FILE_ENCODING, f"{where}, line {line}", f"byte 0x{content[error.start]:02x}"
        ) from None


def check_size(unpacked: int, packed: int, where: str, limits: Limits) -> None:
    """Raise RefusedError if the actual or declared size of content exceeds the limits. Sizes are in bytes."""
    if unpacked > limits.declared_bytes:
        budget = format_bytes(limits.declared_bytes)
        raise RefusedError(rules.FILE_TOO_LARGE, where, f"{format_bytes(unpacked)}; the budget is {budget}")
    if unpacked > limits.ratio_above and unpacked > limits.ratio * packed:
        value = f"{format_bytes(packed)} unpacks to {format_bytes(unpacked)} or more"
        raise RefusedError(rules.FILE_RATIO, where, value)


def format_bytes(size: float) -> str:
    """Return a number of bytes with a unit, such as `1.5 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _declared_bytes(path: Path) -> int:
    """Return the unpacked size that a gzip file declares in its last four bytes (RFC 1952)."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")
