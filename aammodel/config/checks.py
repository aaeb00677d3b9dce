"""Check the values of a configuration."""

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import shorten

_FIX = "correct the option or the --config file"


class InvalidConfigError(UsageError, ValueError):
    """A value of the configuration is invalid."""


def require(is_valid: bool, rule: str, value: object, table: str) -> None:
    """Refuse a value that breaks a rule.

    Parameters
    ----------
    is_valid : bool
        Whether the rule holds. Write it so that NaN breaks it: `x >= 0`, not `not x < 0`.
    rule : str
        The key and its rule, as "epochs must be at least 1".
    value : object
        The value, for the message.
    table : str
        The table of the TOML file that holds the key, as "[train]".

    Raises
    ------
    InvalidConfigError
        If the rule does not hold.
    """
    if not is_valid:
        shown = value if isinstance(value, str) else _shown(value)
        raise InvalidConfigError(f"{rule}, and is {shorten(shown)}", table, _FIX)


def _shown(value: object) -> str:
    try:
        return shorten(repr(value))
    except ValueError:
        # Python does not print integers of thousands of digits, which TOML can hold.
        return "a number of too many digits"


def check_types(config: Any, table: str) -> None:
    """Refuse a configuration with a value that is not of its field's type.

    Parameters
    ----------
    config : dataclass
    table : str
        The table of the TOML file that holds its keys.

    Raises
    ------
    InvalidConfigError
        If a value is not of its type, or is none of the choices.
    """
    types = get_type_hints(type(config))
    for field in fields(config):
        check_type(field.name, types[field.name], getattr(config, field.name), table)


def check_most(config: Any, most: Mapping[str, float], table: str) -> None:
    """Refuse a configuration with a value above the largest one.

    Call it after `check_types`.

    Parameters
    ----------
    config : dataclass
    most : mapping
        Largest value of each key. NaN is refused, too.
    table : str
        The table of the TOML file that holds its keys.

    Raises
    ------
    InvalidConfigError
    """
    for name, largest in most.items():
        value = getattr(config, name, None)
        if value is not None:
            require(value <= largest, f"{name} must be at most {largest:,}", value, table)


def check_type(name: str, expected: Any, value: object, table: str) -> None:
    """Refuse a value that is not of the type expected, such as a number in quotes.

    Raises
    ------
    InvalidConfigError
    """
    if get_origin(expected) is Literal:
        choices = get_args(expected)
        require(value in choices, f"{name} must be one of {', '.join(choices)}", _shown(value), table)
        return
    types = get_args(expected) if isinstance(expected, UnionType) else (get_origin(expected) or expected,)
    if int in types or float in types:
        # A whole number is a valid float. Python counts True and False among the integers, we do not.
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        is_valid = is_whole or (float in types and isinstance(value, float))
    else:
        is_valid = isinstance(value, types)
    is_valid = is_valid or (value is None and NoneType in types)
    words = " or ".join(each.__name__ for each in types if each is not NoneType)
    require(is_valid, f"{name} must be of type {words}", _shown(value), table)
