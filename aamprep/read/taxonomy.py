"""Taxonomy: tab-separated feature ids and taxa, with or without the header of QIIME 2."""

import re
from collections.abc import Iterator
from itertools import chain

from aam_schemas.common.ids import has_control
from aam_schemas.common.text import shorten, truncate_list
from aamprep.read.lines import filled_lines
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ID_HEADERS = {"feature id", "feature-id", "featureid", "id", "#otu id", "#otuid", "otu id", "asv", "otu"}
_MOST_HEADERS = 1000
"""Number of columns among which the taxa are looked for."""
_TAXON_HEADERS = {"taxon", "taxonomy", "consensuslineage"}
_SILVA = ("primaryaccession", "path")
"""Columns of ids and of taxa in SILVA's lists of taxa."""
_WITHOUT_TABS = re.compile(r"\A[^\r\n]*[,;]")
"""A first line that other marks separate."""
_RANKS = {"domain", "kingdom", "phylum", "class", "order", "family", "genus", "species"}
_LONGEST_ROW = 10_000
"""Number of characters of a row in which its columns are counted."""
_SEPARATORS = {",": "commas", ";": "semicolons"}


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
        If there are no rows, or too many, or what is read as taxa are none.
    """
    if "\t" not in text and not _WITHOUT_TABS.search(text):
        raise RefusedError(rules.TAXONOMY_FORMAT, where, "no tabs")
    column, rows = _split_header(filled_lines(text, where), where)
    has_rows, width = False, 0
    by_id: dict[str, str] = {}
    ambiguous: set[str] = set()
    # Many features have the same taxon, which is stored once.
    shared: dict[str, str] = {}
    for number, line in rows:
        has_rows, width = True, max(width, line.count("\t", 0, _LONGEST_ROW) + 1)
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
    # In a table of three columns and more, the taxa may be in another one. Two columns are taken as they are.
    if width > 2 and shared and all(map(_is_number, shared)):
        value = f"numbers in the column of taxa, such as {shorten(repr(next(iter(shared))), 60)}"
        raise RefusedError(rules.TAXONOMY_FORMAT, where, value)
    for name in ambiguous:
        del by_id[name]
    return by_id


def _split_header(lines: Iterator[tuple[int, str]], where: str) -> tuple[int, Iterator[tuple[int, str]]]:
    """Return the index of the column of taxa, and the lines below the header, if there is one."""
    number, line = next(lines, (0, ""))
    separator = next((mark for mark in ("\t", *_SEPARATORS) if mark in line), "\t")
    cells = [cell.strip().strip('"') for cell in line.split(separator, _MOST_HEADERS)]
    header = [cell.lower() for cell in cells]
    column = next((i for i, cell in enumerate(header) if i and cell in _TAXON_HEADERS), 0)
    if len(_RANKS.intersection(header)) > 1 and not column:
        ranks = truncate_list(
            cell.strip().strip('"') for cell in cells if cell.strip().strip('"').lower() in _RANKS
        )
        raise RefusedError(rules.TAXONOMY_RANKS, f"{where}, line {number}", ranks)
    if line and separator != "\t":
        value = f"separated by {_SEPARATORS[separator]}, not by tabs"
        raise RefusedError(rules.TAXONOMY_FORMAT, f"{where}, line {number}", value)
    if header[0] == _SILVA[0] and _SILVA[1] in header:
        return header.index(_SILVA[1]), lines
    if column or header[0] in _ID_HEADERS:
        return column or 1, lines
    return 1, chain([(number, line)] if line else [], lines)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
