"""FASTA: each entry is a line with `>` and an id, which ends at the first blank, then lines of sequence."""

from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings


def parse_fasta(text: str, where: str, findings: Findings) -> dict[str, str]:
    """Parse FASTA. Invalid entries are reported as findings and skipped.

    Parameters
    ----------
    text : str
    where : str
        Name of the file, for findings.
    findings : Findings

    Returns
    -------
    dict of str to str
        Sequences by id, as written. If an id occurs twice, the first entry is kept.
    """
    first_line: dict[str, int] = {}
    sequences: dict[str, str] = {}
    # The line feed in front makes the first entry begin like all others.
    preamble, *entries = f"\n{text}".split("\n>")
    _check_preamble(preamble, where, findings)
    line = preamble.count("\n") + 1
    for entry in entries:
        header, _, body = entry.partition("\n")
        name = header.split(maxsplit=1)[0] if header[:1].strip() else ""
        sequence = "".join(body.split())
        location = f"{where}, line {line}"
        if not name:
            findings.add(rules.FASTA_ID_EMPTY, location)
        elif name in first_line:
            findings.add(rules.FASTA_ID_DUPLICATE, location, f"{name!r}, first in line {first_line[name]}")
        elif not sequence:
            findings.add(rules.FASTA_SEQUENCE_EMPTY, location, repr(name))
        else:
            sequences[name] = sequence
        first_line.setdefault(name, line)
        line += 1 + entry.count("\n")
    return sequences


def _check_preamble(preamble: str, where: str, findings: Findings) -> None:
    """Report content before the first `>`."""
    if stray := preamble.split():
        findings.add(rules.FASTA_FORMAT, where, f"{stray[0][:40]!r} before the first '>'")
