"""Folders of the checkout, and the folder of published studies."""

import os
from collections.abc import Callable
from pathlib import Path

RealData = Callable[[str], Path]
"""The fixture `real_data`: maps the name of a published file or folder to its path."""

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "tests" / "assets"
STUDIES = Path(os.environ.get("AAM_REAL_DATA", ROOT.parent / "shared" / "data"))
"""Where published studies are; tests that need them are skipped if the folder is missing."""
PYTHONPATH = os.pathsep.join([str(ROOT), str(ROOT / "schemas")])
"""`PYTHONPATH` with which a new interpreter imports our packages from this checkout."""
