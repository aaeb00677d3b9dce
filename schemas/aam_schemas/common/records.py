"""Read frozen dataclasses back from JSON, with every type checked."""

import math
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def record_from_json(kind: type[Record], values: object) -> Record:
    """Build a dataclass from a JSON object.

    Names that the class does not have are ignored: a later version of the program may have added them.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are str, int, float, bool, tuple[X, ...], dict[str, X], another dataclass, or
        one of these or None.
    values : object
        What `json.loads` returned.

    Raises
    ------
    TypeError
        If `values` is no object, a field without default is missing, or a value has another type than its
        field. The message names the field.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__}: {values!r} is not an object")
    types = get_type_hints(kind)
    names = [field.name for field in fields(kind) if field.name in values]  # type: ignore[arg-type]
    return kind(**{name: _read(types[name], values[name], name) for name in names})


def _read(kind: Any, value: object, name: str) -> Any:
    if get_origin(kind) is UnionType:
        (kind,) = [option for option in get_args(kind) if option is not NoneType]
        return None if value is None else _read(kind, value, name)
    if is_dataclass(kind):
        return record_from_json(kind, value)  # type: ignore[arg-type]
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_read(get_args(kind)[0], item, name) for item in value)
    if get_origin(kind) is dict and isinstance(value, dict):
        return {key: _read(get_args(kind)[1], item, name) for key, item in value.items()}
    if not _is_a(value, kind):
        raise TypeError(f"{name}: {value!r}")
    return value


def _is_a(value: object, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is kind
