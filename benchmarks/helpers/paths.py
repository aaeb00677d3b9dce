"""Folders that benchmarks read from, and the scripts that they start."""

import os
from pathlib import Path

HELPERS = Path(__file__).resolve().parent
ROOT = HELPERS.parents[1]
STUDIES_FOLDER = Path(os.environ.get("AAM_REAL_DATA", ROOT.parent / "shared" / "data"))
"""Where published studies are."""
