"""Names of temporary files and folders beside a target, which prove that one of our writers made them.

Half of the ID in such a name is random, and half is a checksum of the name. So whatever else somebody places
beside a target is neither removed nor renamed, even if its name has the same form.
"""

import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import Literal

Stage = Literal["tmp", "old"]
"""tmp: unfinished, or replaced. old: the whole old folder, while the new one is renamed to its place."""

_NAME = re.compile(
    r"\.(?P<target>.+)\.(?P<stage>tmp|old)-(?P<host>[A-Za-z0-9]*)-(?P<id>[0-9a-f]{16})", re.DOTALL
)
_HALF = 8


def name_beside(target: Path, stage: Stage) -> Path:
    """Return a new name for a temporary file or folder beside a target."""
    # The host is part of the name because a lock held on another host may be invisible here.
    start = f".{target.name}.{stage}-{host()}-{uuid.uuid4().hex[:_HALF]}"
    return target.with_name(start + _checksum(start))


def target_of(name: str) -> str | None:
    """Return the name of the target beside which a writer of ours made this name. None if none did."""
    match = _NAME.fullmatch(name)
    is_ours = match is not None and name[-_HALF:] == _checksum(name[:-_HALF])
    return match["target"] if match and is_ours else None


def names_beside(target: Path, stage: Stage) -> list[Path]:
    """List the temporary files and folders of a stage that writers of ours made beside a target."""
    if not target.parent.is_dir():
        return []
    prefix = f".{target.name}.{stage}-"
    found = [name for name in os.listdir(target.parent) if name.startswith(prefix)]
    return [target.with_name(name) for name in sorted(found) if target_of(name) == target.name]


def is_of_this_host(path: Path) -> bool:
    """Return whether a temporary file or folder was made on this host."""
    match = _NAME.fullmatch(path.name)
    return match is not None and match["host"] == host()


def host() -> str:
    """Return the name of this host, without characters that separate the parts of a name."""
    return re.sub(r"[^A-Za-z0-9]", "", os.uname().nodename)


def _checksum(start: str) -> str:
    return hashlib.sha256(f"aam {start}".encode(errors="surrogateescape")).hexdigest()[:_HALF]
