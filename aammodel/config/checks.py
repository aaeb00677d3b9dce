"""Type checks of configuration values."""

from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from aam_schemas.common.errors import UsageError


def check_type(name: str, kind: Any, value: object, table: str = "[train]") -> None:
    """Refuse what TOML may hold and no option would take, such as a number in quotes.

    Raises
    ------
    UsageError
    """
    if get_origin(kind) is Literal:
        return  # which are told by name
    kinds = get_args(kind) if isinstance(kind, UnionType) else (get_origin(kind) or kind,)
    # A whole number will do where any number does; True and False are no numbers.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_one = is_number if int in kinds else isinstance(value, kinds) or (float in kinds and is_number)
    words = " or ".join(one.__name__ for one in kinds if one is not NoneType)
    _check(is_one or (value is None and NoneType in kinds), name, f"be of type {words}", repr(value), table)


def _check(holds: bool, name: str, rule: str, value: object, table: str = "[train]") -> None:
    if not holds:
        raise UsageError(
            f"{name} must {rule}, and is {value}", table, "correct the option or the --config file"
        )
