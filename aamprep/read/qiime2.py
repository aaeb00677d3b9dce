"""QIIME 2 artifacts: zip archives with `<uuid>/VERSION`, `<uuid>/metadata.yaml` and `<uuid>/data/...`.

This layout is the same in all archive versions. Version 5 added checksums.md5
(https://develop.qiime2.org/en/latest/framework/explanations/archives.html), which version 7 replaced by
checksums.sha512. Members are read by name and never extracted, so an archive cannot choose a path on the
disk.
"""

import hashlib
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aam_schemas.common.text import shorten, truncate_list
from aamprep.read.source import CHUNK_BYTES, Limits, RefusedError, Source, check_size
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ROOT = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/VERSION")
# Real artifacts stay far below these limits, which protect against malicious archives.
_MAX_MEMBERS = 100_000
_MAX_HEADER_BYTES = 1 << 20
_LONGEST_TYPE = 10_000
"""Number of characters of a semantic type."""
_COMPRESSION_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHECKSUMS = "checksums."
"""Beginning of the name of a file of checksums. The rest is the algorithm, such as md5."""
# The digests of SHAKE have no length of their own.
_ALGORITHMS = {name for name in hashlib.algorithms_available if not name.startswith("shake")}
_FIRST_WITH_CHECKSUMS, _NEWEST = (5, 0), (7, 1)
"""Archive versions: the first with checksums, and the newest that this module knows."""
_VERSION = re.compile(r"^archive:[ \t]*(\d{1,4})(?:\.(\d{1,4}))?\s*$", re.MULTILINE)
_FOLDED = re.compile(r"\r?\n[ \t]+")
"""Line break within a YAML value. The next line is indented."""
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
    checksums: dict[str, str]
    """Checksum of the data in each file of checksums whose algorithm is known."""


def open_artifact(source: Source, role: str, findings: Findings, limits: Limits) -> Artifact:
    """Check that an artifact has a type that a role accepts.

    Parameters
    ----------
    source : Source
    role : str
        Key of `_MEMBERS`, such as `table`.
    findings : Findings
        Receives an archive version that is not known, and checksums that cannot be verified.
    limits : Limits

    Raises
    ------
    RefusedError
        If the artifact is damaged or of another type.
    """
    header = read_header(source, limits)
    uuid, semantic_type = header["uuid"], header.get("type", "")
    member = _member_for(role, semantic_type, source.name)
    try:
        with zipfile.ZipFile(source.path) as archive:
            version = _check_version(archive, uuid, source, findings, limits)
            known, unknown = _files_of_checksums(archive, uuid)
            checksums = {name: _checksum(archive, uuid, name, member, source, limits) for name in known}
    except _DAMAGED as error:
        raise _damaged(source, error) from None
    if unknown:
        value = f"{truncate_list(map(repr, unknown))}: not an algorithm of this version of Python"
        findings.add(rules.ARTIFACT_UNVERIFIED, source.name, value)
    elif not known and version >= _FIRST_WITH_CHECKSUMS:
        findings.add(rules.ARTIFACT_UNVERIFIED, source.name, "no file of checksums")
    return Artifact(source, uuid, semantic_type, member, checksums)


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
    lines = (line.partition(":") for line in _lines(_FOLDED.sub(" ", header)))
    found = [(name, value.strip().strip("\"'")) for name, _, value in lines if name in ("type", "format")]
    _refuse_repeated([name for name, _ in found], f"{source.name}, metadata.yaml")
    return {"uuid": uuid} | dict(found)


def role_for_type(semantic_type: str) -> str | None:
    """Return the role that accepts a semantic type, or None."""
    plain = without_properties(semantic_type)
    roles = (role for role, types in _MEMBERS.items() if plain in types and role != "tree to root")
    return next(roles, None)


def read_chunks(artifact: Artifact, limits: Limits) -> Iterator[bytes]:
    """Yield the data of an artifact in chunks, and check them against all of its checksums.

    Raises
    ------
    RefusedError
        If the data are missing, damaged, changed, or larger than the limits allow.
    """
    source, name = artifact.source, f"{artifact.uuid}/{artifact.member}"
    try:
        with zipfile.ZipFile(source.path) as archive:
            digests = {
                file: hashlib.new(file.removeprefix(_CHECKSUMS), usedforsecurity=False)
                for file in artifact.checksums
            }
            with archive.open(_info(archive, name, source, limits)) as member:
                while chunk := member.read(CHUNK_BYTES):
                    for digest in digests.values():
                        digest.update(chunk)
                    yield chunk
    except _DAMAGED as error:
        raise _damaged(source, error) from None
    for file, digest in digests.items():
        if digest.hexdigest() != artifact.checksums[file]:
            raise RefusedError(rules.ARTIFACT_CHECKSUM, source.name, f"{artifact.member}, {file}")


