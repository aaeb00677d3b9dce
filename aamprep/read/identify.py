"""Find out the role of a file from its content, for `aamprep inspect`."""

from aamprep.read.metadata import is_id_header
from aamprep.read.qiime2 import read_header, role_for_type
from aamprep.read.sniff import Kind, read_head
from aamprep.read.source import Limits, RefusedError, Source
from aamprep.rules import tables as rules

_ROLE_OF_KIND = {
    Kind.BIOM_HDF5: "table",
    Kind.BIOM_JSON: "table",
    Kind.FASTA: "rep-seqs",
    Kind.NEWICK: "tree",
    Kind.NPY: "distances",
    Kind.HDF5: "distances",
}
_KNOWN = "BIOM table, QIIME 2 artifact, FASTA, newick, tab-separated text, distance matrix, shard set"


def identify(source: Source, limits: Limits) -> tuple[str, dict[str, str]]:
    """Return the role of a file, and the header of an artifact.

    Artifacts of a type that no role accepts have an empty role.

    Raises
    ------
    RefusedError
        If the file is of no known type, or a damaged artifact.
    """
    if source.kind is Kind.ARTIFACT:
        header = read_header(source, limits)
        return role_for_type(header.get("type", "")) or "", header
    role = _role(source)
    if role is None:
        raise RefusedError(rules.FILE_KIND, source.name, f"{source.kind}; known types: {_KNOWN}")
    return role, {}


def _role(source: Source) -> str | None:
    """Return the role of a file, or None if it has none. Text files are told apart by their first cells."""
    if source.kind not in (Kind.TSV, Kind.TEXT):
        return _ROLE_OF_KIND.get(source.kind)
    first = read_head(source.path).removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n").partition(b"\n")[0]
    # Text without a tab can be metadata that have only the column of sample ids.
    if source.kind is Kind.TEXT:
        return "metadata" if is_id_header(first.decode("utf-8", "replace").strip()) else None
    if first.startswith((b"#OTU ID", b"# Constructed from biom")):
        raise RefusedError(rules.FILE_TEXT_TABLE, source.name, Kind.TSV)
    if first.startswith(b"\t"):
        return "distances"
    is_taxonomy = first.lower().replace(b"#", b"").startswith(b"feature id\ttaxon")
    return "taxonomy" if is_taxonomy else "metadata"
