"""Frozen behaviour: what the programs did before files were moved, kept under `tests/assets`.

Each test computes its document, and compares it with the one that is kept. After a change on purpose,
rewrite the assets, and review their difference before you commit them:

    AAM_UPDATE_FROZEN=1 python -m pytest tests/contract -k frozen
"""

import json
import os
from typing import Any

from tests.helpers.paths import ASSETS

IS_UPDATE = os.environ.get("AAM_UPDATE_FROZEN") == "1"


def kept_text(name: str, found: str) -> str:
    """Return the text that is kept under a name; when assets are updated, keep `found` first."""
    path = ASSETS / name
    if IS_UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def kept(name: str, found: Any) -> Any:
    """Return the JSON document that is kept under a name; when assets are updated, keep `found` first."""
    return json.loads(kept_text(name, json.dumps(found, indent=1, ensure_ascii=False) + "\n"))
