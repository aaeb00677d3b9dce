"""One step: the losses of its micro-batches, the gradient of their means, and the update of the weights."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aammodel.batch import Batch
from aammodel.config.train import TrainConfig
from aammodel.data.hashing import hash64
from aammodel.distributed.fsdp import clip_gradients
from aammodel.distributed.ranks import ALONE, Ranks
from aammodel.nn.model import AamModel
from aammodel.objectives.base import ForwardPass, Objective
from aammodel.objectives.sums import LossSums, empty_sums
from aammodel.training.precision import Precision


@dataclass(frozen=True)
class Stepper:
    """A model, its optimizer, its precision, and the objectives whose weighted sum is minimized."""

    model: AamModel
    optimizer: torch.optim.Optimizer
    precision: Precision
    config: TrainConfig
    objectives: tuple[Objective, ...]
    ranks: Ranks = ALONE

    def backward(self, batches: list[Batch]) -> tuple[LossSums, float]:
        """Compute the losses of a step, and the gradient of their means over all micro-batches.

        Each mean is over all bases or pairs of the step. It is not a mean of the means of the micro-batches.

        Parameters
        ----------
        batches : list of Batch
            The micro-batches of the step.

        Returns
        -------
        losses : LossSums
            Losses of all ranks.
        norm : float
            Norm of the gradient before clipping. It is non-finite if float16 overflowed.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        # The number of terms of each mean is counted first. So each micro-batch can be divided by it at once,
        # and its activations are freed before the next micro-batch.
        total = empty_sums(self.objectives, self.model, batches, self.ranks)
        for batch in batches:
            sums = self._sums(batch)
            self.precision.scaler.scale(total.loss(sums)).backward()
            total.add(sums)
        self.ranks.add_gradients(self.model.parameters())
        # Clipping compares the norm of the true gradient, without the loss scale of float16.
        self.precision.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.model, self.config.clip_norm)
        return total.over(self.ranks), norm.item()

    def update(self, rate: float) -> None:
        """Update the weights with a learning rate.

        If float16 overflowed, the weights stay as they are, and the scale of the loss is halved.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()

    @torch.no_grad()
    def measure(self, batches: list[Batch]) -> LossSums:
        """Return the losses of some batches, without dropout and gradients."""
        self.model.eval()
        batches = [batch.to(self.precision.device) for batch in batches]
        total = empty_sums(self.objectives, self.model, batches, self.ranks)
        for batch in batches:
            total.add(self._sums(batch))
        return total.over(self.ranks)

    def _sums(self, batch: Batch) -> list[Tensor]:
        with self.precision.autocast():
            forward = ForwardPass(self.model, batch, self.model(batch), self.ranks)
            return [torch.atleast_1d(objective.loss_sum(forward)) for objective in self.objectives]


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch's random numbers of a step, which depend on the run's seed, the step and the rank only.

    So a resumed run needs no saved state of the random number generator.
    """
    torch.manual_seed(int(hash64(seed, step, values=np.array([rank]))[0]) % 2**63)
