"""Sums of losses over the micro-batches of a step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from aammodel.distributed.ranks import Ranks
from aammodel.objectives.losses import (
    mean_or_none,
)


@dataclass(frozen=True)
class Weights:
    """What each mean loss counts in the loss."""

    nucleotide: float
    distance: Float[Tensor, " T"]


@dataclass
class Losses:
    """Sums of the losses, and what they are means over."""

    num_bases: int
    num_pairs: Int[Tensor, " T"]
    distance: Float[Tensor, " T"]
    """Squared errors by target."""
    nucleotide: float = 0.0

    def add(self, nucleotide: Float[Tensor, ""], distance: Float[Tensor, " T"]) -> None:
        """Add what one batch has."""
        self.nucleotide += nucleotide.item()
        self.distance += distance.detach()

    def over(self, ranks: Ranks) -> "Losses":
        """Add up the sums of all ranks."""
        if ranks.size == 1:
            return self
        nucleotide, *distance = ranks.sum(self.numbers())
        return replace(self, nucleotide=nucleotide, distance=self.distance.new_tensor(distance))

    def numbers(self) -> list[float]:
        """Give every sum, to be looked at for what is not finite."""
        return [self.nucleotide, *self.distance.tolist()]

    def named(
        self, weights: Weights, targets: Mapping[str, float], prefix: str = ""
    ) -> dict[str, float | None]:
        """Give the mean losses by name; None where there is nothing to be a mean of.

        `unifrac_loss` is the mean squared error over all targets by their weights, whatever they are called.
        """
        sums = zip(self.distance.tolist(), self.num_pairs.tolist(), strict=True)
        distances = [mean_or_none(one, number) for one, number in sums]
        nucleotide = mean_or_none(self.nucleotide, self.num_bases)
        weighted = zip(weights.distance.tolist(), distances, strict=True)
        total = weights.nucleotide * (nucleotide or 0.0) + sum(w * (one or 0.0) for w, one in weighted)
        named = {"loss": total, "nucleotide_loss": nucleotide, "unifrac_loss": _mean_of(distances, targets)}
        named |= {f"{name}_loss": one for name, one in zip(targets, distances, strict=True)}
        return {f"{prefix}{name}": value for name, value in named.items()}


def _mean_of(losses: list[float | None], targets: Mapping[str, float]) -> float | None:
    known = [(one, w) for one, w in zip(losses, targets.values(), strict=True) if one is not None]
    return sum(one * w for one, w in known) / sum(w for _, w in known) if known else None
