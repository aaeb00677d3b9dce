"""The folders that the contract describes, as kinds that may be replaced."""

import re
from pathlib import Path

from aam_schemas.common.folders import ARROW, JSON, NPY, PARQUET, FolderKind, begins_like, json_or_none
from aam_schemas.manifest import CHECKSUM_FILE, MANIFEST_FILE
from aam_schemas.shards import DISTANCES_FILE, SPLITS

_BEGIN = re.compile(rb'\{\s*"choices": \{\s*"token_limit": \d+,')
"""First bytes of every manifest, whichever version wrote it."""
_CHECKSUM = re.compile(rb"[0-9a-f]{64}  manifest\.json\n$")
_SPLIT = f"({'|'.join(SPLITS)})"


def _is_shard_set(folder: Path) -> bool:
    """Return whether a manifest is ours. If it is damaged, its beginning or its checksum file shows it."""
    manifest = json_or_none(folder / MANIFEST_FILE)
    if isinstance(manifest, dict):
        return _lists_all(manifest, folder)
    return begins_like(folder / MANIFEST_FILE, _BEGIN) or begins_like(folder / CHECKSUM_FILE, _CHECKSUM)


def _lists_all(manifest: dict[str, object], folder: Path) -> bool:
    """Return whether a manifest has our keys, and lists every file of the folder."""
    choices, files = manifest.get("choices"), manifest.get("files")
    if not isinstance(choices, dict) or not isinstance(files, list) or "format_version" not in manifest:
        return False
    listed = {file.get("name") for file in files if isinstance(file, dict)}
    return "token_limit" in choices and {path.name for path in folder.iterdir()} <= {
        *filter(lambda name: isinstance(name, str), listed),
        MANIFEST_FILE,
        CHECKSUM_FILE,
    }


SHARD_SET = FolderKind(
    noun="a shard set",
    is_ours=_is_shard_set,
    entries={
        rf"samples-{_SPLIT}-\d{{5}}-of-\d{{5}}\.parquet": PARQUET,
        r"(asvs|tree|metadata|rejected)\.parquet": PARQUET,
        re.escape(DISTANCES_FILE): NPY,
        re.escape(MANIFEST_FILE): JSON,
        re.escape(CHECKSUM_FILE): b"",
    },
    unfinished={rf"{_SPLIT}-\d{{5}}\.part": PARQUET, r"prepared\.arrow": ARROW},
)
