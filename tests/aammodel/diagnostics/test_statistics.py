"""Statistics are correct for tensors of any type, size and content."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aammodel.diagnostics.statistics import describe, describe_together

pytestmark = pytest.mark.usefixtures("one_thread")

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@settings(deadline=None)
@given(values=st.lists(st.floats(width=16)), dtype=st.sampled_from(FLOATS))
def test_statistics_of_floats_are_those_of_numpy(values: list[float], dtype: torch.dtype) -> None:
    tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
    got = describe(tensor)
    exact = tensor.double().numpy()
    finite = exact[np.isfinite(exact)]
    assert (got.num_nan, got.num_infinite) == (np.isnan(exact).sum(), np.isinf(exact).sum())
    assert got.fraction_finite == (len(finite) / len(exact) if len(exact) else None)
    assert got.smallest == (finite.min() if len(finite) else None)
    assert got.largest == (finite.max() if len(finite) else None)
    if len(finite):
        assert got.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-9)
    else:
        assert got.mean is None
    assert "\n" not in str(got)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64, torch.bool], ids=str)
def test_integers_have_no_mean(dtype: torch.dtype) -> None:
    got = describe(torch.tensor([[0, 1], [1, 1]], dtype=dtype))
    assert (got.smallest, got.largest, got.mean, got.fraction_finite) == (0, 1, None, 1.0)
    assert str(got) == f"{str(dtype).removeprefix('torch.')} 2x2, 0 to 1"


def test_sums_do_not_overflow() -> None:
    assert describe(torch.full((70_000,), 6e4, dtype=torch.float16)).mean == pytest.approx(6e4, rel=1e-3)
    assert describe(torch.full((9,), 1.5e308, dtype=torch.float64)).mean == pytest.approx(1.5e308)


def test_a_huge_tensor_in_parts() -> None:
    got = describe(torch.ones(1).expand(3 * (1 << 22) + 5))
    assert (got.mean, got.fraction_finite) == (pytest.approx(1.0), 1.0)


@pytest.mark.parametrize("tensor", [torch.zeros(0, 3), torch.full((2,), math.nan), torch.tensor(1.0)])
def test_awkward_tensors_have_a_line(tensor: Tensor) -> None:
    assert "\n" not in str(describe(tensor))


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_several_tensors_are_described_as_if_one(sizes: list[int], seed: int) -> None:
    numbers = np.random.default_rng(seed)
    parts = [torch.from_numpy(numbers.choice([math.nan, math.inf, -2.0, 0.5, 3.0], size)) for size in sizes]
    whole, got = describe(torch.cat(parts)), describe_together([describe(part) for part in parts])
    assert got.shape == (max(sizes),)
    assert (got.smallest, got.largest, got.num_nan) == (whole.smallest, whole.largest, whole.num_nan)
    assert (got.num_infinite, got.fraction_finite) == (whole.num_infinite, whole.fraction_finite)
    assert got.mean == (None if whole.mean is None else pytest.approx(whole.mean))
