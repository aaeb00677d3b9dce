"""FASTA: a line with `>` and an id, which ends at the first blank, then lines of sequence."""

from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings


def parse_fasta(text: str, where: str, findings: Findings) -> dict[str, str]:
    """Parse FASTA; what is wrong in an entry is a finding, and the entry is left out.

    Parameters
    ----------
    text : str
    where : str
        The file, for findings.
    findings : Findings

    Returns
    -------
    dict of str to str
        Sequences by id, as written; the first, where an id occurs twice.
    """
    first_line: dict[str, int] = {}
    sequences: dict[str, str] = {}
    preamble, *entries = f"\n{text}".split("\n>")
    _check_preamble(preamble, where, findings)
    line = preamble.count("\n") + 1
    for entry in entries:
        header, _, body = entry.partition("\n")
        name = header.split(maxsplit=1)[0] if header[:1].strip() else ""
        sequence = "".join(body.split())
        place = f"{where}, line {line}"
        if not name:
            findings.add(rules.FASTA_ID_EMPTY, place)
        elif name in first_line:
            findings.add(rules.FASTA_ID_DUPLICATE, place, f"{name!r}, first in line {first_line[name]}")
        elif not sequence:
            findings.add(rules.FASTA_SEQUENCE_EMPTY, place, repr(name))
        else:
            sequences[name] = sequence
        first_line.setdefault(name, line)
        line += 1 + entry.count("\n")
    return sequences


def _check_preamble(preamble: str, where: str, findings: Findings) -> None:
    """Find content before the first `>`."""
    if stray := preamble.split():
        findings.add(rules.FASTA_FORMAT, where, f"{stray[0][:40]!r} before the first '>'")
