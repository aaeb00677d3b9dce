"""Compressed files: gzip, bzip2 and xz, recognized by their first bytes and unpacked within limits."""

import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

CHUNK_BYTES = 1 << 20
_MAGIC = {b"\x1f\x8b\x08": "gzipped", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_MAGIC_BYTES = 8
_XZ_MEMORY = 1 << 28
"""Memory of the xz decompressor, in bytes. `xz -9` needs 65 MiB."""


class _Gzip:
    """Decompressor of a gzip member with the interface of bz2 and lzma."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return the next bytes, at most `max_length`. Input that is not needed yet is kept."""
        return self._member.decompress(self._member.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        """Whether the next bytes need more input."""
        return not self._member.unconsumed_tail

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        """Bytes after the end of the member."""
        return self._member.unused_data


def packing_of(head: bytes) -> str:
    """Return how content is compressed, from its first bytes: gzipped, bzip2, xz, or empty for not at all."""
    name = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
    # The letters BZh alone could begin a text.
    return "" if name == "bzip2" and head[4:10] != b"1AY&SY" and head[4:8] != b"\x17rE8" else name


def inflate_head(head: bytes, packing: str, size: int) -> bytes:
    """Unpack the first bytes of compressed content, as far as possible."""
    unpacker, unknown = _decompressor(packing), b"\x00"  # Neither empty nor text.
    try:
        content = bytes(unpacker.decompress(head, size))
    except damaged_errors():
        return unknown
    return content if content or unpacker.eof else unknown


def damaged_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that damaged content raises."""
    import lzma

    return (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError)


def unpacked_chunks(file: IO[bytes], check: Callable[[int, int, bool], None]) -> Iterator[bytes]:
    """Yield the content of all members of a compressed file. Other bytes after the last member are ignored.

    Parameters
    ----------
    file : binary file
    check : callable
        Receives the number of unpacked bytes, of packed bytes that were read, and whether this is the first
        chunk. It raises if there are too many.

    Raises
    ------
    EOFError
        If the file is cut short.
    """
    total, pending = 0, file.read(CHUNK_BYTES)
    while packing := packing_of(pending):
        member = _decompressor(packing)
        while not member.eof:
            if member.needs_input and not pending:
                pending = file.read(CHUNK_BYTES)
                if not pending:
                    raise EOFError("the file is cut short")
            chunk = member.decompress(pending, CHUNK_BYTES)
            pending = b""
            is_first, total = total == 0, total + len(chunk)
            check(total, file.tell(), is_first)
            yield chunk
        pending = member.unused_data.lstrip(b"\x00") if packing == "xz" else member.unused_data
        # The next member is recognized by its first bytes, of which the chunk may hold too few.
        pending += file.read(CHUNK_BYTES) if len(pending) < _MAGIC_BYTES + 2 else b""


def _decompressor(packing: str) -> Any:
    if packing == "gzipped":
        return _Gzip()
    if packing == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    import lzma

    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
