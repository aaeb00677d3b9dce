"""Read frozen dataclasses back from JSON, with every type checked."""

import math
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from aam_schemas.common.text import shorten

Record = TypeVar("Record")

_WORDS = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


def record_from_json(kind: type[Record], values: object) -> Record:
    """Build a dataclass from a JSON object.

    Names that the class does not have are ignored: a later version of the program may have added them.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are str, int, float, bool, tuple[X, ...], dict[str, X], another dataclass, or
        one of these or None.
    values : object
        What `parse_json` returned.

    Raises
    ------
    TypeError
        If `values` is no object, a field without default is missing, or a value has another type than its
        field. The message names the field with its path, such as `files[3].row_group_rows[0]`.
    """
    record: Record = _record(kind, values, "")
    return record


def _record(kind: Any, values: object, path: str) -> Any:
    if not isinstance(values, dict):
        raise TypeError(f"{path or 'the document'} must be an object, not {shorten(repr(values))}")
    prefix = f"{path}." if path else ""
    read = {}
    for name, (field_kind, is_needed) in _fields(kind).items():
        if name in values:
            read[name] = _read(field_kind, values[name], f"{prefix}{name}")
        elif is_needed:
            raise TypeError(f"{prefix}{name} is missing")
    return kind(**read)


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field, and whether it has no default."""
    types = get_type_hints(kind)
    return {
        field.name: (types[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    }


def _read(kind: Any, value: object, path: str) -> Any:
    if get_origin(kind) is UnionType:
        (kind,) = [option for option in get_args(kind) if option is not NoneType]
        return None if value is None else _read(kind, value, path)
    if is_dataclass(kind):
        return _record(kind, value, path)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind)[0], value, path)
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{path} must be an object, not {shorten(repr(value))}")
        return {
            key: _read(get_args(kind)[1], item, f"{path}[{shorten(repr(key))}]")
            for key, item in value.items()
        }
    if not _is_a(value, kind):
        raise TypeError(f"{path} must be {_WORDS[kind]}, not {shorten(repr(value))}")
    return value


def _tuple(kind: Any, value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{path} must be a list, not {shorten(repr(value))}")
    return tuple(_read(kind, item, f"{path}[{index}]") for index, item in enumerate(value))


def _is_a(value: object, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is kind
