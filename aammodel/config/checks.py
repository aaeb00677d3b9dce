"""Check the values of a configuration."""

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from aam_schemas.common.errors import UsageError

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
        raise InvalidConfigError(f"{rule}, and is {value}", table, _FIX)


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


def check_type(name: str, expected: Any, value: object, table: str) -> None:
    """Refuse a value that is not of the type expected, such as a number in quotes.

    Raises
    ------
    InvalidConfigError
    """
    if get_origin(expected) is Literal:
        choices = get_args(expected)
        require(value in choices, f"{name} must be one of {', '.join(choices)}", repr(value), table)
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
    require(is_valid, f"{name} must be of type {words}", repr(value), table)
