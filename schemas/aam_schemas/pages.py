"""Headers of Parquet pages, which tell the size of a page before it is unpacked.

A reader of Parquet trusts them, and a few bytes can claim gigabytes. They are structs of Thrift's compact
protocol. Their fields:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from dataclasses import dataclass
from typing import Any

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
"""Types of pages."""
_FIELD_OF_TYPE = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
"""Field of the page header that holds the header of each type."""
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}
_DELTA_BYTE_ARRAY = 7
"""An encoding in which each text begins with a part of the one before it, so that its size is not known."""


@dataclass(frozen=True)
class Pages:
    """Pages of a column chunk."""

    num_values: int
    num_bytes: int
    """Size of all pages once they are unpacked."""
    dictionary: tuple[int, int, int] | None
    """First byte of the dictionary page, the byte after its last one, and its size once it is unpacked."""


def read_pages(content: bytes, start: int, stop: int) -> Pages:
    """Read the headers of the pages of a column chunk.

    Parameters
    ----------
    content : bytes
    start, stop : int
        First byte of the column chunk in the content, and the byte after its last one.

    Raises
    ------
    ValueError
        If the headers are damaged, or the pages do not fill the column chunk.
    """
    num_values = num_bytes = 0
    dictionary = None
    while start < stop:
        try:
            header, start = _read_struct(content, start)
            kind, unpacked, packed = header[1], header[2], header[3]
            inner = header[_FIELD_OF_TYPE[kind]]
            values, encoding = inner[1], inner[_ENCODING[kind]]
        except (LookupError, TypeError):
            raise ValueError("its header is damaged") from None
        if min(values, unpacked, packed) < 0:
            raise ValueError("a size is negative")
        if encoding == _DELTA_BYTE_ARRAY:
            raise ValueError("the encoding DELTA_BYTE_ARRAY is not read")
        if kind != _DICTIONARY:
            num_values += values
        elif dictionary is not None or values > unpacked:
            raise ValueError(f"it is a second dictionary, or one of {values:,} values in {unpacked:,} bytes")
        else:
            dictionary = (start, start + packed, unpacked)
        num_bytes += unpacked
        start += packed
    if start != stop:
        raise ValueError("its last page is longer than the column")
    return Pages(num_values, num_bytes, dictionary)


def longest_text(page: bytes) -> int:
    """Return the length of the longest text of a dictionary page in bytes. Each text follows its length."""
    at = longest = 0
    while at + 4 <= len(page):
        length = int.from_bytes(page[at : at + 4], "little")
        longest, at = max(longest, length), at + 4 + length
    return min(longest, len(page))


def _read_struct(content: bytes, at: int, levels: int = 3) -> tuple[dict[int, Any], int]:
    """Return the integers and structs of a struct by the numbers of their fields, and where it ends."""
    found: dict[int, Any] = {}
    number = 0
    while (head := content[at]) != 0:
        at += 1
        kind, step = head & 15, head >> 4
        if step:
            number += step
        else:
            number, at = _read_integer(content, at)
        if kind in (4, 5, 6):  # integers of 16, 32 and 64 bits
            found[number], at = _read_integer(content, at)
        elif kind == 12 and levels:
            found[number], at = _read_struct(content, at, levels - 1)
        elif kind == 8:  # bytes: their length and themselves
            length, at = _read_varint(content, at)
            at += length
        elif kind == 3:  # a byte
            at += 1
        elif kind not in (1, 2):  # true and false
            raise ValueError("its header has an unknown field")
    return found, at + 1


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := content[at]) >= 128:
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if shift > 63:
            raise ValueError("a number in its header is too large")
    return value | byte << shift, at + 1


def _read_integer(content: bytes, at: int) -> tuple[int, int]:
    """Read a signed integer: 0, -1, 1, -2, 2, ... are stored as 0, 1, 2, 3, 4, ..."""
    value, at = _read_varint(content, at)
    return (value >> 1) ^ -(value & 1), at
