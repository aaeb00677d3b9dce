"""Samples to try the model on, as a compact batch or with their padding really there."""

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
"""One cell of a matrix: a value on each axis."""

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

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 2e-2 / 8}


@dataclass(frozen=True)
class Sample:
    """ASVs by number, and how many reads each has."""

    asvs: tuple[int, ...]
    counts: tuple[float, ...]


def asv_tokens(asv: int, num_bases: int | None = None) -> np.ndarray:
    """Give the tokens of an ASV, which depend on its number alone: START and 1 to 11 bases."""
    numbers = np.random.default_rng(asv)
    drawn = int(numbers.integers(1, 12))
    bases = numbers.integers(vocabulary.A, vocabulary.T + 1, num_bases or drawn)
    return np.concatenate([[vocabulary.START], bases]).astype(np.uint8)


def random_sample(seed: int, num_asvs: int, pool: int = 40) -> Sample:
    """Draw ASVs of a pool and their counts."""
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
    """Make the batch that the loader would make, with as many padded slots and bases as asked for."""
    asvs = sorted({asv for sample in samples for asv in sample.asvs})
    tokens = np.zeros((len(asvs), length), dtype=np.uint8)
    for row, asv in enumerate(asvs):
        one = asv_tokens(asv)
        tokens[row, : len(one)] = one
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
    """Write out every slot of every sample: tokens [B, S, L] and counts [B, S]."""
    batch = compact(samples, slots, length)
    tokens = torch.zeros((*batch.slot.shape, length), dtype=torch.int64)
    tokens[batch.is_real] = batch.tokens[batch.slot[batch.is_real]].long()
    return tokens, batch.count


def some_distances(number: int) -> np.ndarray:
    """Draw symmetric distances."""
    half = np.triu(np.random.default_rng(0).random((number, number)), 1).astype(np.float32)
    return half + half.T


def awake(dtype: torch.dtype = torch.float32, **options: object) -> AamModel:
    """Make a tiny model in which no weight is zero, so that no part of it sleeps."""
    torch.manual_seed(1)
    model = AamModel(ModelConfig(**(TINY | options)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    # Float32 runs a float64 model's weights as they are and half precision by autocast.
    return model.to(torch.float64 if dtype == torch.float64 else torch.float32)


def gradients(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """Differentiate by every parameter; zero where one has no part in the value."""
    model.zero_grad(set_to_none=True)
    value.backward()
    return {
        name: torch.zeros_like(one) if one.grad is None else one.grad.clone()
        for name, one in model.named_parameters()
    }


def assert_close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    """Ask for the difference promised: within the tolerance times max(1, the largest value)."""
    got, expected = got.detach(), expected.detach()
    assert got.shape == expected.shape
    assert got.isfinite().all()
    if got.numel():
        largest = max(1.0, float(expected.abs().max()))
        assert float((got.double() - expected.double()).abs().max()) <= tolerance * largest


def assert_gradients_close(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Ask for the difference promised: within the tolerance times the norm of the whole gradient."""
    norm = float(torch.stack([one.double().norm() for one in expected.values()]).norm())
    for name, one in expected.items():
        assert got[name].isfinite().all(), name
        if not one.numel():
            continue
        difference = float((got[name].double() - one.double()).abs().max())
        assert difference <= tolerance * norm, f"{name}: {difference / norm}"


def weights_like(value: Tensor) -> Tensor:
    """Draw fixed weights, with which a tensor becomes one number that depends on all of it."""
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())).to(value)


def all_of(*tensors: Tensor) -> Tensor:
    """Make one number that depends on all elements."""
    return torch.stack([(one * weights_like(one)).sum().double() for one in tensors]).sum()


def every(**axes: Sequence[object]) -> Iterator[Case]:
    """Go through the product of all axes."""
    names = list(axes)
    grids = np.meshgrid(*(np.arange(len(values)) for values in axes.values()), indexing="ij")
    for places in np.stack([grid.ravel() for grid in grids], axis=1):
        yield {name: axes[name][place] for name, place in zip(names, places, strict=True)}


def sampled(cases: Iterable[Case], number: int) -> list[object]:
    """Make each cell a parameter, those that `make test` leaves to `make test-all` marked long."""
    cells = list(cases)
    chosen = set(random.Random(0).sample(range(len(cells)), number))
    return [
        pytest.param(
            cell,
            id="-".join(str(value).removeprefix("torch.") for value in cell.values()),
            marks=() if place in chosen else pytest.mark.long,
        )
        for place, cell in enumerate(cells)
    ]


def under(dtype: torch.dtype, device: str = "cpu") -> AbstractContextManager[object]:
    """Run in half precision by autocast, else as the weights are."""
    is_half = dtype in (torch.bfloat16, torch.float16)
    return torch.autocast(device, dtype) if is_half else nullcontext()
