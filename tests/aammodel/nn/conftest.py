"""One thread for tiny tensors: two wait for each other longer than they compute."""

import shutil
from collections.abc import Iterator

import pytest
from jaxtyping import config


@pytest.fixture(autouse=True, scope="module")
def tiny_tensors(one_thread: None) -> None:
    """Compute on one thread."""


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """Take the checks of shapes away, which only tests have, and which torch cannot compile."""
    if not shutil.which("g++"):
        pytest.skip("torch compiles with g++, and there is none")
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