def _member_for(role: str, semantic_type: str, where: str) -> str:
    """Return the path of the data for a role."""
    plain = without_properties(semantic_type)
    accepted = _MEMBERS[role]
    if plain in accepted:
        return accepted[plain]
    if plain == "Visualization":
        raise RefusedError(rules.ARTIFACT_VISUALIZATION, where, plain)
    if role == "table" and plain.startswith("FeatureTable["):
        raise RefusedError(rules.ARTIFACT_NOT_COUNTS, where, plain)
    if role == "tree" and plain == "Phylogeny[Unrooted]":
        raise RefusedError(rules.ARTIFACT_UNROOTED, where, plain)
    needed = " or ".join(accepted)
    raise RefusedError(rules.ARTIFACT_TYPE, where, f"{plain or 'no type given'}; {needed} is needed")


def without_properties(semantic_type: str) -> str:
    """Return a type without its properties, which follow `%` at any depth of the brackets.

    `FeatureTable[Frequency % Properties('a')]` becomes `FeatureTable[Frequency]`.
    """
    kept, rest = "", semantic_type
    while "%" in rest and len(semantic_type) <= _LONGEST_TYPE:
        before, _, after = rest.partition("%")
        kept += before.rstrip()
        rest = after[_end_of_properties(after) :]
    return (kept + rest).strip()


def _end_of_properties(text: str) -> int:
    """Return where properties end: at `]` or `,` outside of their parentheses and quotes."""
    quote, depth = "", 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character in "]," and depth <= 0:
            return position
    return len(text)


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


def _check_version(
    archive: zipfile.ZipFile, uuid: str, source: Source, findings: Findings, limits: Limits
) -> tuple[int, int]:
    """Return the version of an archive. Report one that is newer than those known, or cannot be read."""
    text = _read_small(archive, f"{uuid}/VERSION", source, limits)
    found = _VERSION.search(text)
    if found is None:
        findings.add(rules.ARTIFACT_VERSION, f"{source.name}, VERSION", shorten(repr(text)))
        return _NEWEST
    version = int(found[1]), int(found[2] or 0)
    if version > _NEWEST:
        newest = ".".join(map(str, _NEWEST))
        value = f"{found[1]}.{found[2] or 0}; aamprep knows 0 to {newest}"
        findings.add(rules.ARTIFACT_VERSION, source.name, value)
    return version


def _files_of_checksums(archive: zipfile.ZipFile, uuid: str) -> tuple[list[str], list[str]]:
    """Return the files of checksums of an artifact: those of a known algorithm, and the others."""
    names = [name.removeprefix(f"{uuid}/") for name in archive.namelist() if name.startswith(f"{uuid}/")]
    files = [name for name in names if name.startswith(_CHECKSUMS) and "/" not in name]
    known = [name for name in files if name.removeprefix(_CHECKSUMS) in _ALGORITHMS]
    return known, [name for name in files if name not in known]


def _checksum(
    archive: zipfile.ZipFile, uuid: str, file: str, member: str, source: Source, limits: Limits
) -> str:
    """Return the checksum of a member of an artifact from a file of checksums."""
    lines = _lines(_read_small(archive, f"{uuid}/{file}", source, limits).strip())
    pairs = [(path, digest) for digest, _, path in (line.partition("  ") for line in lines if line)]
    _refuse_repeated([path for path, _ in pairs], f"{source.name}, {file}")
    # A file without a checksum was added later. "none" equals no digest, so it is refused.
    return dict(pairs).get(member, "none").lower()


def _lines(text: str) -> list[str]:
    """Return the lines of a text. `str.splitlines` would also split at characters that a name can hold."""
    return re.split(r"\r\n|\r|\n", text)


def _damaged(source: Source, error: BaseException) -> RefusedError:
    return RefusedError(rules.FILE_UNREADABLE, source.name, error)
