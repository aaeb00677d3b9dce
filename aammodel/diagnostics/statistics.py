"""Statistics of a tensor of any type and size, non-finite values included."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

_CHUNK = 1 << 22
"""Number of values that are converted to float64 at a time (32 MiB), which bounds the memory."""


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of a tensor. A statistic is None if it is undefined, as the mean of an empty tensor."""

    shape: tuple[int, ...]
    dtype: str
    smallest: float | int | None
    """Smallest finite value."""
    largest: float | int | None
    """Largest finite value."""
    mean: float | None
    """Mean of the finite values of a floating-point tensor. None for integers and booleans."""
    num_nan: int
    num_infinite: int
    fraction_finite: float | None
    """Fraction of the values that is finite. None for an empty tensor."""

    def __str__(self) -> str:
        """Return the statistics in one line."""
        size = "x".join(map(str, self.shape)) or "scalar"
        parts = [f"{self.dtype} {size}"]
        if self.smallest is None:
            parts.append("no finite value" if self.num_nan + self.num_infinite else "empty")
        else:
            parts.append(f"{self.smallest:.6g} to {self.largest:.6g}")
        if self.mean is not None:
            parts.append(f"mean {self.mean:.6g}")
        if self.num_nan + self.num_infinite:
            parts.append(f"{self.num_nan} NaN, {self.num_infinite} infinite")
        return ", ".join(parts)


def describe_together(parts: Sequence[TensorStatistics]) -> TensorStatistics:
    """Return the statistics of several tensors together, with the shape of the largest.

    Parameters
    ----------
    parts : sequence of TensorStatistics
        Statistics of at least one tensor.

    Returns
    -------
    TensorStatistics
    """
    sizes = [math.prod(part.shape) for part in parts]
    num_finite = [size - part.num_nan - part.num_infinite for part, size in zip(parts, sizes, strict=True)]
    size, total = sum(sizes), sum(num_finite)
    means = [
        part.mean * (number / total)
        for part, number in zip(parts, num_finite, strict=True)
        if part.mean is not None
    ]
    return TensorStatistics(
        shape=parts[sizes.index(max(sizes))].shape,
        dtype=parts[0].dtype,
        smallest=min((part.smallest for part in parts if part.smallest is not None), default=None),
        largest=max((part.largest for part in parts if part.largest is not None), default=None),
        mean=sum(means) if means else None,
        num_nan=sum(part.num_nan for part in parts),
        num_infinite=sum(part.num_infinite for part in parts),
        fraction_finite=total / size if size else None,
    )


def describe(tensor: Tensor) -> TensorStatistics:
    """Return the statistics of a tensor, computed in chunks and in float64.

    Parameters
    ----------
    tensor : Tensor
        A tensor of any shape and of any real type.

    Returns
    -------
    TensorStatistics
    """
    is_floating = tensor.is_floating_point()
    smallest: float | int | None = None
    largest: float | int | None = None
    size = tensor.numel()
    total, num_finite, num_nan = 0.0, 0, 0
    for chunk in tensor.detach().reshape(-1).split(_CHUNK):
        values = chunk.double() if is_floating else chunk.long()
        finite = values[values.isfinite()]
        num_nan += int(values.isnan().sum())
        num_finite += len(finite)
        if len(finite):
            low, high = finite.min().item(), finite.max().item()
            smallest, largest = (
                (low if smallest is None else min(low, smallest)),
                (high if largest is None else max(high, largest)),
            )
            # Values are divided before they are summed. The sum of large float64 values would overflow.
            total += float((finite.double() / size).sum())
    return TensorStatistics(
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        smallest=smallest,
        largest=largest,
        mean=total * (size / num_finite) if is_floating and num_finite else None,
        num_nan=num_nan,
        num_infinite=size - num_finite - num_nan,
        fraction_finite=num_finite / size if size else None,
    )
