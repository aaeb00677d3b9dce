"""Lists and numbers in messages, the same everywhere."""

from collections.abc import Iterable

MOST_NAMED = 5
"""Items that a message lists before it counts the rest."""

MOST_SHOWN = 200
"""Characters of a value that a message shows."""


def truncate_list(items: Iterable[object], most: int = MOST_NAMED, separator: str = ", ") -> str:
    """Return the first items as text and the number of the others: `a, b, c and 4 more`."""
    names = list(map(str, items))
    more = f"{len(names) - most:,} more" if len(names) > most else ""
    joint = " and " if separator == ", " else f"{separator}and "
    return separator.join(names[:most]) + (joint + more if more else "")


def format_number(value: float) -> str:
    """Return a number as people read it: four significant digits, thousands separated, whole if large."""
    is_whole = abs(value) >= 1000 or float(value).is_integer()
    return f"{value:,.0f}" if is_whole else f"{value:,.4g}"


def exact_number(value: float) -> str:
    """Return the one spelling of a number, which reads back as the same number: 6 and 6.0 are both `6`."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def shorten(value: object, most: int = MOST_SHOWN) -> str:
    """Return a value as text, cut to `most` characters, so that a message stays readable."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
