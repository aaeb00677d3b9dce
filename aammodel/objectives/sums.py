"""Sums of the objectives over the micro-batches of a step, and their means."""

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
    """Sums of all terms of the objectives, and their denominators.

    Each list has one tensor of shape (K,) per objective.
    """

    objectives: tuple[Objective, ...]
    weights: list[Tensor]
    """Weight of the mean of each term."""
    counts: list[Tensor]
    """Denominator of each term, over all ranks."""
    sums: list[Tensor]
    """Sums so far, on the CPU."""

    def loss(self, sums: list[Tensor]) -> Tensor:
        """Return the contribution of one micro-batch to the loss of the step. Shape ()."""
        parts = [
            (weight.to(total) * total / count.clamp_min(1)).sum()
            for weight, total, count in zip(self.weights, sums, self.counts, strict=True)
        ]
        # Not `sum`, which would begin with 0, and add a node to the graph.
        loss = parts[0]
        for part in parts[1:]:
            loss = loss + part
        return loss

    def add(self, sums: list[Tensor]) -> None:
        """Add the sums of one micro-batch."""
        for total, added in zip(self.sums, sums, strict=True):
            total += added.detach().to(total)

    def over(self, ranks: Ranks) -> "LossSums":
        """Return the sums over all ranks. All ranks must call this together."""
        return replace(self, sums=_over_ranks(self.sums, ranks))

    def numbers(self) -> list[float]:
        """Return all sums, to check whether they are finite."""
        return _flat(self.sums)

    def named(self, prefix: str = "") -> dict[str, float | None]:
        """Return the loss and the mean losses of each objective, by name in `metrics.jsonl`.

        A mean is None if its denominator is 0.

        Parameters
        ----------
        prefix : str
            Prefix of all names.
        """
        total = 0.0
        figures: dict[str, float | None] = {}
        for objective, weights, sums, counts in zip(
            self.objectives, self.weights, self.sums, self.counts, strict=True
        ):
            pairs = zip(sums.tolist(), counts.tolist(), strict=True)
            means = [mean_or_none(number, count) for number, count in pairs]
            weighted = zip(weights.tolist(), means, strict=True)
            total += sum(weight * (mean or 0.0) for weight, mean in weighted)
            figures |= objective.figures(means)
        return {f"{prefix}{name}": value for name, value in ({"loss": total} | figures).items()}


def empty_sums(
    objectives: tuple[Objective, ...], model: AamModel, batches: list[Batch], ranks: Ranks
) -> LossSums:
    """Return sums of 0, with the denominators of a step over all ranks.

    Parameters
    ----------
    objectives : tuple of Objective
    model : AamModel
    batches : list of Batch
        Micro-batches of this rank. All ranks must call this together.
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
        sums=[torch.zeros(len(objective.terms), dtype=objective.sum_dtype) for objective in objectives],
    )


def mean_or_none(total: float, count: float | int) -> float | None:
    """Divide a sum by its count. Return None if the count is 0."""
    return total / count if count else None


def _flat(tensors: list[Tensor]) -> list[float]:
    return list(chain.from_iterable(tensor.tolist() for tensor in tensors))


def _over_ranks(tensors: list[Tensor], ranks: Ranks) -> list[Tensor]:
    """Sum tensors over all ranks, in one exchange."""
    if ranks.size == 1:
        return tensors
    numbers = iter(ranks.sum(_flat(tensors)))
    return [tensor.new_tensor([next(numbers) for _ in range(len(tensor))]) for tensor in tensors]
