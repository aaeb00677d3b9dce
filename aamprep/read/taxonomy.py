"""Taxonomy: tab-separated feature ids and taxa, with or without the header of QIIME 2."""

from collections.abc import Iterator
from itertools import chain

from aam_schemas.common.ids import has_control
from aamprep.read.lines import filled_lines
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ID_HEADERS = {"feature id", "feature-id", "featureid", "id", "#otu id", "#otuid", "otu id", "asv"}
_MOST_HEADERS = 1000
"""Number of columns among which the taxa are looked for."""
_TAXON_HEADERS = {"taxon", "taxonomy", "consensuslineage"}


def parse_taxonomy(text: str, where: str, findings: Findings) -> dict[str, str]:
    """Parse a taxonomy. Invalid rows are reported as findings and skipped.

    Parameters
    ----------
    text : str
    where : str
        Name of the file, for findings.
    findings : Findings

    Returns
    -------
    dict of str to str
        Taxon by feature id. A feature with different taxa has none.

    Raises
    ------
    RefusedError
        If there are no rows, or too many.
    """
    column, rows = _split_header(filled_lines(text, where))
    has_rows = False
    by_id: dict[str, str] = {}
    ambiguous: set[str] = set()
    # Many features have the same taxon, which is stored once.
    shared: dict[str, str] = {}
    for number, line in rows:
        has_rows = True
        cells = line.split("\t", column + 1)
        location, name = f"{where}, line {number}", cells[0].strip()
        taxon = cells[column].strip() if len(cells) > column else ""
        if len(cells) <= column:
            findings.add(rules.TAXONOMY_FORMAT, location, f"{len(cells)} cells")
        elif not name:
            findings.add(rules.TAXONOMY_ID, location, "no feature id")
        elif has_control(name):
            findings.add(rules.ID_CONTROL, location, ascii(name))
        elif by_id.setdefault(name, shared.setdefault(taxon, taxon)) != taxon:
            findings.add(rules.TAXONOMY_ID, location, f"{name!r} is {taxon!r}, but {by_id[name]!r} above")
            ambiguous.add(name)
    if not has_rows:
        raise RefusedError(rules.TAXONOMY_FORMAT, where, "no rows")
    for name in ambiguous:
        del by_id[name]
    return by_id


def _split_header(lines: Iterator[tuple[int, str]]) -> tuple[int, Iterator[tuple[int, str]]]:
    """Return the index of the column of taxa, and the lines below the header, if there is one."""
    number, line = next(lines, (0, ""))
    cells = line.split("\t", _MOST_HEADERS)
    if cells[0].strip().lower() not in _ID_HEADERS:
        return 1, chain([(number, line)] if line else [], lines)
    header = [cell.strip().lower() for cell in cells]
    return next((i for i, cell in enumerate(header) if cell in _TAXON_HEADERS), 1), lines
