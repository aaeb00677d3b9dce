"""Detect the format of a file from its content, never from its name.

This is safe for any file: nothing is parsed, and no library reads the content.
"""

import mmap
import re
import zipfile
from enum import StrEnum
from pathlib import Path

from aamprep.read.packing import inflate_head, packing_of

HEAD_BYTES = 1 << 16
"""Number of bytes read from the beginning and the end of a file."""

_PACKED_HEAD_BYTES = 1 << 20
"""Bytes of a compressed file that are read: a block of bzip2, which has 900 kB, is unpacked as a whole."""

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NPY_SIGNATURE = b"\x93NUMPY"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ARTIFACT_VERSION = re.compile(rf"{_UUID}/VERSION")
_ARTIFACT_START = re.compile(rf"{_UUID}/".encode())
_HTML = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|\?xml[^>]*>\s*<(?:!doctype\s+)?html)\b", re.IGNORECASE
)
_BIOM_JSON_KEY = re.compile(rb'"(?:matrix_type|matrix_element_type|columns)"|Biological Observation Matrix')
_MATRIX = re.compile(rb"\t([^\t\r\n]+)[^\r\n]*[\r\n]+\1\t")
"""A distance matrix. Its first id may begin as another format does."""
_NEWICK = re.compile(rb"(?:\s|\[[^\]]*\])*\(")


class Kind(StrEnum):
    """Format of a file. The values are shown to users and stored in manifests."""

    BIOM_HDF5 = "BIOM 2 table (HDF5)"
    BIOM_JSON = "BIOM 1 table (JSON)"
    ARTIFACT = "QIIME 2 artifact"
    FASTA = "FASTA sequences"
    NEWICK = "newick tree"
    TSV = "tab-separated text"
    SHARDS = "shard set"
    HDF5 = "HDF5 file that is not a BIOM table"
    NPY = "numpy array (.npy)"
    JSON = "JSON that is not a BIOM table"
    ZIP = "zip archive that is not a QIIME 2 artifact"
    HTML = "web page (HTML)"
    LFS_POINTER = "Git LFS pointer"
    EMPTY = "empty file"
    TEXT = "plain text"
    FOLDER = "folder that is not a shard set"
    UNKNOWN = "unknown content"


def sniff(path: Path) -> Kind:
    """Return the format of a file, or that of the content if it is compressed.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if path.is_dir():
        return Kind.SHARDS if (path / "manifest.json").is_file() else Kind.FOLDER
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(file.seek(0, 2) - HEAD_BYTES, 0))
        tail = file.read()
    if head.startswith(_HDF5_SIGNATURE):
        return Kind.BIOM_HDF5 if _holds_observations(path) else Kind.HDF5
    if head.startswith(b"PK"):  # zip archive
        return Kind.ARTIFACT if _is_artifact(path, head) else Kind.ZIP
    return sniff_bytes(_unpacked(path, head), tail)


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked if it is compressed."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return _unpacked(path, head)


def sniff_bytes(head: bytes, tail: bytes = b"") -> Kind:
    """Return the format of content, from its first bytes. BIOM 1 may need the last bytes, too."""
    if not head:
        return Kind.EMPTY
    if head.startswith(_HDF5_SIGNATURE):
        return Kind.BIOM_HDF5 if b"observation" in head else Kind.HDF5
    if head.startswith(_NPY_SIGNATURE):
        return Kind.NPY
    if not _is_text(head):
        return Kind.UNKNOWN
    text = head.removeprefix(b"\xef\xbb\xbf")
    return Kind.TSV if _MATRIX.match(text) else _sniff_text(text.lstrip(), tail)


def _sniff_text(text: bytes, tail: bytes) -> Kind:
    if not text:
        return Kind.EMPTY
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return Kind.LFS_POINTER
    if _HTML.match(text):
        return Kind.HTML
    if text.startswith(b"{"):
        return Kind.BIOM_JSON if _BIOM_JSON_KEY.search(text + tail) else Kind.JSON
    # The first FASTA program put comments in front, behind a semicolon.
    if text.startswith(b">") or (text.startswith(b";") and re.search(rb"[\r\n]>", text)):
        return Kind.FASTA
    if _NEWICK.match(text):
        return Kind.NEWICK
    return Kind.TSV if b"\t" in text else Kind.TEXT


def _is_text(head: bytes) -> bool:
    """Return whether content is text: in any encoding, but without control characters."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16, as some spreadsheets write it
        return True
    return not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)


def _unpacked(path: Path, head: bytes) -> bytes:
    """Return the first bytes of a file, unpacked if it is compressed."""
    packing = packing_of(head)
    if not packing:
        return head
    with path.open("rb") as file:
        return inflate_head(file.read(_PACKED_HEAD_BYTES), packing, HEAD_BYTES)


def _holds_observations(path: Path) -> bool:
    """Return whether an HDF5 file contains the name of a group that every BIOM table has, at any position."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"observation") >= 0


def _is_artifact(path: Path, head: bytes) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_ARTIFACT_VERSION.fullmatch(name) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        # The archive is cut short. The name of its first member, at byte 30, is still there.
        return bool(_ARTIFACT_START.match(head[30:100]))
