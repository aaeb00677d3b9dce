"""Where the tests find published studies, and how long lists are sampled."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.helpers.studies import Programs

RealData = Callable[[str], Path]

# `make test` tries the same examples every time, so that it is red for a reason; `make fuzz` tries new ones.
settings.register_profile("default", derandomize=True)
settings.register_profile("fuzz", max_examples=20_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on one thread, and put the number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Programs:
    """Run `aamprep` or `aammodel` as a user does, and see how it ends."""
    return Programs(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what is cached out of the user's home."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
