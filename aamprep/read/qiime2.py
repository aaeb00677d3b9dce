"""QIIME 2 artifacts: zip archives of `<uuid>/VERSION`, `<uuid>/metadata.yaml` and `<uuid>/data/...`.

The layout is the same in every archive version, from 0 on; checksums.md5 came with version 5
(https://develop.qiime2.org/en/latest/framework/explanations/archives.html). Members are read by name, in
memory or piece by piece; nothing is ever extracted under a name that the archive chooses.
"""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from aamprep.read.source import PIECE_BYTES, Limits, RefusedError, Source, check_size
from aamprep.rules import tables as rules

_ROOT = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/VERSION")
_MOST_MEMBERS = 100_000
_MOST_HEADER_BYTES = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)

_MEMBERS = {
    "table": {"FeatureTable[Frequency]": "data/feature-table.biom"},
    "rep-seqs": {"FeatureData[Sequence]": "data/dna-sequences.fasta"},
    "tree": {"Phylogeny[Rooted]": "data/tree.nwk"},
    "tree to root": {"Phylogeny[Unrooted]": "data/tree.nwk", "Phylogeny[Rooted]": "data/tree.nwk"},
    "metadata": {
        "ImmutableMetadata": "data/metadata.tsv",
        "SampleData[AlphaDiversity]": "data/alpha-diversity.tsv",
    },
    "distances": {"DistanceMatrix": "data/distance-matrix.tsv"},
    "taxonomy": {"FeatureData[Taxonomy]": "data/taxonomy.tsv"},
}
"""Semantic types that serve each role, and the member that holds the data."""


@dataclass(frozen=True)
class Artifact:
    """A QIIME 2 artifact of the type that its role needs."""

    source: Source
    uuid: str
    type: str
    member: str
    """Path of the data within the artifact, below the UUID."""


def open_artifact(source: Source, role: str, limits: Limits) -> Artifact:
    """Check that an artifact serves a role.

    Raises
    ------
    RefusedError
        If it is damaged, or of a type that does not serve.
    """
    header = header_of(source, limits)
    semantic_type = header.get("type", "")
    return Artifact(source, header["uuid"], semantic_type, _member_for(role, semantic_type, source.name))


def header_of(source: Source, limits: Limits) -> dict[str, str]:
    """Read what an artifact says of itself: `uuid`, and `type` and `format` where they are given.

    Raises
    ------
    RefusedError
        If it is damaged.
    """
    try:
        with zipfile.ZipFile(source.path) as archive:
            uuid = _uuid(archive, source)
            header = _read_small(archive, f"{uuid}/metadata.yaml", source, limits)
    except _DAMAGED as error:
        raise _damaged(source, error) from None
    fields = dict(re.findall(r"^(type|format):[ \t]*(.*?)[ \t]*\r?$", header, re.MULTILINE))
    return {"uuid": uuid} | {name: value.strip("\"'") for name, value in fields.items()}


def role_of(semantic_type: str) -> str | None:
    """Name the role that artifacts of a semantic type play; None where they play none."""
    plain = semantic_type.split("%")[0].strip()
    found = (role for role, types in _MEMBERS.items() if plain in types and role != "tree to root")
    return next(found, None)


def pieces_of(artifact: Artifact, limits: Limits) -> Iterator[bytes]:
    """Read the data of an artifact piece by piece, and check it against checksums.md5 where there is one.

    Raises
    ------
    RefusedError
        If the data are missing, damaged, changed, or larger than the limits allow.
    """
    source, name = artifact.source, f"{artifact.uuid}/{artifact.member}"
    try:
        with zipfile.ZipFile(source.path) as archive:
            expected = _checksum(archive, artifact, limits)
            digest = hashlib.md5(usedforsecurity=False)
            with archive.open(_info(archive, name, source, limits)) as member:
                while piece := member.read(PIECE_BYTES):
                    digest.update(piece)
                    yield piece
    except _DAMAGED as error:
        raise _damaged(source, error) from None
    if expected is not None and digest.hexdigest() != expected:
        raise RefusedError(rules.ARTIFACT_CHECKSUM, source.name, artifact.member)


def _member_for(role: str, semantic_type: str, where: str) -> str:
    """Find the member that serves a role; properties (`% Properties(...)`) do not matter."""
    plain = semantic_type.split("%")[0].strip()
    wanted = _MEMBERS[role]
    if plain in wanted:
        return wanted[plain]
    if role == "table" and plain.startswith("FeatureTable["):
        raise RefusedError(rules.ARTIFACT_NOT_COUNTS, where, plain)
    if role == "tree" and plain == "Phylogeny[Unrooted]":
        raise RefusedError(rules.ARTIFACT_UNROOTED, where, plain)
    needed = " or ".join(wanted)
    raise RefusedError(rules.ARTIFACT_TYPE, where, f"{plain or 'no type given'}; {needed} is needed")


def _uuid(archive: zipfile.ZipFile, source: Source) -> str:
    names = archive.namelist()
    if len(names) > _MOST_MEMBERS:
        raise RefusedError(rules.FILE_TOO_LARGE, source.name, f"{len(names):,} members")
    roots = {match[1] for match in map(_ROOT.fullmatch, names) if match}
    if len(roots) != 1:
        raise RefusedError(rules.ARTIFACT_MEMBER, source.name, f"{len(roots)} artifacts in one archive")
    return roots.pop()


def _info(archive: zipfile.ZipFile, name: str, source: Source, limits: Limits) -> zipfile.ZipInfo:
    if name not in archive.NameToInfo:
        raise RefusedError(rules.ARTIFACT_MEMBER, source.name, f"{name.partition('/')[2]} is missing")
    info = archive.getinfo(name)
    if info.compress_type not in _METHODS:
        raise RefusedError(rules.FILE_UNREADABLE, source.name, f"compression method {info.compress_type}")
    check_size(info.file_size, info.compress_size, f"{source.name}, {name.partition('/')[2]}", limits)
    return info


def _read_small(archive: zipfile.ZipFile, name: str, source: Source, limits: Limits) -> str:
    info = _info(archive, name, source, limits)
    if info.file_size > _MOST_HEADER_BYTES:
        raise RefusedError(
            rules.FILE_TOO_LARGE, source.name, f"{name.partition('/')[2]}: {info.file_size:,} bytes"
        )
    return archive.read(info).decode("utf-8", "replace")


def _checksum(archive: zipfile.ZipFile, artifact: Artifact, limits: Limits) -> str | None:
    """Find the MD5 of the data; None in archives before version 5, which have none."""
    name = f"{artifact.uuid}/checksums.md5"
    if name not in archive.NameToInfo:
        return None
    lines = _read_small(archive, name, artifact.source, limits).splitlines()
    sums = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    return sums.get(artifact.member, "none")


def _damaged(source: Source, error: BaseException) -> RefusedError:
    return RefusedError(rules.FILE_UNREADABLE, source.name, error)
