"""Any kind of feature table into a folder of arrays: unpacked or taken out of its artifact, checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aamprep.read.qiime2 import open_artifact, pieces_of
from aamprep.read.sniff import Kind, sniff
from aamprep.read.source import Limits, RefusedError, Source, refuse_no_data, unpack
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_UNPACKED = "unpacked"


@dataclass(frozen=True)
class Spooled:
    """What the reader learned of a table beside its arrays."""

    kind: str
    uuid: str = ""


def spool_table(source: Source, folder: Path, findings: Findings, limits: Limits) -> Spooled | None:
    """Read a table into a folder.

    Returns
    -------
    Spooled or None
        None where nothing of the table can be used; the findings say why.
    """
    try:
        return _spool(source, folder, findings, limits)
    except RefusedError as refused:
        refused.report(findings)
        return None
    finally:
        (folder / _UNPACKED).unlink(missing_ok=True)


def _spool(source: Source, folder: Path, findings: Findings, limits: Limits) -> Spooled:
    if source.kind is Kind.ARTIFACT:
        artifact = open_artifact(source, "table", limits)
        path = _write(folder / _UNPACKED, pieces_of(artifact, limits))
        _spool_plain(path, folder, source.name, findings, limits)
        return Spooled(f"{source.kind}, {artifact.type}", artifact.uuid)
    if source.is_gzip:
        path = _write(folder / _UNPACKED, unpack(source, limits))
        return Spooled(f"{_spool_plain(path, folder, source.name, findings, limits)}, gzipped")
    return Spooled(str(_spool_plain(source.path, folder, source.name, findings, limits)))


def _spool_plain(path: Path, folder: Path, where: str, findings: Findings, limits: Limits) -> Kind:
    """Read a BIOM file that is neither packed nor in an artifact; gives what it turned out to be."""
    # Imported here: reading JSON needs no HDF5, and reading HDF5 no more than h5py.
    kind = sniff(path)
    refuse_no_data(kind, where)
    if kind in (Kind.BIOM_HDF5, Kind.HDF5):
        from aamprep.read.biom.hdf5 import spool_hdf5

        spool_hdf5(path, folder, where, findings, limits)
        return Kind.BIOM_HDF5
    if kind in (Kind.BIOM_JSON, Kind.JSON):
        from aamprep.read.biom.json import spool_json

        spool_json(path, folder, where, findings)
        return Kind.BIOM_JSON
    if kind is Kind.TSV:
        raise RefusedError(rules.FILE_TEXT_TABLE, where, kind)
    raise RefusedError(rules.FILE_KIND, where, f"{kind}; a BIOM table or a QIIME 2 artifact is needed")


def _write(path: Path, pieces: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    return path
