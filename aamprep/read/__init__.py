"""One module for each kind of file that researchers have, and one function for each role that a file plays.

Bad data never raises out of these functions: they add findings, and give None where nothing can be used. A
file that does not exist raises `aam_schemas.common.errors.UsageError`.

Imports wait for the call, since the process that reads a table (`aamprep.read.isolate`) has to start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamprep.rules.findings import Findings

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
    """Read a feature table: BIOM 2 or 1, gzipped or not, or a QIIME 2 artifact of one.

    Parameters
    ----------
    path : Path or ObjectFile
    findings : Findings
        Takes what is wrong.
    study : str, optional
        Name of the study; by default the file's name.
    isolate : bool
        Read in a child process with a limit of memory and time.
    limits : Limits, optional
        What a file may ask for.

    Returns
    -------
    CountTable or None
        None where nothing can be used. Counts that are NaN, infinite or negative, and duplicated ids, are
        findings, and still in the table.
    """
    from aamprep.read.roles import table

    return table(path, findings, study, isolate, limits)


def read_sequences(path: InputPath, findings: Findings, *, limits: Limits | None = None) -> Sequences | None:
    """Read the sequences of features: FASTA, gzipped or not, or a FeatureData[Sequence] artifact."""
    from aamprep.read.roles import sequences

    return sequences(path, findings, limits)


def read_tree(path: InputPath, findings: Findings, *, limits: Limits | None = None) -> Tree | None:
    """Read a phylogeny: newick, gzipped or not, or a Phylogeny[Rooted] artifact."""
    from aamprep.read.roles import tree

    return tree(path, findings, limits)


def read_metadata(path: InputPath, findings: Findings, *, limits: Limits | None = None) -> Metadata | None:
    """Read sample metadata: tab-separated text by QIIME 2's rules, or an artifact that serves as metadata."""
    from aamprep.read.roles import metadata

    return metadata(path, findings, limits)


def read_distances(path: InputPath, findings: Findings, *, limits: Limits | None = None) -> Distances | None:
    """Read a distance matrix: tab-separated text, or a DistanceMatrix artifact."""
    from aamprep.read.roles import distances

    return distances(path, findings, limits)


def read_taxonomy(path: InputPath, findings: Findings, *, limits: Limits | None = None) -> Taxonomy | None:
    """Read the taxa of features: tab-separated text, or a FeatureData[Taxonomy] artifact."""
    from aamprep.read.roles import taxonomy

    return taxonomy(path, findings, limits)
