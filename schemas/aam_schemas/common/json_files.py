"""Read small files whose content is not trusted: regular files of bounded size, and strict JSON.

Two readers can understand the same JSON differently, or run out of memory or stack over it. All of these are
refused here: a name that an object has twice, NaN and infinity, integers beyond 64 bits, text that UTF-8
cannot encode, and deep nesting.
"""

import json
import os
import re
import stat
from collections import Counter
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.text import shorten

MOST_LEVELS = 64
"""Deepest nesting of objects and lists. Our own files have fewer than 10 levels."""
LARGEST_INTEGER = 2**63 - 1
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_COPY = "copy the file again, or make it again with the program that wrote it"


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading. A pipe or a device is refused without waiting for it.

    Raises
    ------
    InvalidDataError
        If the file is missing or cannot be opened, is not a regular file, or is a link to another folder.
    """
    try:
        # O_NONBLOCK: opening a pipe would otherwise wait for its writer. Regular files ignore it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidDataError(
            f"this file cannot be opened: {reason}", str(path), "check that it exists and may be read"
        ) from error
    file = os.fdopen(descriptor, "rb", closefd=True) if _is_regular(descriptor) else None
    if file is None:
        os.close(descriptor)
        raise InvalidDataError(
            "this is a folder, a pipe or a device, not a file", str(path), "put the file itself here"
        )
    if path.resolve().parent != path.parent.resolve():
        file.close()
        raise InvalidDataError(
            "this is a link to a file in another folder", str(path), "copy the file itself to this place"
        )
    return file


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a whole file, after its size was checked.

    Raises
    ------
    InvalidDataError
        If the file cannot be opened (see `open_regular`), or is larger than `most_bytes`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most_bytes + 1) if size <= most_bytes else b""
    if max(size, len(content)) > most_bytes:
        raise InvalidDataError(
            f"this file has {size:,} bytes; at most {most_bytes:,} are read", str(path), _COPY
        )
    return content


def read_json(path: Path, most_bytes: int) -> Any:
    """Read a JSON file. `record_from_json` then turns the document into a typed record.

    Parameters
    ----------
    path : Path
    most_bytes : int
        Largest size of the file. A hostile document takes up to 30 times its size in memory.

    Raises
    ------
    InvalidDataError
        If the file cannot be read (see `read_bounded`), or is not strict JSON (see `parse_json`).
    """
    return parse_json(read_bounded(path, most_bytes), str(path))


def parse_json(content: bytes | str, where: str) -> Any:
    """Parse strict JSON.

    Parameters
    ----------
    content : bytes or str
        Text, or its UTF-8 encoding.
    where : str
        File of the content, for the message.

    Raises
    ------
    InvalidDataError
        If it is not JSON, or has a name twice in an object, a number that is not finite, an integer of more
        than 64 bits, text that UTF-8 cannot encode, or more than `MOST_LEVELS` levels.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        document: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_refuse_constant,
        )
        if _SURROGATE.search(text):
            # Half of a surrogate pair is valid JSON, but no text: it cannot be encoded, and thus not written.
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise _invalid("it is nested too deeply", where) from None
    except ValueError as error:
        raise _invalid(shorten(error), where) from error
    _check_levels(document, where)
    return document


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _invalid(problem: str, where: str) -> InvalidDataError:
    return InvalidDataError(f"this is not valid JSON: {problem}", where, _COPY)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, times), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"an object has the name {shorten(repr(name), 100)} {times} times")
    return found


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else LARGEST_INTEGER + 1
    if abs(value) > LARGEST_INTEGER:
        raise ValueError(f"the number {shorten(digits, 30)} has more than 64 bits")
    return value


def _real(digits: str) -> float:
    value = float(digits)
    if abs(value) == float("inf"):
        raise ValueError(f"the number {shorten(digits, 30)} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it has the value {name}, which is not a number")


def _check_levels(document: object, where: str) -> None:
    level: list[object] = [document]
    for _ in range(MOST_LEVELS):
        level = [child for value in level for child in _containers(value)]
        if not level:
            return
    raise _invalid(f"it is nested more than {MOST_LEVELS} levels deep", where)


def _containers(value: object) -> list[object]:
    """Return the objects and lists directly inside of an object or list."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in children if isinstance(child, dict | list)]
