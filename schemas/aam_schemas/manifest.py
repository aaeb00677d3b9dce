"""The manifest of a shard set (`manifest.json`): its contents, inputs, choices and checksums."""

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
"""Largest length of a list in a sample: Arrow lists have signed 32-bit offsets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """One file of a shard set."""

    name: str
    split: str
    """train, validation or test for a sample file, empty for other files."""
    rows: int
    row_group_rows: tuple[int, ...]
    """Number of rows of each row group, in order."""
    bytes: int
    sha256: str
    footer_sha256: str
    """SHA-256 of the Parquet footer, which page checksums do not cover. Empty for other formats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """One of the files that the shards were made from."""

    role: str
    """table, tree, rep-seqs, metadata, taxonomy or distances, or shards if shard sets were merged."""
    name: str
    bytes: int
    sha256: str
    uuid: str = ""
    """UUID of a QIIME 2 artifact, which identifies it in provenance records. Empty for other files."""
    kind: str = ""
    """Detected file type, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """Options with which the shards were made."""

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
    """The manifest of a shard set."""

    choices: Choices
    sequence_length: int
    """Tokens per ASV, L: START and the bases of the longest ASV."""
    num_samples: int
    num_asvs: int
    num_kept_asvs: int
    """Number of ASVs that at least one sample keeps under the token limit. They are the first rows of
    `asvs.parquet`."""
    num_branches: int
    """Number of rows of `tree.parquet`, or 0 without a tree."""
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
        """Return the sample files of one split, in order."""
        return tuple(file for file in self.files if file.split == split)

    def num_rows(self, split: str) -> int:
        """Return the number of samples of one split."""
        return sum(file.rows for file in self.sample_files(split))

    def to_json(self) -> str:
        """Return the manifest as JSON. Equal manifests give equal bytes."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def sha256(self) -> str:
        """SHA-256 of the JSON. It identifies the whole set, since the JSON has the hash of every file."""
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
        If the folder does not exist.
    InvalidDataError
        If the folder is not a shard set, or its manifest was changed, truncated or has another version.
    """
    if not folder.exists():
        raise _no_folder(folder)
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise InvalidDataError(
            f"this is not a shard set: it has no {MANIFEST_FILE}",
            str(folder),
            "make a shard set with `aamprep shard`, then name its folder",
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
        f"a run was killed while replacing this shard set; the old set is intact, under the name {old.name}",
        str(folder),
        f"rename {old.name} to {folder.name}, or run any command on this shard set, which renames it for you",
    )


def parse_manifest(content: bytes, checksum: bytes, folder: str) -> Manifest:
    """Verify the checksum of a manifest and parse it.

    Parameters
    ----------
    content, checksum : bytes
        Contents of `manifest.json` and `manifest.sha256`.
    folder : str
        Folder or address of the shard set, for messages.

    Raises
    ------
    InvalidDataError
        If the manifest was changed, truncated or has another version.
    """
    expected = checksum.split()
    if not expected or expected[0] != hashlib.sha256(content).hexdigest().encode():
        raise InvalidDataError(
            f"{MANIFEST_FILE} and {CHECKSUM_FILE} do not agree: the set was changed or only partly copied",
            folder,
            "copy the whole folder again, or make the shards again with `aamprep shard`",
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
            f"this is not a valid manifest of format version {FORMAT_VERSION}: {error}",
            path,
            "make the shards again with `aamprep shard`",
        ) from error
