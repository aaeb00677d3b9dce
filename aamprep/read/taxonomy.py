"""Taxonomy: tab-separated feature ids and taxa, with or without the header of QIIME 2."""

from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ID_HEADERS = {"feature id", "feature-id", "featureid", "id", "#otu id", "#otuid", "otu id", "asv"}
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
        Taxon by feature id. If a feature occurs twice, the first row is kept.

    Raises
    ------
    RefusedError
        If there are no rows.
    """
    rows = [(number, line.split("\t")) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    column = 1
    if rows and rows[0][1][0].strip().lower() in _ID_HEADERS:
        header = [cell.strip().lower() for cell in rows.pop(0)[1]]
        column = next((i for i, cell in enumerate(header) if cell in _TAXON_HEADERS), 1)
    if not rows:
        raise RefusedError(rules.TAXONOMY_FORMAT, where, "no rows")
    first_line: dict[str, int] = {}
    taxa: dict[str, str] = {}
    for number, cells in rows:
        location, name = f"{where}, line {number}", cells[0].strip()
        if len(cells) <= column:
            findings.add(rules.TAXONOMY_FORMAT, location, f"{len(cells)} cells")
        elif not name:
            findings.add(rules.TAXONOMY_ID, location, "no feature id")
        elif name in first_line:
            findings.add(rules.TAXONOMY_ID, location, f"{name!r}, first in line {first_line[name]}")
        else:
            taxa[name] = cells[column].strip()
            first_line[name] = number
    return taxa
