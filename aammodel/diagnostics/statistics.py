"""Statistics of a tensor that are right for any tensor: the one function behind every error message."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

_CHUNK = 1 << 22


@dataclass(frozen=True)
class TensorStatistics:
    """What a tensor holds; None where the question has no answer (the mean of nothing, of whole numbers)."""

    shape: tuple[int, ...]
    dtype: str
    smallest: float | int | None
    """Smallest finite value."""
    largest: float | int | None
    """Largest finite value."""
    mean: float | None
    """Mean of the finite values of a floating-point tensor."""
    num_nan: int
    num_infinite: int
    share_finite: float | None

    def __str__(self) -> str:
        """One line."""
        size = "x".join(map(str, self.shape)) or "scalar"
        parts = [f"{self.dtype} {size}"]
        if self.smallest is None:
            parts.append("nothing finite" if self.num_nan + self.num_infinite else "empty")
        else:
            parts.append(f"{self.smallest:.6g} to {self.largest:.6g}")
        if self.mean is not None:
            parts.append(f"mean {self.mean:.6g}")
        if self.num_nan + self.num_infinite:
            parts.append(f"{self.num_nan} NaN, {self.num_infinite} infinite")
        return ", ".join(parts)


def describe_together(parts: Sequence[TensorStatistics]) -> TensorStatistics:
    """Describe several tensors, at least one, as if they were one, with the shape of the largest."""
    sizes = [math.prod(one.shape) for one in parts]
    num_finite = [size - one.num_nan - one.num_infinite for one, size in zip(parts, sizes, strict=True)]
    size, total = sum(sizes), sum(num_finite)
    means = [
        one.mean * (number / total)
        for one, number in zip(parts, num_finite, strict=True)
        if one.mean is not None
    ]
    return TensorStatistics(
        shape=parts[sizes.index(max(sizes))].shape,
        dtype=parts[0].dtype,
        smallest=min((one.smallest for one in parts if one.smallest is not None), default=None),
        largest=max((one.largest for one in parts if one.largest is not None), default=None),
        mean=sum(means) if means else None,
        num_nan=sum(one.num_nan for one in parts),
        num_infinite=sum(one.num_infinite for one in parts),
        share_finite=total / size if size else None,
    )


def describe(tensor: Tensor) -> TensorStatistics:
    """Describe a tensor of any type and size, in chunks, summing in float64; it never raises.

    Parameters
    ----------
    tensor : Tensor
        Of any real type; integers and booleans have no mean here.
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
            # Divided before the sum: a sum of the largest numbers of float64 would overflow.
            total += float((finite.double() / size).sum())
    return TensorStatistics(
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        smallest=smallest,
        largest=largest,
        mean=total * (size / num_finite) if is_floating and num_finite else None,
        num_nan=num_nan,
        num_infinite=size - num_finite - num_nan,
        share_finite=num_finite / size if size else None,
    )
