"""Readers of input files: one function for each role of a file, and one module for each format.

These functions do not raise exceptions for invalid data. They add findings, and return None if nothing in the
file can be used. A file that does not exist raises `aam_schemas.common.errors.UsageError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamprep.rules.findings import Findings

# The functions import their modules when called: the process that reads files (`aamprep.read.child`) imports
# this package first, and must start fast.
if TYPE_CHECKING:
    from aamprep.read.source import InputPath, Limits
    from aamprep.read.types import CountTable, Distances, Metadata, Sequences, Taxonomy, Tree


def read_table(
    path: InputPath,
    findings: Findings,
    *,
    study: str | None = None,
    isolate: bool = True,
    limits: Limits | None = None,
) -> CountTable | None:
    """Read a feature table: BIOM 1 or 2, gzipped or not, or a QIIME 2 artifact that contains one.

    Parameters
    ----------
    path : Path or ObjectFile
    findings : Findings
        Receives the problems of the file.
    study : str, optional
        Name of the study. The default is derived from the file name.
    isolate : bool
        Whether to read in a child process with limits on memory and time.
    limits : Limits, optional
        Limits on the resources that the file may require.

    Returns
    -------
    CountTable or None
        None if nothing can be used. Invalid counts (NaN, infinite, negative) and duplicate ids are reported
        as findings, but remain in the table.

    Raises
    ------
    UsageError
        If the file does not exist or cannot be opened, or changes while it is read.
    """
    from aamprep.read.files import read_files

    return read_files([("table", path)], findings, limits, isolate, study)[0].product


def read_sequences(
    path: InputPath, findings: Findings, *, isolate: bool = True, limits: Limits | None = None
) -> Sequences | None:
    """Read the sequences of features: FASTA, gzipped or not, or a FeatureData[Sequence] artifact.

    Parameters, None and errors are those of `read_table`.
    """
    from aamprep.read.files import read_files

    return read_files([("rep-seqs", path)], findings, limits, isolate)[0].product


def read_tree(
    path: InputPath, findings: Findings, *, isolate: bool = True, limits: Limits | None = None
) -> Tree | None:
    """Read a phylogeny: Newick, gzipped or not, or a Phylogeny[Rooted] artifact.

    Parameters, None and errors are those of `read_table`.
    """
    from aamprep.read.files import read_files

    return read_files([("tree", path)], findings, limits, isolate)[0].product


def read_metadata(
    path: InputPath, findings: Findings, *, isolate: bool = True, limits: Limits | None = None
) -> Metadata | None:
    """Read sample metadata: tab-separated text in QIIME 2's format, or an artifact of metadata.

    Parameters, None and errors are those of `read_table`.
    """
    from aamprep.read.files import read_files

    return read_files([("metadata", path)], findings, limits, isolate)[0].product


def read_distances(
    path: InputPath, findings: Findings, *, isolate: bool = True, limits: Limits | None = None
) -> Distances | None:
    """Read a distance matrix: tab-separated text, .npy, HDF5 or a DistanceMatrix artifact.

    Parameters, None and errors are those of `read_table`.
    """
    from aamprep.read.files import read_files

    return read_files([("distances", path)], findings, limits, isolate)[0].product


def read_taxonomy(
    path: InputPath, findings: Findings, *, isolate: bool = True, limits: Limits | None = None
) -> Taxonomy | None:
    """Read the taxa of features: tab-separated text, or a FeatureData[Taxonomy] artifact.

    Parameters, None and errors are those of `read_table`.
    """
    from aamprep.read.files import read_files

    return read_files([("taxonomy", path)], findings, limits, isolate)[0].product
