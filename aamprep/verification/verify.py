"""Verify a shard set: every byte is unchanged, and the content is consistent."""

import hashlib
import os
from pathlib import Path

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import open_regular
from aam_schemas.footer import ColumnsError
from aam_schemas.manifest import (
    CHECKSUM_FILE,
    MANIFEST_FILE,
    Manifest,
    ShardFile,
    read_manifest,
)
from aam_schemas.shards import file_sha256
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.shards.stored import open_listed
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
        problem = _problem(folder, manifest, file)
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


def _problem(folder: Path, manifest: Manifest, listed: ShardFile) -> tuple[Rule, str] | None:
    """Return the first difference between a file and its entry in the manifest, or None."""
    path = folder / listed.name
    try:
        # Its size comes first: a sparse file of terabytes would take hours to hash.
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != listed.bytes:
                return rules.FILE_CHANGED, f"{size:,} bytes; the manifest lists {listed.bytes:,}"
            if hashlib.file_digest(file, "sha256").hexdigest() != listed.sha256:
                return rules.FILE_CHANGED, "its sha256 differs from the manifest"
        if path.suffix == ".parquet":
            open_listed(folder, manifest, listed.name).close()
    except ColumnsError as error:
        return rules.COLUMNS, error.what
    except InvalidDataError as error:
        is_missing = not path.exists()
        return rules.FILE_MISSING if is_missing else rules.FILE_CHANGED, "" if is_missing else error.what
    except OSError as error:
        return rules.FILE_MISSING, str(error)
    return None
