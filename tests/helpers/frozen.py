"""Frozen behavior: earlier outputs of the programs, stored under `tests/assets`.

Each test computes a document and compares it with the stored one. After an intended change, regenerate the
assets and review their diff before you commit them:

    AAM_UPDATE_FROZEN=1 python -m pytest tests/contract -k frozen
"""

import json
import os
from typing import Any

from tests.helpers.paths import ASSETS

IS_UPDATE = os.environ.get("AAM_UPDATE_FROZEN") == "1"


def kept_text(name: str, found: str) -> str:
    """Return the text stored under a name. If assets are updated, store `found` first."""
    path = ASSETS / name
    if IS_UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def kept(name: str, found: Any) -> Any:
    """Return the JSON document stored under a name. If assets are updated, store `found` first."""
    return json.loads(kept_text(name, json.dumps(found, indent=1, ensure_ascii=False) + "\n"))
