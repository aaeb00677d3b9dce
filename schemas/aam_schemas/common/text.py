"""Lists and numbers in messages, the same everywhere."""

import math
import shlex
from collections.abc import Iterable
from itertools import islice

MOST_NAMED = 5
"""Items that a message lists before it counts the rest."""

MOST_SHOWN = 200
"""Characters of a value that a message shows."""

MOST_IN_LIST = 80
"""Characters of an item of a list."""

MOST_IN_MESSAGE = 2000
"""Characters of each part of an error message: what is wrong, where, and the fix."""


def shorten(value: object, most: int = MOST_SHOWN) -> str:
    """Return a value as text. Only the beginning and the end of a long text are shown, with its length.

    A file can hold an id of many megabytes, and a message about it must stay readable.
    """
    text = str(value)
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end]}...{text[len(text) - end :]} ({len(text):,} characters)"


def as_argument(value: object) -> str:
    """Return a path or name as an argument that can be pasted into a shell."""
    return shlex.quote(str(value))


def truncate_list(items: Iterable[object], most: int = MOST_NAMED, separator: str = ", ") -> str:
    """Return the first items as text and the number of the others: `a, b, c and 4 more`."""
    rest = iter(items)
    names = [shorten(item, MOST_IN_LIST) for item in islice(rest, most)]
    number = sum(1 for _ in rest)
    joint = " and " if separator == ", " else f"{separator}and "
    return separator.join(names) + (f"{joint}{number:,} more" if number else "")


def format_number(value: float) -> str:
    """Return a number as people read it: four significant digits, thousands separated, whole if large."""
    is_whole = abs(value) >= 1000 or float(value).is_integer()
    return f"{value:,.0f}" if is_whole else f"{value:,.4g}"


def exact_number(value: float) -> str:
    """Return the one spelling of a number, which reads back as the same number: 6 and 6.0 are both `6`."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def decimals(value: float | None, number: int = 3) -> str:
    """Return a value with a number of decimals, or `undefined` if it is None or NaN."""
    return "undefined" if value is None or value != value else f"{value:.{number}f}"


def short_number(value: float) -> str:
    """Return a number with six significant digits, or with all if six would hide that it is not whole.

    So 0.3333333333333333 is `0.333333`, and 14.00001 is not `14`.
    """
    text = f"{value:g}"
    hides = math.isfinite(value) and float(text).is_integer() and float(text) != value
    return repr(float(value)) if hides else text


def percent(fraction: float, limit: float) -> str:
    """Return a fraction in percent, with as many decimals as tell it from a limit, and at least one."""
    texts = (f"{fraction:.{decimals}%}" for decimals in range(1, 16))
    limits = (f"{limit:.{decimals}%}" for decimals in range(1, 16))
    return next((text for text, other in zip(texts, limits, strict=True) if text != other), f"{limit:.1%}")
