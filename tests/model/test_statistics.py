"""Statistics are right for any tensor, and a planted fault is found where it was planted (P6)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from aammodel.finite import first_non_finite
from aammodel.statistics import describe
from tests.model.cases import awake, compact, some_samples

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@settings(deadline=None)
@given(values=st.lists(st.floats(width=16)), dtype=st.sampled_from(FLOATS))
def test_floats_are_those_of_numpy(values: list[float], dtype: torch.dtype) -> None:
    tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
    got = describe(tensor)
    exact = tensor.double().numpy()
    finite = exact[np.isfinite(exact)]
    assert (got.num_nan, got.num_infinite) == (np.isnan(exact).sum(), np.isinf(exact).sum())
    assert got.share_finite == (len(finite) / len(exact) if len(exact) else None)
    assert got.smallest == (finite.min() if len(finite) else None)
    assert got.largest == (finite.max() if len(finite) else None)
    if len(finite):
        assert got.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-9)
    else:
        assert got.mean is None
    assert "\n" not in str(got)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64, torch.bool], ids=str)
def test_whole_numbers_have_no_mean(dtype: torch.dtype) -> None:
    got = describe(torch.tensor([[0, 1], [1, 1]], dtype=dtype))
    assert (got.smallest, got.largest, got.mean, got.share_finite) == (0, 1, None, 1.0)
    assert str(got) == f"{str(dtype).removeprefix('torch.')} 2x2, 0 to 1"


def test_sums_do_not_overflow() -> None:
    assert describe(torch.full((70_000,), 6e4, dtype=torch.float16)).mean == pytest.approx(6e4, rel=1e-3)
    assert describe(torch.full((9,), 1.5e308, dtype=torch.float64)).mean == pytest.approx(1.5e308)


def test_a_huge_tensor_in_parts() -> None:
    got = describe(torch.ones(1).expand(3 * (1 << 22) + 5))
    assert (got.mean, got.share_finite) == (pytest.approx(1.0), 1.0)


@pytest.mark.parametrize("tensor", [torch.zeros(0, 3), torch.full((2,), math.nan), torch.tensor(1.0)])
def test_awkward_tensors_have_a_line(tensor: Tensor) -> None:
    assert "\n" not in str(describe(tensor))


PLANTED = [
    "asv_encoder.stem.token_embedding",
    "asv_encoder.transformer.blocks.1.attention_out",
    "asv_encoder.pooling.norm",
    "sample_encoder.transformer.blocks.0.expand",
    "nucleotide_head",
    "distance_heads.unweighted_unifrac.logits",
]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str, value: float) -> None:
    model = awake()
    batch = compact(some_samples(1, 3), slots=12)

    def plant(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        flat = output.detach().clone().flatten()
        flat[-1] = value
        return flat.view(output.shape)

    assert first_non_finite(model, batch) is None
    model.get_submodule(name).register_forward_hook(plant)
    told = first_non_finite(model, batch)
    assert told is not None
    assert told.startswith(f"{name} (")


def test_the_asvs_and_samples_concerned_are_named() -> None:
    model = awake()
    batch = compact(some_samples(1, 3), slots=12)
    with torch.no_grad():
        batch.count[1, 0] = math.inf
    assert "samples that it concerns: sample-1" in (first_non_finite(model, batch) or "")
