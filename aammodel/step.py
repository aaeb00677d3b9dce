"""One step: losses of its micro-batches, the gradient of their exact means, and the update of the weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aammodel.batch import Batch
from aammodel.hashing import hash64
from aammodel.loss import distance_loss_sum, mean_or_none, nucleotide_loss_sum, num_masked_bases, num_pairs
from aammodel.model import AamModel
from aammodel.precision import Precision
from aammodel.ranks import ALONE, Ranks
from aammodel.sharding import clip_gradients
from aammodel.train_config import TrainConfig


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


@dataclass(frozen=True)
class Stepper:
    """What takes a step: a model, its optimiser, and the precision in which it computes."""

    model: AamModel
    optimizer: torch.optim.Optimizer
    precision: Precision
    config: TrainConfig
    ranks: Ranks = ALONE

    def backward(self, batches: list[Batch]) -> tuple[Losses, float]:
        """Compute losses, and the gradient of their means over all micro-batches (not a mean of means).

        Parameters
        ----------
        batches : list of Batch
            The micro-batches of the step.

        Returns
        -------
        losses : Losses
            Of all ranks.
        norm : float
            Of the gradient before it is clipped; not finite where float16 overflowed.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total, weights = _nothing_of(batches, self.ranks), self.weights()
        for batch in batches:
            nucleotide, distance = self._loss_sums(batch)
            loss = weights.nucleotide * nucleotide / max(total.num_bases, 1)
            loss = loss + (weights.distance * distance / total.num_pairs.clamp_min(1)).sum()
            self.precision.scaler.scale(loss).backward()
            total.add(nucleotide, distance)
        self.ranks.add_gradients(self.model.parameters())
        self.precision.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.model, self.config.clip_norm)
        return total.over(self.ranks), norm.item()

    def update(self, rate: float) -> None:
        """Change the weights at a learning rate, unless float16 overflowed; then scale less from here on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()

    @torch.no_grad()
    def measure(self, batches: list[Batch]) -> Losses:
        """Compute losses alone, without dropout."""
        self.model.eval()
        batches = [one.to(self.precision.device) for one in batches]
        total = _nothing_of(batches, self.ranks)
        for batch in batches:
            total.add(*self._loss_sums(batch))
        return total.over(self.ranks)

    def weights(self) -> Weights:
        """Give what each mean loss counts: squared errors in units of the spread of true distances."""
        by_target = torch.tensor(list(self.config.targets.values()), device=self.precision.device)
        share = self.config.distance_weight * by_target / by_target.sum()
        return Weights(self.config.nucleotide_weight, share / self.model.spread**2)

    def _loss_sums(self, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, " T"]]:
        with self.precision.autocast():
            output = self.model(batch, self.ranks)
        return nucleotide_loss_sum(output, batch), distance_loss_sum(output, batch)


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed all that is drawn in a step: it follows from the run's seed, the step and the rank alone."""
    torch.manual_seed(int(hash64(seed, step, values=np.array([rank]))[0]) % 2**63)


def _mean_of(losses: list[float | None], targets: Mapping[str, float]) -> float | None:
    known = [(one, w) for one, w in zip(losses, targets.values(), strict=True) if one is not None]
    return sum(one * w for one, w in known) / sum(w for _, w in known) if known else None


def _nothing_of(batches: list[Batch], ranks: Ranks) -> Losses:
    """Count what the losses of some batches are means over, on all ranks; their sums are still 0."""
    bases = sum(map(num_masked_bases, batches))
    pairs = torch.stack([num_pairs(batch) for batch in batches]).sum(dim=0)
    if ranks.size > 1:
        bases, *by_target = map(int, ranks.sum([bases, *pairs.tolist()]))
        pairs = pairs.new_tensor(by_target)
    return Losses(bases, pairs, torch.zeros_like(pairs, dtype=torch.float32))
