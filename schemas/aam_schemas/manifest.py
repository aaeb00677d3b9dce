"""`manifest.json`: what a shard set holds, where it came from, and the hashes that prove it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import interrupted
from aam_schemas.common.records import record_from_json
from aam_schemas.shards import FORMAT_VERSION
from aam_schemas.vocabulary import NAMES

MANIFEST_FILE = "manifest.json"
CHECKSUM_FILE = "manifest.sha256"

LARGEST_TOKEN_LIMIT = 2**31 - 1
"""Entries that a list of a shard's sample can hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """One file of a shard set."""

    name: str
    split: str
    """train, validation or test for samples; empty for the rest."""
    rows: int
    row_group_rows: tuple[int, ...]
    """Rows of each row group, in order."""
    bytes: int
    sha256: str
    footer_sha256: str
    """Of the Parquet footer, which page checksums do not cover; empty for other files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """One file that the shards were made from."""

    role: str
    """table, tree, rep-seqs, metadata, taxonomy or distances; shards where sets were merged."""
    name: str
    bytes: int
    sha256: str
    uuid: str = ""
    """Of a QIIME 2 artifact, to find it in its provenance."""
    kind: str = ""
    """What the file turned out to be, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What was chosen when the shards were made."""

    token_limit: int
    select: str = "abundance"
    rarefy_depth: int | None = None
    seed: int = 0
    split_by: str | None = None
    missing_from_tree: str = "keep"
    min_prevalence: int = 1
    min_reads: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A shard set in words and numbers."""

    choices: Choices
    sequence_length: int
    """Tokens per ASV, L: START and the bases of the longest one."""
    num_samples: int
    num_asvs: int
    num_kept_asvs: int
    """ASVs that some sample keeps under the token limit: the first rows of asvs.parquet."""
    num_branches: int
    """Rows of tree.parquet; 0 without a tree."""
    num_rejected_samples: int
    num_rejected_asvs: int
    files: tuple[ShardFile, ...]
    inputs: tuple[InputFile, ...]
    metadata_types: dict[str, str] = field(default_factory=dict)
    """Name and type (numeric or categorical) of each metadata column."""
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    vocabulary: tuple[str, ...] = NAMES
    format_version: int = FORMAT_VERSION

    def sample_files(self, split: str) -> tuple[ShardFile, ...]:
        """Files that hold one split, in order."""
        return tuple(file for file in self.files if file.split == split)

    def num_rows(self, split: str) -> int:
        """Count the samples of one split."""
        return sum(file.rows for file in self.sample_files(split))

    def to_json(self) -> str:
        """Write as JSON, the same bytes for the same content."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def sha256(self) -> str:
        """Hash of the JSON form: the identity of the whole set."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` and `manifest.sha256` into a folder."""
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    (folder / CHECKSUM_FILE).write_text(f"{manifest.sha256}  {MANIFEST_FILE}\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a shard set.

    Raises
    ------
    UsageError
        If there is no such folder.
    InvalidDataError
        If the folder is no shard set, or its manifest was changed, cut short or is of another version.
    """
    if not folder.exists():
        raise _no_folder(folder)
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise InvalidDataError(
            f"this is not a shard set: it has no {MANIFEST_FILE}",
            str(folder),
            "make one with `aamprep shard`, then name its folder",
        )
    checksum = folder / CHECKSUM_FILE
    return parse_manifest(
        path.read_bytes(), checksum.read_bytes() if checksum.is_file() else b"", str(folder)
    )


def _no_folder(folder: Path) -> UsageError:
    old = interrupted(folder)
    if old is None:
        return UsageError(
            "there is no such folder", str(folder), "name the folder that `aamprep shard` wrote"
        )
    return UsageError(
        f"a run was killed while replacing this shard set; the old set is whole, and is named {old.name}",
        str(folder),
        f"rename {old.name} to {folder.name}, or run a command that reads the set: it renames it for you",
    )


def parse_manifest(content: bytes, checksum: bytes, folder: str) -> Manifest:
    """Check and parse what the files of a manifest hold.

    Parameters
    ----------
    content, checksum : bytes
        Of `manifest.json` and `manifest.sha256`.
    folder : str
        Where they lie, for messages.

    Raises
    ------
    InvalidDataError
        If the manifest was changed, cut short or is of another version.
    """
    expected = checksum.split()
    if not expected or expected[0] != hashlib.sha256(content).hexdigest().encode():
        raise InvalidDataError(
            f"{MANIFEST_FILE} and {CHECKSUM_FILE} do not agree: the set was changed or copied in part",
            folder,
            "copy the whole folder again, or make it anew with `aamprep shard`",
        )
    return _parse(content, f"{folder.rstrip('/')}/{MANIFEST_FILE}")


def _parse(content: bytes, path: str) -> Manifest:
    try:
        document = json.loads(content)
        if document["format_version"] != FORMAT_VERSION:
            raise InvalidDataError(
                f"shard format version {document['format_version']}, but this program reads {FORMAT_VERSION}",
                path,
                "make the shards again, or install the version that wrote them",
            )
        return record_from_json(Manifest, document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidDataError(
            f"this is no manifest of format version {FORMAT_VERSION}: {error}",
            path,
            "make the shards again with `aamprep shard`",
        ) from error
