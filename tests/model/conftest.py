"""One thread for tiny tensors: two wait for each other longer than they compute."""

import shutil
from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Compute on one thread, and put the number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """Take the checks of shapes away, which only tests have, and which torch cannot compile."""
    if not shutil.which("g++"):
        pytest.skip("torch compiles with g++, and there is none")
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
