"""Where the tests find published studies, and how long lists are sampled."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

RealData = Callable[[str], Path]


@pytest.fixture(scope="session")
def real_data() -> RealData:
    """Give the path of a published file or folder; skip the test where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("AAM_REAL_DATA", beside))

    def path_of(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"no published data at {root / name}: set AAM_REAL_DATA to its folder")
        return root / name

    return path_of
