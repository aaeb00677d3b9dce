"""Tab-separated text with quotes where they are needed, as QIIME 2, pandas and the csv module read it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

_QUOTED = frozenset('\t\r\n"')


def write_tsv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table. A cell with a tab, a line end or a quotation mark is quoted.

    The csv module would leave a carriage return without quotes, which pandas takes for the end of a line.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_line(header))
        file.writelines(map(_line, rows))


def _line(cells: Sequence[object]) -> str:
    return "\t".join(map(_cell, cells)) + "\n"


def _cell(value: object) -> str:
    text = str(value)
    return text if _QUOTED.isdisjoint(text) else '"' + text.replace('"', '""') + '"'
