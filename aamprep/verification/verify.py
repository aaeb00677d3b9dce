"""Verify a shard set: every byte is unchanged, and the content is consistent."""

from pathlib import Path

import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.manifest import (
    CHECKSUM_FILE,
    MANIFEST_FILE,
    Manifest,
    ShardFile,
    read_manifest,
)
from aam_schemas.shards import file_sha256, footer_sha256, open_parquet
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.verification.check import ShardCheck
from aamprep.verification.content import check_content


def verify_shards(folder: Path, findings: Findings) -> Manifest | None:
    """Check a shard set completely. Damage never raises an error, but is added to the findings.

    Parameters
    ----------
    folder : Path
    findings : Findings
        Problems are added here.

    Returns
    -------
    Manifest or None
        None if there is no valid manifest. Then no other file is checked.

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
    """Read and check a manifest, and compare it with manifest.sha256. Return None if it is invalid."""
    try:
        manifest = read_manifest(folder)
        expected = f"{file_sha256(folder / MANIFEST_FILE)}  {MANIFEST_FILE}\n"
        if (folder / CHECKSUM_FILE).read_bytes() != expected.encode():
            raise InvalidDataError(f"{CHECKSUM_FILE} was changed")
    except InvalidDataError as error:
        findings.add(rules.MANIFEST, error.where or str(folder / MANIFEST_FILE), error.what)
    except OSError as error:
        findings.add(rules.MANIFEST, str(folder / MANIFEST_FILE), error)
    else:
        return manifest
    return None


def check_files(folder: Path, manifest: Manifest, findings: Findings) -> set[str]:
    """Compare every file with its entry in the manifest, and report files that the manifest does not list.

    Returns
    -------
    set of str
        Names of the unchanged files.
    """
    intact = set()
    for file in manifest.files:
        problem = _problem(folder / file.name, file)
        if problem is None:
            intact.add(file.name)
        else:
            rule, value = problem
            findings.add(rule, str(folder / file.name), value)
    known = {file.name for file in manifest.files} | {MANIFEST_FILE, CHECKSUM_FILE}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            findings.add(rules.FILE_UNKNOWN, str(path))
    return intact


def _problem(path: Path, listed: ShardFile) -> tuple[Rule, str] | None:
    """Return the first difference between a file and its entry in the manifest, or None."""
    if not path.is_file():
        return rules.FILE_MISSING, ""
    try:
        size = path.stat().st_size
        if size != listed.bytes:
            return rules.FILE_CHANGED, f"{size:,} bytes; the manifest lists {listed.bytes:,}"
        if file_sha256(path) != listed.sha256:
            return rules.FILE_CHANGED, "its sha256 differs from the manifest"
        if path.suffix == ".parquet":
            return _footer_problem(path, listed)
    except OSError as error:
        return rules.FILE_MISSING, str(error)
    return None


def _footer_problem(path: Path, listed: ShardFile) -> tuple[Rule, str] | None:
    try:
        if footer_sha256(path) != listed.footer_sha256:
            return rules.FILE_CHANGED, "the sha256 of its footer differs from the manifest"
        with open_parquet(path) as file:
            rows = tuple(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
    except (ValueError, OSError, pa.ArrowException) as error:
        return rules.PAGES, str(error)
    if rows != listed.row_group_rows or sum(rows) != listed.rows:
        actual = f"{sum(rows):,} rows in {len(rows):,} row groups"
        expected = f"{listed.rows:,} rows in {len(listed.row_group_rows):,}"
        return rules.FILE_CHANGED, f"{actual}; the manifest lists {expected}"
    return None
