"""Verifying a shard set: that every byte is the one that was written, and that what it says is true."""

from dataclasses import fields
from pathlib import Path

import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.manifest import (
    CHECKSUM_FILE,
    LARGEST_TOKEN_LIMIT,
    MANIFEST_FILE,
    Manifest,
    ShardFile,
    read_manifest,
)
from aam_schemas.shards import SPLITS, file_sha256, footer_sha256, open_parquet, samples_file
from aam_schemas.vocabulary import NAMES
from aamprep.prepare.rarefy import MOST_READS
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.verification.check import ShardCheck
from aamprep.verification.content import check_content

LONGEST_SEQUENCE = 1 << 20
"""Tokens per ASV that a manifest may declare: no amplicon is near a megabase."""


def verify_shards(folder: Path, findings: Findings) -> Manifest | None:
    """Check everything about a shard set; bad data never raises, but becomes findings.

    Parameters
    ----------
    folder : Path
    findings : Findings
        Takes what is wrong.

    Returns
    -------
    Manifest or None
        None where there is no sound manifest, so that nothing else could be checked.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    manifest = check_manifest(folder, findings)
    if manifest is not None:
        check_content(ShardCheck(folder, manifest, findings, check_files(folder, manifest, findings)))
    return manifest


def check_manifest(folder: Path, findings: Findings) -> Manifest | None:
    """Read a manifest, and check that it is sound and that manifest.sha256 is what its writer wrote."""
    try:
        manifest = read_manifest(folder)
        expected = f"{file_sha256(folder / MANIFEST_FILE)}  {MANIFEST_FILE}\n"
        if (folder / CHECKSUM_FILE).read_bytes() != expected.encode():
            raise InvalidDataError(f"{CHECKSUM_FILE} was changed")
        unsound = _unsound(manifest)
    except (InvalidDataError, OSError) as error:
        findings.add(
            rules.MANIFEST, str(folder), error.what if isinstance(error, InvalidDataError) else error
        )
        return None
    for problem in unsound:
        findings.add(rules.MANIFEST, str(folder / MANIFEST_FILE), problem)
    return None if unsound else manifest


def check_files(folder: Path, manifest: Manifest, findings: Findings) -> set[str]:
    """Check that every file is the one that the manifest lists, and that there is no other.

    Returns
    -------
    set of str
        Names of the files that are.
    """
    whole = set()
    for file in manifest.files:
        problem = _problem(folder / file.name, file)
        if problem is None:
            whole.add(file.name)
        else:
            rule, value = problem
            findings.add(rule, str(folder / file.name), value)
    known = {file.name for file in manifest.files} | {MANIFEST_FILE, CHECKSUM_FILE}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            findings.add(rules.FILE_UNKNOWN, str(path))
    return whole


def _problem(path: Path, listed: ShardFile) -> tuple[Rule, str] | None:
    """Find the first difference between a file and what the manifest lists."""
    if not path.is_file():
        return rules.FILE_MISSING, ""
    try:
        size = path.stat().st_size
        if size != listed.bytes:
            return rules.FILE_CHANGED, f"{size:,} bytes; the manifest lists {listed.bytes:,}"
        if file_sha256(path) != listed.sha256:
            return rules.FILE_CHANGED, "its sha256 is another"
        if path.suffix == ".parquet":
            return _footer_problem(path, listed)
    except OSError as error:
        return rules.FILE_MISSING, str(error)
    return None


def _footer_problem(path: Path, listed: ShardFile) -> tuple[Rule, str] | None:
    try:
        if footer_sha256(path) != listed.footer_sha256:
            return rules.FILE_CHANGED, "the sha256 of its footer is another"
        with open_parquet(path) as file:
            rows = tuple(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
    except (ValueError, OSError, pa.ArrowException) as error:
        return rules.PAGES, str(error)
    if rows != listed.row_group_rows or sum(rows) != listed.rows:
        return rules.FILE_CHANGED, f"{sum(rows):,} rows in {len(rows):,} groups; the manifest lists others"
    return None


def _unsound(manifest: Manifest) -> list[str]:
    """Find what is out of bounds in a manifest, before anything relies on it."""
    problems = []
    numbers = {
        one.name: getattr(manifest, one.name) for one in fields(manifest) if one.name.startswith("num_")
    }
    for file in manifest.files:
        if Path(file.name).name != file.name:
            problems.append(f"a file called {file.name!r}")
        numbers |= {f"rows of {file.name}": file.rows, f"bytes of {file.name}": file.bytes}
    problems += [f"{name}: {value!r}" for name, value in numbers.items() if value < 0]
    limit, length = manifest.choices.token_limit, manifest.sequence_length
    if not 1 <= limit <= LARGEST_TOKEN_LIMIT:
        problems.append(f"token_limit: {limit!r}")
    depth = manifest.choices.rarefy_depth
    if depth is not None and not 1 <= depth <= MOST_READS:
        problems.append(f"rarefy_depth: {depth!r}")
    if not 2 <= length <= LONGEST_SEQUENCE:
        problems.append(f"sequence_length: {length!r}")
    if manifest.vocabulary != NAMES:
        problems.append(f"vocabulary: {manifest.vocabulary!r}")
    return problems + _wrongly_named(manifest)


def _wrongly_named(manifest: Manifest) -> list[str]:
    names = [file.name for file in manifest.files]
    problems = [f"{name} is listed twice" for name in sorted({str(n) for n in names if names.count(n) > 1})]
    for split in SPLITS:
        files = manifest.sample_files(split)
        expected = [samples_file(split, index, len(files)) for index in range(len(files))]
        if [file.name for file in files] != expected:
            problems.append(f"the files of {split} are not called {', '.join(expected)}")
    others = {str(file.split) for file in manifest.files} - {*SPLITS, ""}
    return problems + [f"a split called {name!r}" for name in sorted(others)]
