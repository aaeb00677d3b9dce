"""One step: losses of its micro-batches, the gradient of their exact means, and the update of the weights."""

from dataclasses import dataclass

import torch

from aammodel.batch import Batch
from aammodel.loss import distance_loss_sum, mean_or_none, nucleotide_loss_sum, num_masked_bases, num_pairs
from aammodel.model import AamModel
from aammodel.precision import Precision
from aammodel.train_config import TrainConfig


@dataclass
class Losses:
    """Sums of both losses, and what they are means over."""

    nucleotide: float = 0.0
    num_bases: int = 0
    distance: float = 0.0
    num_pairs: int = 0

    def named(self, config: TrainConfig, prefix: str = "") -> dict[str, float | None]:
        """Give the mean losses by name; None where there is nothing to be a mean of."""
        nucleotide = mean_or_none(self.nucleotide, self.num_bases)
        distance = mean_or_none(self.distance, self.num_pairs)
        total = config.nucleotide_weight * (nucleotide or 0.0) + config.unifrac_weight * (distance or 0.0)
        return {
            f"{prefix}loss": total,
            f"{prefix}nucleotide_loss": nucleotide,
            f"{prefix}unifrac_loss": distance,
        }


@dataclass(frozen=True)
class Stepper:
    """What takes a step: a model, its optimiser, and the precision in which it computes."""

    model: AamModel
    optimizer: torch.optim.Optimizer
    precision: Precision
    config: TrainConfig

    def backward(self, batches: list[Batch], rate: float) -> tuple[Losses, float]:
        """Compute losses, and the gradient of their means over all micro-batches (not a mean of means).

        Parameters
        ----------
        batches : list of Batch
            The micro-batches of the step.
        rate : float
            Learning rate of the update to come.

        Returns
        -------
        losses : Losses
        norm : float
            Of the gradient before it is clipped; not finite where float16 overflowed.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = Losses(num_bases=sum(map(num_masked_bases, batches)), num_pairs=sum(map(num_pairs, batches)))
        for batch in batches:
            nucleotide, distance = self._loss_sums(batch)
            loss = self.config.nucleotide_weight * nucleotide / max(total.num_bases, 1)
            loss = loss + self.config.unifrac_weight * distance / max(total.num_pairs, 1)
            self.precision.scaler.scale(loss).backward()
            total.nucleotide += nucleotide.item()
            total.distance += distance.item()
        self.precision.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        return total, norm.item()

    def update(self) -> None:
        """Change the weights, unless float16 overflowed; then scale less from here on."""
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()

    @torch.no_grad()
    def measure(self, batches: list[Batch]) -> Losses:
        """Compute losses alone, without dropout."""
        self.model.eval()
        total = Losses()
        for batch in (one.to(self.precision.device) for one in batches):
            nucleotide, distance = self._loss_sums(batch)
            total.nucleotide += nucleotide.item()
            total.distance += distance.item()
            total.num_bases += num_masked_bases(batch)
            total.num_pairs += num_pairs(batch)
        return total

    def _loss_sums(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with self.precision.autocast():
            output = self.model(batch)
        return nucleotide_loss_sum(output, batch), distance_loss_sum(output, batch)
