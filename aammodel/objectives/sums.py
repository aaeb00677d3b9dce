"""Sums of the objectives over the micro-batches of a step, and the means that they give."""

from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from aammodel.batch import Batch
from aammodel.distributed.ranks import Ranks
from aammodel.nn.model import AamModel
from aammodel.objectives.base import Objective


@dataclass(frozen=True)
class LossSums:
    """Sums of all terms of the objectives, and the numbers of things that they are sums over.

    The lists have one tensor of shape (K,) for each objective.
    """

    objectives: tuple[Objective, ...]
    weights: list[Tensor]
    """Weight of the mean of each term."""
    counts: list[Tensor]
    """Numbers of things summed over, of all ranks."""
    sums: list[Tensor]
    """Sums so far, on the CPU."""

    def loss(self, sums: list[Tensor]) -> Tensor:
        """Return what sums over one micro-batch add to the loss of the step, shape ()."""
        parts = [
            (weight.to(each) * each / count.clamp_min(1)).sum()
            for weight, each, count in zip(self.weights, sums, self.counts, strict=True)
        ]
        loss = parts[0]
        for part in parts[1:]:
            loss = loss + part
        return loss

    def add(self, sums: list[Tensor]) -> None:
        """Add the sums over one micro-batch."""
        for total, each in zip(self.sums, sums, strict=True):
            total += each.detach().to(total)

    def over(self, ranks: Ranks) -> "LossSums":
        """Return the sums over all ranks, which call this together."""
        return replace(self, sums=_over_ranks(self.sums, ranks))

    def numbers(self) -> list[float]:
        """Return every sum, to see whether all are finite."""
        return _flat(self.sums)

    def named(self, prefix: str = "") -> dict[str, float | None]:
        """Return the loss, and the mean losses of each objective, by their names in `metrics.jsonl`.

        A mean of nothing is None.

        Parameters
        ----------
        prefix : str
            Put before every name.
        """
        total = 0.0
        figures: dict[str, float | None] = {}
        for objective, weights, sums, counts in zip(
            self.objectives, self.weights, self.sums, self.counts, strict=True
        ):
            each = zip(sums.tolist(), counts.tolist(), strict=True)
            means = [mean_or_none(number, count) for number, count in each]
            weighted = zip(weights.tolist(), means, strict=True)
            total += sum(weight * (mean or 0.0) for weight, mean in weighted)
            figures |= objective.figures(means)
        return {f"{prefix}{name}": value for name, value in ({"loss": total} | figures).items()}


def empty_sums(
    objectives: tuple[Objective, ...], model: AamModel, batches: list[Batch], ranks: Ranks
) -> LossSums:
    """Return sums that are still 0, with the numbers of things, over all ranks, that they will be sums over.

    Parameters
    ----------
    objectives : tuple of Objective
    model : AamModel
    batches : list of Batch
        Those of this rank. All ranks call this together.
    ranks : Ranks
    """
    counts = [
        torch.stack([torch.atleast_1d(objective.denominator(batch)) for batch in batches]).sum(dim=0)
        for objective in objectives
    ]
    return LossSums(
        objectives=objectives,
        weights=[objective.weights(model).detach() for objective in objectives],
        counts=_over_ranks(counts, ranks),
        sums=[torch.zeros(len(each.terms), dtype=each.sum_dtype) for each in objectives],
    )


def mean_or_none(total: float, count: float | int) -> float | None:
    """Divide a sum by its count; the mean of nothing is None."""
    return total / count if count else None


def _flat(tensors: list[Tensor]) -> list[float]:
    return list(chain.from_iterable(each.tolist() for each in tensors))


def _over_ranks(tensors: list[Tensor], ranks: Ranks) -> list[Tensor]:
    """Add up tensors over all ranks, in one exchange."""
    if ranks.size == 1:
        return tensors
    numbers = iter(ranks.sum(_flat(tensors)))
    return [each.new_tensor([next(numbers) for _ in range(len(each))]) for each in tensors]
