"""Tables as text: which program wrote one, so that the advice on its conversion fits."""

import re
from pathlib import Path

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import is_sequence
from aamprep.read.metadata import is_id_header
from aamprep.read.sniff import Kind, read_head
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules

_SEPARATORS = ("\t", ";", ",")
_TAXA = {"taxon", "taxonomy"}
_CLASSIC = ("#OTU ID", "# Constructed from biom", "# QIIME")


def refuse_text_table(path: Path, kind: Kind, where: str) -> None:
    """Raise RefusedError if text is a table: of QIIME 1, mothur, or with features or samples in its rows."""
    text = read_head(path).decode("utf-8", "replace").lstrip("\ufeff \r\n")
    if text.startswith(_CLASSIC):
        raise RefusedError(rules.FILE_TEXT_TABLE, where, kind)
    header = re.split("[\r\n]", text, maxsplit=1)[0]
    separator = next((mark for mark in _SEPARATORS if mark in header), None)
    if separator is None or text.startswith("["):
        return
    cells = [cell.strip().strip('"') for cell in header.split(separator)]
    if "sample" in cells[0].lower() and is_id_header(cells[0]):
        value = f"{kind} that begins as metadata do; a BIOM table is needed"
        raise RefusedError(rules.FILE_KIND, where, value)
    if len(cells) < 4 and _TAXA.intersection(cell.lower() for cell in cells[1:]):
        value = f"{kind} that begins as a taxonomy does; a BIOM table is needed"
        raise RefusedError(rules.FILE_KIND, where, value)
    if cells[:3] == ["label", "Group", "numOtus"]:
        raise RefusedError(rules.TEXT_MOTHUR, where, ", ".join(cells[:3]))
    by = {",": ", separated by commas", ";": ", separated by semicolons"}.get(separator, "")
    # The last cell may be cut off.
    if len(cells) > 1 and all(map(is_sequence, cells[1:-1] or cells[1:])):
        raise RefusedError(
            rules.TEXT_SAMPLES, where, f"its columns are sequences, such as {shorten(cells[1], 60)}{by}"
        )
    raise RefusedError(
        rules.TEXT_MATRIX, where, f"its columns have names such as {shorten(cells[-1], 60)!r}{by}"
    )
