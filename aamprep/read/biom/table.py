"""Read a feature table of any accepted format, and write its arrays to a folder."""

from collections.abc import Iterable
from pathlib import Path

from aamprep.read.biom.text import refuse_text_table
from aamprep.read.qiime2 import open_artifact, read_chunks
from aamprep.read.sniff import Kind, sniff
from aamprep.read.source import Limits, RefusedError, Source, refuse_placeholder, unpack
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_UNPACKED = "unpacked"


def spool_table(source: Source, folder: Path, findings: Findings, limits: Limits) -> tuple[str, str]:
    """Read a table and write its arrays to a folder.

    Returns
    -------
    kind : str
        Format, for the manifest.
    uuid : str
        UUID of the QIIME 2 artifact, or empty.

    Raises
    ------
    RefusedError
        If nothing in the table can be used.
    """
    if source.kind is Kind.ARTIFACT:
        artifact = open_artifact(source, "table", findings, limits)
        path = _write(folder / _UNPACKED, read_chunks(artifact, limits))
        _spool_plain(path, folder, source.name, findings, limits)
        return f"{source.kind}, {artifact.type}", artifact.uuid
    if source.packing:
        path = _write(folder / _UNPACKED, unpack(source, limits))
        return f"{_spool_plain(path, folder, source.name, findings, limits)}, {source.packing}", ""
    return str(_spool_plain(source.path, folder, source.name, findings, limits)), ""


def _spool_plain(path: Path, folder: Path, where: str, findings: Findings, limits: Limits) -> Kind:
    """Read a BIOM file that is neither gzipped nor in an artifact, and return its format."""
    # The parsers are imported here, since reading JSON does not need h5py.
    kind = sniff(path)
    refuse_placeholder(kind, where)
    if kind in (Kind.BIOM_HDF5, Kind.HDF5):
        from aamprep.read.biom.hdf5 import spool_hdf5

        spool_hdf5(path, folder, where, findings, limits)
        return Kind.BIOM_HDF5
    if kind in (Kind.BIOM_JSON, Kind.JSON):
        from aamprep.read.biom.json import spool_json

        spool_json(path, folder, where, findings)
        return Kind.BIOM_JSON
    if kind in (Kind.TSV, Kind.TEXT):
        refuse_text_table(path, kind, where)
    raise RefusedError(rules.FILE_KIND, where, f"{kind}; a BIOM table or a QIIME 2 artifact is needed")


def _write(path: Path, chunks: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return path
