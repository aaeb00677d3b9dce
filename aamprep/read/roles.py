"""Read the file of each role: open it, decode it, parse it, and write its content to a folder.

This runs in the process that reads (`aamprep.read.child`), so it imports no heavy library.
"""

import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from aam_schemas.vocabulary import is_sequence
from aamprep.read.biom.table import spool_table
from aamprep.read.content import write_content
from aamprep.read.distances import parse_distances, read_hdf5, read_npy
from aamprep.read.fasta import parse_fasta
from aamprep.read.invisible import report_in_text, without_marks
from aamprep.read.metadata import parse_metadata
from aamprep.read.newick import parse_newick
from aamprep.read.qiime2 import open_artifact, read_chunks
from aamprep.read.sniff import Kind, read_head
from aamprep.read.source import Limits, RefusedError, Source, decode_text, read_content
from aamprep.read.taxonomy import parse_taxonomy
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_KINDS = {
    "rep-seqs": {Kind.FASTA},
    "tree": {Kind.NEWICK},
    "tree to root": {Kind.NEWICK},
    "metadata": {Kind.TSV, Kind.TEXT},
    "distances": {Kind.TSV},
    "taxonomy": {Kind.TSV, Kind.TEXT},
}
"""Accepted text formats for each role, besides artifacts."""


def read_role(source: Source, role: str, folder: Path, findings: Findings, limits: Limits) -> tuple[str, str]:
    """Read a file and write its content to a folder, for `aamprep.read.products` to load.

    Parameters
    ----------
    source : Source
    role : str
        table, rep-seqs, tree, metadata, distances or taxonomy; or "tree to root", which also accepts unrooted
        artifacts.
    folder : Path
        Empty folder.
    findings : Findings
    limits : Limits

    Returns
    -------
    kind : str
        Format, for the manifest.
    uuid : str
        UUID of the QIIME 2 artifact, or empty.

    Raises
    ------
    RefusedError
        If nothing in the file can be used.
    """
    if role == "table":
        return spool_table(source, folder, findings, limits)
    if role == "distances" and source.kind in _BINARY and not source.packing:
        ids, matrix = _BINARY[source.kind](source, limits)
        write_content(folder, {"matrix": matrix}, {"id": ids})
        return str(source.kind), ""
    kind, uuid, content = _content(source, role, findings, limits)
    text = decode_text(content, source.name)
    try:
        _PARSERS[role](without_marks(text), source.name, folder, findings)
    except RefusedError as refused:
        if refused.rule is not rules.ID_CONTROL:
            report_in_text(text, source.name, findings)
        raise
    report_in_text(text, source.name, findings)
    return kind, uuid


def _content(source: Source, role: str, findings: Findings, limits: Limits) -> tuple[str, str, bytes]:
    """Return the format of a text file or artifact, its UUID, and the text."""
    if source.kind is Kind.ARTIFACT:
        artifact = open_artifact(source, role, findings, limits)
        kind = f"{source.kind}, {artifact.type}"
        return kind, artifact.uuid, b"".join(read_chunks(artifact, limits))
    if source.kind not in _KINDS[role]:
        if role.startswith("tree") and (name := _tree_format(source)):
            raise RefusedError(rules.TREE_FORMAT, source.name, name)
        if role == "rep-seqs" and (name := _sequence_format(source)):
            raise RefusedError(rules.FASTA_OTHER_FORMAT, source.name, name)
        needed = " or ".join(sorted(_KINDS[role], reverse=True))
        raise RefusedError(rules.FILE_KIND, source.name, f"{source.kind}; {needed} or an artifact is needed")
    kind = f"{source.kind}, {source.packing}" if source.packing else str(source.kind)
    return kind, "", read_content(source, limits)


def _tree_format(source: Source) -> str:
    """Return NEXUS or PhyloXML if a file has one of these formats."""
    start = read_head(source.path).lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return "NEXUS" if start.startswith(b"#nexus") else "PhyloXML" if b"<phyloxml" in start[:2000] else ""


def _sequence_format(source: Source) -> str:
    """Return the name of another format of sequences, if a file has one."""
    text = read_head(source.path).decode(errors="replace").lstrip("\ufeff \r\n\t")
    lines = re.split("\r\n|\r|\n", text)
    # The first line can be a header.
    cells = lines[min(1, len(lines) - 1)].split("\t")
    if len(cells) > 1 and is_sequence(cells[1].strip('"')):
        return "a table of ids and sequences"
    return next((name for start, name in _STARTS.items() if lines[0].upper().startswith(start)), "")


_STARTS = {"CLUSTAL": "Clustal", "# STOCKHOLM": "Stockholm", "#NEXUS": "NEXUS"}
"""Names of formats of sequences, by the first characters in upper case."""


def _sequences(text: str, where: str, folder: Path, findings: Findings) -> None:
    by_id = parse_fasta(text, where, findings)
    write_content(folder, {}, {"id": by_id, "sequence": by_id.values()})


def _tree(text: str, where: str, folder: Path, findings: Findings) -> None:
    parent, length, names = parse_newick(text, where, findings)
    write_content(folder, {"parent": parent, "length": length}, {"name": names})


def _metadata(text: str, where: str, folder: Path, findings: Findings) -> None:
    ids, columns, types = parse_metadata(text, where, findings)
    cells = chain.from_iterable(columns.values())
    write_content(folder, {}, {"id": ids, "column": columns, "type": types.values(), "cell": cells})


def _distances(text: str, where: str, folder: Path, _: Findings) -> None:
    ids, matrix = parse_distances(text, where)
    write_content(folder, {"matrix": matrix}, {"id": ids})


def _taxonomy(text: str, where: str, folder: Path, findings: Findings) -> None:
    by_id = parse_taxonomy(text, where, findings)
    write_content(folder, {}, {"id": by_id, "taxon": by_id.values()})


_PARSERS: dict[str, Callable[[str, str, Path, Findings], None]] = {
    "rep-seqs": _sequences,
    "tree": _tree,
    "tree to root": _tree,
    "metadata": _metadata,
    "distances": _distances,
    "taxonomy": _taxonomy,
}
_BINARY = {Kind.NPY: read_npy, Kind.HDF5: read_hdf5}
