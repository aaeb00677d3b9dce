"""Read the file of each role: open it, decode it, parse it, and return the data class of its role."""

from collections.abc import Callable
from typing import TypeVar

from aam_schemas.manifest import InputFile
from aamprep.read.biom.spool import load, temporary_folder
from aamprep.read.biom.table import spool_table
from aamprep.read.distances import parse_distances, read_hdf5, read_npy
from aamprep.read.fasta import parse_fasta
from aamprep.read.isolate import spool_isolated
from aamprep.read.metadata import parse_metadata
from aamprep.read.newick import parse_newick
from aamprep.read.qiime2 import open_artifact, read_chunks
from aamprep.read.sniff import Kind
from aamprep.read.source import (
    InputPath,
    Limits,
    ObjectFile,
    RefusedError,
    Source,
    decode_text,
    open_source,
    read_content,
)
from aamprep.read.taxonomy import parse_taxonomy
from aamprep.read.types import CountTable, Distances, Metadata, Sequences, Taxonomy, Tree, study_name
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_KINDS = {
    "rep-seqs": {Kind.FASTA},
    "tree": {Kind.NEWICK},
    "tree to root": {Kind.NEWICK},
    "metadata": {Kind.TSV, Kind.TEXT},
    "distances": {Kind.TSV},
    "taxonomy": {Kind.TSV},
}
"""Accepted text formats for each role, besides artifacts."""

Product = TypeVar("Product")


def table(
    path: InputPath, findings: Findings, study: str | None, isolate: bool, limits: Limits | None
) -> CountTable | None:
    """Read a feature table (see `aamprep.read.read_table`)."""
    try:
        source = open_source(path)
    except RefusedError as refused:
        refused.report(findings)
        return None
    # Files of Python objects were written by this process, so they are safe to read in it.
    is_object = isinstance(path, ObjectFile)
    spool = spool_isolated if isolate and not is_object else spool_table
    with temporary_folder() as folder:
        spooled = spool(source, folder, findings, limits or Limits())
        if spooled is None:
            return None
        # The arrays are mapped into memory, so they remain usable after the folder is removed.
        arrays = load(folder)
    file = _input_file(source, "table", spooled.kind, spooled.uuid)
    return CountTable(source=file, study=study or _study_name(path), **arrays)


def sequences(path: InputPath, findings: Findings, limits: Limits | None) -> Sequences | None:
    """Read the sequences of features (see `aamprep.read.read_sequences`)."""

    def make(file: InputFile, text: str) -> Sequences:
        by_id = parse_fasta(text, file.name, findings)
        return Sequences(file, by_id)

    return _read(path, "rep-seqs", findings, limits, make)


def tree(path: InputPath, findings: Findings, limits: Limits | None, role: str = "tree") -> Tree | None:
    """Read a phylogeny (see `aamprep.read.read_tree`). "tree to root" also accepts unrooted artifacts."""

    def make(file: InputFile, text: str) -> Tree:
        parent, length, names = parse_newick(text, file.name, findings)
        return Tree(file, parent, length, names)

    return _read(path, role, findings, limits, make)


def metadata(path: InputPath, findings: Findings, limits: Limits | None) -> Metadata | None:
    """Read sample metadata (see `aamprep.read.read_metadata`)."""

    def make(file: InputFile, text: str) -> Metadata:
        ids, columns, types = parse_metadata(text, file.name, findings)
        return Metadata(file, ids, columns, types)

    return _read(path, "metadata", findings, limits, make)


def distances(path: InputPath, findings: Findings, limits: Limits | None) -> Distances | None:
    """Read a distance matrix (see `aamprep.read.read_distances`)."""
    binary = {Kind.NPY: read_npy, Kind.HDF5: read_hdf5}

    def make(file: InputFile, text: str) -> Distances:
        ids, matrix = parse_distances(text, file.name)
        return Distances(file, ids, matrix)

    try:
        source = open_source(path)
        if source.kind in binary and not source.is_gzip:
            ids, matrix = binary[source.kind](source, limits or Limits())
            return Distances(_input_file(source, "distances", str(source.kind)), ids, matrix)
    except RefusedError as refused:
        refused.report(findings)
        return None
    return _read(path, "distances", findings, limits, make)


def taxonomy(path: InputPath, findings: Findings, limits: Limits | None) -> Taxonomy | None:
    """Read the taxa of features (see `aamprep.read.read_taxonomy`)."""

    def make(file: InputFile, text: str) -> Taxonomy:
        return Taxonomy(file, parse_taxonomy(text, file.name, findings))

    return _read(path, "taxonomy", findings, limits, make)


def _read(
    path: InputPath,
    role: str,
    findings: Findings,
    limits: Limits | None,
    make: Callable[[InputFile, str], Product],
) -> Product | None:
    """Read a text file or an artifact. If it cannot be used, add a finding and return None."""
    try:
        source = open_source(path)
        file, content = _content(source, role, limits or Limits())
        return make(file, decode_text(content, source.name))
    except RefusedError as refused:
        refused.report(findings)
        return None


def _content(source: Source, role: str, limits: Limits) -> tuple[InputFile, bytes]:
    if source.kind is Kind.ARTIFACT:
        artifact = open_artifact(source, role, limits)
        kind = f"{source.kind}, {artifact.type}"
        return _input_file(source, role, kind, artifact.uuid), b"".join(read_chunks(artifact, limits))
    if source.kind not in _KINDS[role]:
        needed = " or ".join(sorted(_KINDS[role], reverse=True))
        raise RefusedError(rules.FILE_KIND, source.name, f"{source.kind}; {needed} or an artifact is needed")
    kind = f"{source.kind}, gzipped" if source.is_gzip else str(source.kind)
    return _input_file(source, role, kind), read_content(source, limits)


def _study_name(file: InputPath) -> str:
    return file.study if isinstance(file, ObjectFile) else study_name(file)


def _input_file(source: Source, role: str, kind: str, uuid: str = "") -> InputFile:
    return InputFile(
        role=role, name=source.name, bytes=source.bytes, sha256=source.sha256, uuid=uuid, kind=kind
    )
