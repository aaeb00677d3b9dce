"""The manifest of a shard set (`manifest.json`): its contents, inputs, choices and checksums."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.json_files import parse_json, read_bounded
from aam_schemas.common.publish import interrupted
from aam_schemas.common.records import record_from_json
from aam_schemas.common.text import shorten, truncate_list
from aam_schemas.shards import (
    ASVS_FILE,
    DISTANCES_FILE,
    FORMAT_VERSION,
    METADATA_FILE,
    REJECTED_FILE,
    SPLITS,
    TREE_FILE,
    samples_file,
)
from aam_schemas.vocabulary import NAMES

MANIFEST_FILE = "manifest.json"
CHECKSUM_FILE = "manifest.sha256"

MOST_BYTES = 32 << 20
"""Largest manifest that is read: about 300 GB of samples before compression."""

LARGEST_TOKEN_LIMIT = 2**31 - 1
"""Largest length of a list in a sample: Arrow lists have signed 32-bit offsets."""
LONGEST_SEQUENCE = 1 << 20
"""Largest number of tokens per ASV. Amplicons are far shorter than a megabase."""
MOST_ROWS = 2**32 - 1
"""Largest number of ASVs and of branches: samples refer to them by unsigned 32-bit row numbers."""
MOST_SAMPLES = 2**40
MOST_READS = 10**9
"""Largest depth: `Generator.multivariate_hypergeometric` of numpy needs fewer reads than this in a sample."""
MOST_FILE_BYTES = 2**50

SELECTIONS = ("abundance", "first", "random", "mixed")
"""Values of `Choices.select`. "mixed" is a merged set whose sets differ in it."""
MISSING_FROM_TREE = ("keep", "drop", "reject")
METADATA_TYPES = ("numeric", "categorical")
OTHER_FILES = (ASVS_FILE, TREE_FILE, METADATA_FILE, REJECTED_FILE, DISTANCES_FILE)
"""Files of a set that do not hold samples."""


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
    row_group_sha256: tuple[str, ...] = ()
    """SHA-256 of the bytes of each row group, from its first column chunk to the end of its last one. Empty
    for other formats, and in older sets."""


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
    split_ids: bool = False
    """Whether lists say which samples are in which split."""
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
    tokens_sha256: str = ""
    """SHA-256 of the tokens of the kept ASVs: one byte per token, ASV after ASV, padding included. Empty in
    older sets."""
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
        document = asdict(self)
        # A manifest of an older version lacks these fields. It must keep its hash, which runs refer to.
        # A set without lists of samples has the same bytes as before there were such lists.
        for values, name in [
            (document, "tokens_sha256"),
            (document["choices"], "split_ids"),
            *((f, "row_group_sha256") for f in document["files"]),
        ]:
            if not values[name]:
                del values[name]
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

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
        If the folder is not a shard set, or its manifest is invalid (see `parse_manifest`).
    """
    if not folder.exists():
        raise _no_folder(folder)
    path, checksum = folder / MANIFEST_FILE, folder / CHECKSUM_FILE
    if not path.exists():
        raise InvalidDataError(
            f"this is not a shard set: it has no {MANIFEST_FILE}",
            str(folder),
            "make a shard set with `aamprep shard`, then name its folder",
        )
    return parse_manifest(
        read_bounded(path, MOST_BYTES),
        read_bounded(checksum, 1024) if checksum.exists() else b"",
        str(folder),
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
    """Verify the checksum of a manifest, parse it, and check that its values are possible and agree.

    Parameters
    ----------
    content, checksum : bytes
        Contents of `manifest.json` and `manifest.sha256`.
    folder : str
        Folder or address of the shard set, for messages.

    Raises
    ------
    InvalidDataError
        If the manifest was changed, truncated or has another version, a field has a wrong type or an
        impossible value, or two fields contradict each other. The message names the file and the fields.
    """
    expected = checksum.split()
    if not expected or expected[0] != hashlib.sha256(content).hexdigest().encode():
        raise InvalidDataError(
            f"{MANIFEST_FILE} and {CHECKSUM_FILE} do not agree: the set was changed or only partly copied",
            folder,
            "copy the whole folder again, or make the shards again with `aamprep shard`",
        )
    path = f"{folder.rstrip('/')}/{MANIFEST_FILE}"
    manifest = _parse(parse_json(content, path), path)
    problems = find_problems(manifest)
    if problems:
        raise _invalid(truncate_list(problems, separator="; "), path)
    return manifest


def _parse(document: Any, path: str) -> Manifest:
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise InvalidDataError(
            f"format_version is {shorten(repr(version))}, but this program reads {FORMAT_VERSION}",
            path,
            "make the shards again, or install the version that wrote them",
        )
    try:
        return record_from_json(Manifest, document)
    except TypeError as error:
        raise _invalid(str(error), path) from error


def _invalid(problem: str, path: str) -> InvalidDataError:
    return InvalidDataError(
        f"this is not a valid manifest of format version {FORMAT_VERSION}: {problem}",
        path,
        "make the shards again with `aamprep shard`",
    )


def find_problems(manifest: Manifest) -> list[str]:
    """Return the impossible values of a manifest, and those that contradict each other.

    All readers rely on these bounds. Nothing is compared with the files here. Each problem names its field.
    """
    problems = [*_number_problems(manifest), *_choice_problems(manifest), *_file_problems(manifest)]
    return problems or list(_count_problems(manifest))


def _number_problems(manifest: Manifest) -> Iterator[str]:
    bounds = {
        "sequence_length": (2, LONGEST_SEQUENCE),
        "num_samples": (0, MOST_SAMPLES),
        "num_asvs": (0, MOST_ROWS),
        "num_kept_asvs": (0, manifest.num_asvs),
        "num_branches": (0, MOST_ROWS),
        "num_rejected_samples": (0, MOST_SAMPLES),
        "num_rejected_asvs": (0, MOST_SAMPLES),
    }
    for name, (least, most) in bounds.items():
        yield from _out_of_bounds(name, getattr(manifest, name), least, most)
    if not _is_sha256(manifest.tokens_sha256) and manifest.tokens_sha256:
        yield f"tokens_sha256 is not a SHA-256: {shorten(repr(manifest.tokens_sha256), 80)}"
    if manifest.vocabulary != NAMES:
        yield f"vocabulary is {shorten(repr(manifest.vocabulary))}, but this program has {NAMES!r}"
    for name, kind in manifest.metadata_types.items():
        if kind not in METADATA_TYPES or name == "sample_id":
            yield f"metadata_types has an unknown type: {shorten(repr(name), 80)}: {shorten(repr(kind), 80)}"
    for index, file in enumerate(manifest.inputs):
        yield from _out_of_bounds(f"inputs[{index}].bytes", file.bytes, 0, MOST_FILE_BYTES)


def _choice_problems(manifest: Manifest) -> Iterator[str]:
    choices = manifest.choices
    yield from _out_of_bounds("choices.token_limit", choices.token_limit, 1, LARGEST_TOKEN_LIMIT)
    if choices.rarefy_depth is not None:
        yield from _out_of_bounds("choices.rarefy_depth", choices.rarefy_depth, 1, MOST_READS)
    if choices.select not in SELECTIONS:
        yield f"choices.select is {shorten(repr(choices.select), 80)}, not one of {', '.join(SELECTIONS)}"
    if choices.missing_from_tree not in MISSING_FROM_TREE:
        value, known = shorten(repr(choices.missing_from_tree), 80), ", ".join(MISSING_FROM_TREE)
        yield f"choices.missing_from_tree is {value}, not one of {known}"
    if choices.split_ids and choices.split_by is not None:
        yield "choices.split_ids and choices.split_by exclude each other"
    for name, number in (("min_prevalence", choices.min_prevalence), ("min_reads", choices.min_reads)):
        if number < 0:
            yield f"choices.{name} is {number}, which is negative"


def _file_problems(manifest: Manifest) -> Iterator[str]:
    """Check each file by itself: name, split, rows, size and hashes."""
    expected = dict.fromkeys(OTHER_FILES, "")
    for split in SPLITS:
        files = manifest.sample_files(split)
        names = [samples_file(split, index, len(files)) for index in range(len(files))]
        expected |= dict.fromkeys(names, split)
        if [file.name for file in files] != names:
            yield f"files of split {split} must be named {truncate_list(names)}, in this order"
    seen: set[str] = set()
    for index, file in enumerate(manifest.files):
        where = f"files[{index}]"
        if file.name not in expected or expected[file.name] != file.split:
            name, split = shorten(repr(file.name), 80), shorten(repr(file.split), 80)
            yield f"{where} has the name {name} and the split {split}, which no file of a shard set has"
        elif file.name in seen:
            yield f"{where}.name is {file.name!r}, which is listed twice"
        seen.add(file.name)
        yield from _size_problems(where, file)
        yield from _hash_problems(where, file)


def _size_problems(where: str, file: ShardFile) -> Iterator[str]:
    yield from _out_of_bounds(f"{where}.bytes", file.bytes, 1, MOST_FILE_BYTES)
    # A sample file without a sample, or a row group without one, would be an empty unit of shuffling.
    least = 1 if file.split else 0
    yield from _out_of_bounds(f"{where}.rows", file.rows, least, MOST_SAMPLES)
    bad = [index for index, rows in enumerate(file.row_group_rows) if rows < least]
    for index in bad[:1]:
        yield f"{where}.row_group_rows[{index}] is {file.row_group_rows[index]}, which is less than {least}"
    if sum(file.row_group_rows) != file.rows:
        total = sum(file.row_group_rows)
        yield f"{where}.rows is {file.rows:,}, but the sum of {where}.row_group_rows is {total:,}"


def _hash_problems(where: str, file: ShardFile) -> Iterator[str]:
    is_parquet = file.name.endswith(".parquet")
    hashes = {"sha256": file.sha256} | ({"footer_sha256": file.footer_sha256} if is_parquet else {})
    hashes |= {f"row_group_sha256[{i}]": value for i, value in enumerate(file.row_group_sha256)}
    for name, value in hashes.items():
        if not _is_sha256(value):
            yield f"{where}.{name} is not a SHA-256: {shorten(repr(value), 80)}"
            break
    if file.row_group_sha256 and len(file.row_group_sha256) != len(file.row_group_rows):
        sizes = f"{len(file.row_group_sha256):,} hashes for {len(file.row_group_rows):,} row groups"
        yield f"{where}.row_group_sha256 has {sizes}"


def _count_problems(manifest: Manifest) -> Iterator[str]:
    """Compare the numbers of rows of the files with the numbers of samples, ASVs and branches."""
    rows = {file.name: file.rows for file in manifest.files}
    num_samples = sum(file.rows for file in manifest.files if file.split)
    expected = {
        ASVS_FILE: ("num_asvs", manifest.num_asvs, True),
        TREE_FILE: ("num_branches", manifest.num_branches, manifest.num_branches > 0),
        METADATA_FILE: ("num_samples", manifest.num_samples, len(manifest.metadata_types) > 0),
        REJECTED_FILE: (
            "num_rejected_samples + num_rejected_asvs",
            manifest.num_rejected_samples + manifest.num_rejected_asvs,
            manifest.num_rejected_samples + manifest.num_rejected_asvs > 0,
        ),
    }
    if num_samples != manifest.num_samples:
        yield f"num_samples is {manifest.num_samples:,}, but the sample files have {num_samples:,} rows"
    for name, (count, number, is_needed) in expected.items():
        if name not in rows:
            if is_needed:
                yield f"{name} is not listed in files" + (f", but {count} is {number:,}" if number else "")
        elif rows[name] != number or (name == TREE_FILE and not number):
            yield f"{count} is {number:,}, but {name} has {rows[name]:,} rows"
    for file in manifest.files:
        if file.name == DISTANCES_FILE:
            yield from _matrix_problems(file, num_samples)


def _matrix_problems(file: ShardFile, num_samples: int) -> Iterator[str]:
    """Check that a file can hold a square matrix of floating-point numbers of 2 to 16 bytes, and a header."""
    least, most = 2 * num_samples**2, 16 * num_samples**2 + (1 << 16)
    if file.rows or not least < file.bytes <= most:
        yield f"{file.name} has {file.bytes:,} bytes, which is no matrix of {num_samples:,} samples"


def _out_of_bounds(where: str, value: int, least: int, most: int) -> Iterator[str]:
    if not least <= value <= most:
        yield f"{where} is {value:,}, which is not between {least:,} and {most:,}"


def _is_sha256(value: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", value) is not None
