"""One step: losses of its micro-batches, the gradient of their exact means, and the update of the weights."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aammodel.batch import Batch
from aammodel.config.train import TrainConfig
from aammodel.data.hashing import hash64
from aammodel.distributed.fsdp import clip_gradients
from aammodel.distributed.ranks import ALONE, Ranks
from aammodel.nn.model import AamModel
from aammodel.objectives.losses import distance_loss_sum, nucleotide_loss_sum, num_masked_bases, num_pairs
from aammodel.objectives.sums import Losses, Weights
from aammodel.training.precision import Precision


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


def _nothing_of(batches: list[Batch], ranks: Ranks) -> Losses:
    """Count what the losses of some batches are means over, on all ranks; their sums are still 0."""
    bases = sum(map(num_masked_bases, batches))
    pairs = torch.stack([num_pairs(batch) for batch in batches]).sum(dim=0)
    if ranks.size > 1:
        bases, *by_target = map(int, ranks.sum([bases, *pairs.tolist()]))
        pairs = pairs.new_tensor(by_target)
    return Losses(bases, pairs, torch.zeros_like(pairs, dtype=torch.float32))
