"""The folders that the contract describes, as kinds that may be replaced."""

import re
from pathlib import Path

from aam_schemas.common.folders import ARROW, JSON, NPY, PARQUET, FolderKind, read_json, read_start
from aam_schemas.manifest import CHECKSUM_FILE, MANIFEST_FILE
from aam_schemas.shards import DISTANCES_FILE, SPLITS

_BEGIN = re.compile(rb'\{\s*"choices": \{\s*"token_limit": \d+,')
"""First bytes of every manifest, whichever version wrote it."""
_CHECKSUM = re.compile(rb"[0-9a-f]{64}  manifest\.json\n")
_SPLIT = f"({'|'.join(SPLITS)})"


def _is_shard_set(folder: Path) -> bool:
    """Return whether a manifest is ours. If it is damaged, its beginning or its checksum file shows it."""
    manifest = read_json(folder / MANIFEST_FILE)
    if isinstance(manifest, dict):
        return _lists_all(manifest, folder)
    return bool(
        _BEGIN.match(_start(folder / MANIFEST_FILE)) or _CHECKSUM.fullmatch(_start(folder / CHECKSUM_FILE))
    )


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


def _start(path: Path) -> bytes:
    try:
        return read_start(path, 256)
    except OSError:
        return b""


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
