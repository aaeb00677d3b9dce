"""Ids and column names that text files can hold: they are written to tables with one row per line."""

from collections.abc import Iterable

from aam_schemas.common.ids import has_control
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules


def refuse_control(names: Iterable[str], where: str) -> None:
    """Raise RefusedError if any name contains a control character, with the first such name."""
    bad = [name for name in names if has_control(name)]
    if bad:
        raise RefusedError(rules.ID_CONTROL, where, f"{bad[0][:200]!a}; {len(bad):,} such names")
