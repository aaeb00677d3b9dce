"""Fixtures that all tests share, and the settings of Hypothesis."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.helpers.paths import STUDIES, RealData
from tests.helpers.studies import Programs

# `make test` tries the same examples every time, so a failure can be repeated. `make fuzz` draws new ones,
# and repeats each test until its part of the time is over.
# There are no deadlines, since any example can be slow on a busy machine.
settings.register_profile("default", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=100, derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))


def draws(item: pytest.Item) -> bool:
    """Return whether a test draws examples by Hypothesis."""
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run a test again and again during its part of `FUZZ_SECONDS`."""
    start = time.monotonic()
    yield
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    seconds = FUZZ_SECONDS * workers / max(1, sum(map(draws, item.session.items)))
    while draws(item) and time.monotonic() < start + seconds:
        item.runtest()


@pytest.fixture(scope="session")
def real_data() -> RealData:
    """Return a function that finds a published file or folder, and skips the test if it is missing."""

    def path_of(name: str) -> Path:
        if not (STUDIES / name).exists():
            pytest.skip(f"no published data at {STUDIES / name}: set AAM_REAL_DATA to its folder")
        return STUDIES / name

    return path_of


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute with one thread of torch during the tests of a module."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Programs:
    """Return a function that runs `aamprep` or `aammodel` as a user does."""
    return Programs(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep cached files out of the user's home folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
