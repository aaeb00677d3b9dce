"""Random samples for tests of the model, as a compact batch or with explicit padding."""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aam_schemas import vocabulary
from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.data.masking import draw_encoded, draw_masks
from aammodel.nn.model import AamModel

Case = dict[str, object]
"""One cell of a test matrix: a value on each axis."""

LENGTH = 16
"""Tokens per ASV, L."""
TINY = {
    "sequence_length": LENGTH,
    "width": 16,
    "attention_heads": 2,
    "asv_layers": 2,
    "sample_layers": 2,
    "soft_branches": 24,
}

# In half precision, one rounding error is 2^-8 (bfloat16) or 2^-11 (float16), hence the factor of 8.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 2e-2 / 8}


@dataclass(frozen=True)
class Sample:
    """ASVs by number, and the reads of each."""

    asvs: tuple[int, ...]
    counts: tuple[float, ...]


def asv_tokens(asv: int, num_bases: int | None = None) -> np.ndarray:
    """Return the tokens of an ASV, START and 1 to 11 bases, which depend only on its number."""
    numbers = np.random.default_rng(asv)
    drawn = int(numbers.integers(1, 12))
    bases = numbers.integers(vocabulary.A, vocabulary.T + 1, num_bases or drawn)
    return np.concatenate([[vocabulary.START], bases]).astype(np.uint8)


def random_sample(seed: int, num_asvs: int, pool: int = 40) -> Sample:
    """Draw ASVs from a pool, and their counts."""
    numbers = np.random.default_rng(seed)
    asvs = numbers.choice(max(pool, num_asvs), num_asvs, replace=False)
    return Sample(tuple(asvs.tolist()), tuple(numbers.integers(1, 1000, num_asvs).astype(float).tolist()))


def some_samples(seed: int, number: int) -> list[Sample]:
    """Draw samples of 1 to 9 ASVs."""
    sizes = np.random.default_rng(seed).integers(1, 10, number)
    return [random_sample(seed * 1000 + row, int(size)) for row, size in enumerate(sizes)]


def compact(
    samples: Sequence[Sample],
    slots: int | None = None,
    length: int = LENGTH,
    seed: int = 3,
    step: int = 5,
    asv_encode_fraction: float = 1.0,
) -> Batch:
    """Return the batch that the loader would make, padded to the given numbers of slots and tokens."""
    asvs = sorted({asv for sample in samples for asv in sample.asvs})
    tokens = np.zeros((len(asvs), length), dtype=np.uint8)
    for row, asv in enumerate(asvs):
        own = asv_tokens(asv)
        tokens[row, : len(own)] = own
    num_slots = slots or max([len(sample.asvs) for sample in samples] + [1])
    slot = np.zeros((len(samples), num_slots), dtype=np.int64)
    count = np.zeros((len(samples), num_slots), dtype=np.float32)
    is_real = np.zeros((len(samples), num_slots), dtype=bool)
    for row, sample in enumerate(samples):
        here = slice(len(sample.asvs))
        slot[row, here] = [asvs.index(asv) for asv in sample.asvs]
        count[row, here] = sample.counts
        is_real[row, here] = True
    asv_row = np.array(asvs, dtype=np.int64)
    is_encoded = draw_encoded(asv_row, seed, step, asv_encode_fraction)
    arrays = (tokens, asv_row, is_encoded, slot, count, is_real, some_distances(len(samples))[None])
    masked, masked_token = draw_masks(tokens, asv_row, seed, step)
    drawn = (masked[is_encoded[masked[:, 0]]], masked_token[is_encoded[masked[:, 0]]])
    return Batch(
        tuple(f"sample-{row}" for row in range(len(samples))),
        *(torch.from_numpy(array) for array in (*arrays, *drawn, np.arange(len(samples)))),
        micro_batch_size=len(samples),
    )


def dense(samples: Sequence[Sample], slots: int | None = None, length: int = LENGTH) -> tuple[Tensor, Tensor]:
    """Return the samples with explicit padding: tokens [B, S, L] and counts [B, S]."""
    batch = compact(samples, slots, length)
    tokens = torch.zeros((*batch.slot.shape, length), dtype=torch.int64)
    tokens[batch.is_real] = batch.tokens[batch.slot[batch.is_real]].long()
    return tokens, batch.count


def some_distances(number: int) -> np.ndarray:
    """Draw a symmetric distance matrix with a zero diagonal."""
    half = np.triu(np.random.default_rng(0).random((number, number)), 1).astype(np.float32)
    return half + half.T


def awake(dtype: torch.dtype = torch.float32, **options: object) -> AamModel:
    """Return a tiny model in which no weight is zero, so that every part affects the output."""
    torch.manual_seed(1)
    model = AamModel(ModelConfig(**(TINY | options)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    # Only float64 tests need float64 weights. Half precision runs float32 weights under autocast.
    return model.to(torch.float64 if dtype == torch.float64 else torch.float32)


def gradients(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """Return the gradient of a value by every parameter, zero for parameters that do not affect it."""
    model.zero_grad(set_to_none=True)
    value.backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def assert_close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    """Assert that values differ by at most the tolerance times max(1, largest expected value)."""
    got, expected = got.detach(), expected.detach()
    assert got.shape == expected.shape
    assert got.isfinite().all()
    if got.numel():
        largest = max(1.0, float(expected.abs().max()))
        assert float((got.double() - expected.double()).abs().max()) <= tolerance * largest


def assert_gradients_close(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Assert that gradients differ by at most the tolerance times the norm of the whole gradient."""
    norm = float(torch.stack([gradient.double().norm() for gradient in expected.values()]).norm())
    for name, gradient in expected.items():
        assert got[name].isfinite().all(), name
        if not gradient.numel():
            continue
        difference = float((got[name].double() - gradient.double()).abs().max())
        assert difference <= tolerance * norm, f"{name}: {difference / norm}"


def weights_like(value: Tensor) -> Tensor:
    """Draw fixed random weights for a sum that depends on every element of a tensor."""
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())).to(value)


def all_of(*tensors: Tensor) -> Tensor:
    """Return a number that depends on every element of the tensors."""
    return torch.stack([(tensor * weights_like(tensor)).sum().double() for tensor in tensors]).sum()


def every(**axes: Sequence[object]) -> Iterator[Case]:
    """Yield every combination of the values on all axes."""
    names = list(axes)
    grids = np.meshgrid(*(np.arange(len(values)) for values in axes.values()), indexing="ij")
    for indices in np.stack([grid.ravel() for grid in grids], axis=1):
        yield {name: axes[name][index] for name, index in zip(names, indices, strict=True)}


def sampled(cases: Iterable[Case], number: int) -> list[object]:
    """Return all cells as parameters of a test. All but a random `number` of them are marked long."""
    cells = list(cases)
    chosen = set(random.Random(0).sample(range(len(cells)), number))
    return [
        pytest.param(
            cell,
            id="-".join(str(value).removeprefix("torch.") for value in cell.values()),
            marks=() if index in chosen else pytest.mark.long,
        )
        for index, cell in enumerate(cells)
    ]


def under(dtype: torch.dtype, device: str = "cpu") -> AbstractContextManager[object]:
    """Return an autocast context for half precision, and a null context for other types."""
    is_half = dtype in (torch.bfloat16, torch.float16)
    return torch.autocast(device, dtype) if is_half else nullcontext()
