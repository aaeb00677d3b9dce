"""Files of other programs and formats, recognized by their content, each with a fix of its own."""

import re
import zipfile
from collections.abc import Sequence

from aam_schemas.common.text import shorten, truncate_list
from aamprep.read.sniff import Kind, read_head
from aamprep.read.source import RefusedError, Source
from aamprep.rules import tables as rules
from aamprep.rules.rule import Rule

_MAGIC: tuple[tuple[bytes, Rule, str], ...] = (
    (b"PAR1", rules.FILE_PARQUET, "Parquet"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", rules.FILE_SPREADSHEET, "Excel workbook (.xls)"),
    (b"PK\x03\x04", rules.FILE_ARCHIVE, "zip archive"),
    (b"7z\xbc\xaf\x27\x1c", rules.FILE_ARCHIVE, "7z archive"),
    (b"Rar!\x1a\x07", rules.FILE_ARCHIVE, "RAR archive"),
    (b"\x28\xb5\x2f\xfd", rules.FILE_ARCHIVE, "compressed with zstd"),
    (b"\x04\x22\x4d\x18", rules.FILE_ARCHIVE, "compressed with lz4"),
    (b"\x1f\x9d", rules.FILE_ARCHIVE, "compressed with compress (.Z)"),
    (b"%PDF-", rules.FILE_KIND, "PDF document; the data are needed as a file of their own"),
    (b"{\\rtf", rules.FILE_KIND, "RTF document; plain text is needed"),
)
"""First bytes of formats, after unpacking."""
_R_DATA = re.compile(rb"RD[AXB][23]\n|[XB]\n\x00\x00\x00[\x02\x03]\x00|A\n[23]\n\d{5,7}\n")
"""First bytes of files of R's `save` and `saveRDS`."""
_FASTQ = re.compile(rb"@[^\r\n]+\r?\n[A-Za-z.*-]+\r?\n\+[^\r\n]*\r?\n[!-~]+(?:[\r\n]|$)")
_GENBANK = re.compile(rb"LOCUS {2,}\S+.*\b(?:bp|aa|rc)\b", re.IGNORECASE)
_EMBL = re.compile(rb"ID {3}\S+;? .*\b(?:BP|AA)\.")
_OFFICE = {
    "xl/": (rules.FILE_SPREADSHEET, "Excel workbook (.xlsx)"),
    "content.xml": (rules.FILE_SPREADSHEET, "OpenDocument spreadsheet (.ods)"),
    "word/": (rules.FILE_KIND, "Word document; plain text is needed"),
}
"""First part of the names of members that a zip archive of an office program has."""
_TAR = slice(257, 262)
_SIDE_FILES = ("__MACOSX/", ".DS_Store")
_HEADS = {
    frozenset(("X", "obs", "var")): "AnnData (.h5ad)",
    frozenset(("matrix", "row_attrs", "col_attrs")): "Loom (.loom)",
}
"""Parts at the top of HDF5 files of other programs."""


def refuse_foreign(source: Source) -> None:
    """Raise RefusedError for a file of another program or format that is known, with the fix for it."""
    if source.kind is Kind.ZIP:
        raise RefusedError(*_zip(source))
    if source.kind in (Kind.HDF5, Kind.BIOM_HDF5) and not source.packing:
        _refuse_hdf5(source)
    if source.kind in (Kind.UNKNOWN, Kind.TEXT, Kind.TSV, Kind.JSON):
        _refuse_head(read_head(source.path), source)


def _refuse_head(head: bytes, source: Source) -> None:
    for magic, rule, name in _MAGIC:
        if head.startswith(magic):
            raise RefusedError(rule, source.name, name)
    if _R_DATA.match(head):
        raise RefusedError(rules.FILE_R_DATA, source.name, "data of R (RDS or RData)")
    if head[_TAR] == b"ustar":
        first = head[:100].split(b"\x00")[0].decode("utf-8", "replace")
        raise RefusedError(rules.FILE_ARCHIVE, source.name, f"tar archive, which begins with {first!r}")
    if encoding := _encoding(head):
        raise RefusedError(rules.FILE_ENCODING, source.name, encoding)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _FASTQ.match(text):
        raise RefusedError(rules.FILE_FASTQ, source.name, "FASTQ")
    for pattern, name in ((_GENBANK, "GenBank"), (_EMBL, "EMBL")):
        if pattern.match(text):
            raise RefusedError(rules.FILE_FLAT, source.name, f"{name} flat file")


def _encoding(head: bytes) -> str:
    """Return UTF-16 or UTF-32 if the content is such text, with or without a byte order mark."""
    marks = ((b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"))
    for mark, name in (*marks, (b"\xfe\xff", "UTF-16")):
        if head.startswith(mark):
            return name
    # Every other byte of Latin text in UTF-16 is zero.
    start = head[:64]
    even, odd = start[::2], start[1::2]
    for name, zeros, letters in (("UTF-16LE", odd, even), ("UTF-16BE", even, odd)):
        if len(zeros) > 3 and not any(zeros) and re.fullmatch(rb"[\t\r\n -~\xa0-\xff]+", letters):
            return name
    return ""


def _zip(source: Source) -> tuple[Rule, str, str]:
    """Return the rule, the name of the file and the value for a zip archive."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return rules.FILE_UNREADABLE, source.name, f"zip: {error}"
    for start, (rule, name) in _OFFICE.items():
        if any(member.startswith(start) for member in names):
            return rule, source.name, name
    return rules.FILE_ARCHIVE, source.name, f"zip archive with {_files(names) or 'no file'}"


def _files(names: Sequence[str]) -> str:
    files = (name for name in names if not name.endswith("/") and not name.startswith(_SIDE_FILES))
    return truncate_list((shorten(repr(name), 80) for name in files), most=3)


def _refuse_hdf5(source: Source) -> None:
    import h5py

    try:
        with h5py.File(source.path, "r") as file:
            parts = set(file)
    except (OSError, ValueError, RuntimeError, KeyError):
        return  # The reader of HDF5 reports what is damaged.
    for wanted, name in _HEADS.items():
        if wanted <= parts:
            raise RefusedError(rules.FILE_ANNDATA, source.name, name)
