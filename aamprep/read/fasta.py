"""FASTA: each entry is a line with `>` and an id, which ends at the first blank, then lines of sequence.

Lines that begin with a semicolon are comments.
"""

import re
from collections.abc import Iterator

from aam_schemas.common.ids import has_control
from aam_schemas.vocabulary import fold
from aamprep.read.maxima import MOST_ENTRIES
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_LONE_RETURN = re.compile(r"\r(?!\n)")
_COMMENT = re.compile(r"^;[^\n]*", re.MULTILINE)
_PIECE = 1 << 20
"""Number of characters of a sequence that are split at blanks together."""


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
        Sequences by id, as written. An id with different sequences has none.

    Raises
    ------
    RefusedError
        If there are more than `MOST_ENTRIES` sequences.
    """
    # Old Macs ended lines with a carriage return alone.
    text = _LONE_RETURN.sub("\n", text) if "\r" in text else text
    text = _COMMENT.sub("", text) if text.startswith(";") or "\n;" in text else text
    first_line: dict[str, int] = {}
    sequences: dict[str, str] = {}
    ambiguous: set[str] = set()
    for number, (line, header, body) in enumerate(_entries(text, where, findings)):
        if number == MOST_ENTRIES:
            raise RefusedError(rules.FILE_TOO_MANY, where, f"more than {MOST_ENTRIES:,} sequences")
        name = header.split(maxsplit=1)[0] if header[:1].strip() else ""
        sequence = _without_blanks(body)
        location = f"{where}, line {line}"
        if not name:
            findings.add(rules.FASTA_ID_EMPTY, location)
        elif has_control(name):
            findings.add(rules.ID_CONTROL, location, ascii(name))
        elif name in first_line and fold(sequence) != fold(sequences.get(name, "")):
            value = f"{name!r}, another sequence in line {first_line[name]}"
            findings.add(rules.FASTA_ID_DUPLICATE, location, value)
            ambiguous.add(name)
        elif not sequence:
            findings.add(rules.FASTA_SEQUENCE_EMPTY, location, repr(name))
        else:
            sequences.setdefault(name, sequence)
        if name:
            first_line.setdefault(name, line)
    for name in ambiguous:
        sequences.pop(name, None)
    return sequences


def _entries(text: str, where: str, findings: Findings) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the header and the body of each entry. A list of them would take more memory."""
    start = 0 if text.startswith(">") else text.find("\n>") + 1
    if not start and not text.startswith(">"):
        start = len(text)
    _check_preamble(text[:start], where, findings)
    line = text.count("\n", 0, start) + 1
    while start < len(text):
        end = text.find("\n>", start)
        end = len(text) if end < 0 else end
        header_end = text.find("\n", start, end)
        header_end = end if header_end < 0 else header_end
        yield line, text[start + 1 : header_end], text[header_end:end]
        line += text.count("\n", start, end) + 1
        start = end + 1


def _without_blanks(body: str) -> str:
    """Return a sequence without blanks and line ends."""
    if len(body) <= _PIECE:
        return "".join(body.split())
    pieces = (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
    return "".join("".join(piece.split()) for piece in pieces)


def _check_preamble(preamble: str, where: str, findings: Findings) -> None:
    """Report content before the first `>`."""
    if stray := preamble.split(maxsplit=1):
        findings.add(rules.FASTA_FORMAT, where, f"{stray[0][:40]!r} before the first '>'")
