"""QIIME 2 artifacts: zip archives with `<uuid>/VERSION`, `<uuid>/metadata.yaml` and `<uuid>/data/...`.

This layout is the same in all archive versions. Version 5 added checksums.md5
(https://develop.qiime2.org/en/latest/framework/explanations/archives.html). Members are read by name and
never extracted, so an archive cannot choose a path on the disk.
"""

import hashlib
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aam_schemas.common.text import shorten
from aamprep.read.source import CHUNK_BYTES, Limits, RefusedError, Source, check_size
from aamprep.rules import tables as rules

_ROOT = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/VERSION")
# Real artifacts stay far below these limits, which protect against malicious archives.
_MAX_MEMBERS = 100_000
_MAX_HEADER_BYTES = 1 << 20
_COMPRESSION_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
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
"""Accepted semantic types for each role, with the path of the data in the artifact."""


@dataclass(frozen=True)
class Artifact:
    """A QIIME 2 artifact of a type that its role accepts."""

    source: Source
    uuid: str
    type: str
    member: str
    """Path of the data in the artifact, without the UUID."""


def open_artifact(source: Source, role: str, limits: Limits) -> Artifact:
    """Check that an artifact has a type that a role accepts.

    Parameters
    ----------
    source : Source
    role : str
        Key of `_MEMBERS`, such as `table`.
    limits : Limits

    Raises
    ------
    RefusedError
        If the artifact is damaged or of another type.
    """
    header = read_header(source, limits)
    semantic_type = header.get("type", "")
    return Artifact(source, header["uuid"], semantic_type, _member_for(role, semantic_type, source.name))


def read_header(source: Source, limits: Limits) -> dict[str, str]:
    """Read the header of an artifact: `uuid`, and `type` and `format` if given.

    Raises
    ------
    RefusedError
        If the artifact is damaged.
    """
    try:
        with zipfile.ZipFile(source.path) as archive:
            uuid = _uuid(archive, source)
            header = _read_small(archive, f"{uuid}/metadata.yaml", source, limits)
    except _DAMAGED as error:
        raise _damaged(source, error) from None
    # The header has one `key: value` per line, which needs no YAML parser.
    lines = (line.partition(":") for line in header.splitlines())
    found = [(name, value.strip().strip("\"'")) for name, _, value in lines if name in ("type", "format")]
    _refuse_repeated([name for name, _ in found], f"{source.name}, metadata.yaml")
    return {"uuid": uuid} | dict(found)


def role_for_type(semantic_type: str) -> str | None:
    """Return the role that accepts a semantic type, or None."""
    plain = _without_properties(semantic_type)
    roles = (role for role, types in _MEMBERS.items() if plain in types and role != "tree to root")
    return next(roles, None)


def read_chunks(artifact: Artifact, limits: Limits) -> Iterator[bytes]:
    """Yield the data of an artifact in chunks, and check them against checksums.md5 if the artifact has one.

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
                while chunk := member.read(CHUNK_BYTES):
                    digest.update(chunk)
                    yield chunk
    except _DAMAGED as error:
        raise _damaged(source, error) from None
    if expected is not None and digest.hexdigest() != expected:
        raise RefusedError(rules.ARTIFACT_CHECKSUM, source.name, artifact.member)


def _member_for(role: str, semantic_type: str, where: str) -> str:
    """Return the path of the data for a role."""
    plain = _without_properties(semantic_type)
    accepted = _MEMBERS[role]
    if plain in accepted:
        return accepted[plain]
    if role == "table" and plain.startswith("FeatureTable["):
        raise RefusedError(rules.ARTIFACT_NOT_COUNTS, where, plain)
    if role == "tree" and plain == "Phylogeny[Unrooted]":
        raise RefusedError(rules.ARTIFACT_UNROOTED, where, plain)
    needed = " or ".join(accepted)
    raise RefusedError(rules.ARTIFACT_TYPE, where, f"{plain or 'no type given'}; {needed} is needed")


def _without_properties(semantic_type: str) -> str:
    """Return a type such as `DistanceMatrix % Properties('phylogenetic')` without its properties."""
    return semantic_type.split("%")[0].strip()


def _uuid(archive: zipfile.ZipFile, source: Source) -> str:
    names = archive.namelist()
    if len(names) > _MAX_MEMBERS:
        raise RefusedError(rules.FILE_TOO_LARGE, source.name, f"{len(names):,} members")
    _refuse_repeated(names, source.name)
    roots = {match[1] for match in map(_ROOT.fullmatch, names) if match}
    if len(roots) != 1:
        raise RefusedError(rules.ARTIFACT_MEMBER, source.name, f"{len(roots)} artifacts in one archive")
    return roots.pop()


def _refuse_repeated(names: list[str], where: str) -> None:
    """Raise RefusedError if a name occurs twice: programs differ in which of the two they read."""
    if len(set(names)) < len(names):
        name, times = Counter(names).most_common(1)[0]
        raise RefusedError(rules.FILE_AMBIGUOUS, where, f"{shorten(repr(name))} {times} times")


def _info(archive: zipfile.ZipFile, name: str, source: Source, limits: Limits) -> zipfile.ZipInfo:
    if name not in archive.NameToInfo:
        raise RefusedError(rules.ARTIFACT_MEMBER, source.name, f"{name.partition('/')[2]} is missing")
    info = archive.getinfo(name)
    if info.compress_type not in _COMPRESSION_METHODS:
        raise RefusedError(rules.FILE_UNREADABLE, source.name, f"compression method {info.compress_type}")
    check_size(info.file_size, info.compress_size, f"{source.name}, {name.partition('/')[2]}", limits)
    return info


def _read_small(archive: zipfile.ZipFile, name: str, source: Source, limits: Limits) -> str:
    info = _info(archive, name, source, limits)
    if info.file_size > _MAX_HEADER_BYTES:
        raise RefusedError(
            rules.FILE_TOO_LARGE, source.name, f"{name.partition('/')[2]}: {info.file_size:,} bytes"
        )
    return archive.read(info).decode("utf-8", "replace")


def _checksum(archive: zipfile.ZipFile, artifact: Artifact, limits: Limits) -> str | None:
    """Return the MD5 checksum of the data, or None for archives before version 5, which have no checksums."""
    name = f"{artifact.uuid}/checksums.md5"
    if name not in archive.NameToInfo:
        return None
    lines = _read_small(archive, name, artifact.source, limits).splitlines()
    sums = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    if len(sums) < len(lines):
        _refuse_repeated(
            [line.partition("  ")[2] for line in lines], f"{artifact.source.name}, checksums.md5"
        )
    # A file without a checksum was added later. "none" equals no digest, so it is refused.
    return sums.get(artifact.member, "none")


def _damaged(source: Source, error: BaseException) -> RefusedError:
    return RefusedError(rules.FILE_UNREADABLE, source.name, error)
