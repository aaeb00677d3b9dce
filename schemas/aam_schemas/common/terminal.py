"""Consoles that print text as it is: names from files are neither markup nor codes of emoji."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def plain_console(**settings: Any) -> "Console":
    """Return a console that prints strings character by character. Only a `rich.text.Text` has styles.

    By default, rich would print an id such as `a:1:b` with an emoji, and `[x]` not at all.

    Parameters
    ----------
    **settings
        Those of `rich.console.Console`.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **settings)
