"""Errors of a system that has no more to give: named for what they are."""

import errno
import os

import pytest

from aam_schemas.common.errors import exhausted_limit


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: ..."),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_an_exhausted_limit_is_wrong_usage(error: Exception) -> None:
    found = exhausted_limit(error)
    assert found is not None
    assert found.exit_code == 2
    assert found.fix


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), ValueError("out of memory"), KeyError("x")])
def test_other_errors_are_no_limit(error: Exception) -> None:
    assert exhausted_limit(error) is None
