"""The interface of a loss: an objective.

To add a loss, write one file with a subclass of `Objective`, register the class (`registry.register`), and
give it a weight in the configuration, below `[train.objectives]`. Everything that shows losses (the lines of
`metrics.jsonl`, terminal, curves, report, comparison, TensorBoard, batch checks) asks the objectives.

An objective has K terms, usually one. The objective of distances has one for each metric. Shape letters: see
`batch.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.distributed.ranks import ALONE, Ranks
from aammodel.nn.model import AamModel, Output
from aammodel.objectives.rules import BatchRule


@dataclass(frozen=True)
class Label:
    """How the loss of a term is shown to people."""

    words: str
    """What the loss is about, such as "masked bases"."""
    unit: str
    """How the loss is measured, such as "cross-entropy (nats)"."""

    def __str__(self) -> str:
        """Return the title of a plot."""
        return f"{self.words}: {self.unit}" if self.unit else self.words


@dataclass(frozen=True)
class ForwardPass:
    """One micro-batch and everything that a loss is computed from."""

    model: AamModel
    batch: Batch
    output: Output
    ranks: Ranks = ALONE

    def head(self, name: str) -> nn.Module:
        """Return the head that an objective added to the model."""
        return self.model.objective_heads[name]

    def gather(self, rows: Float[Tensor, "B K"]) -> Float[Tensor, "C K"]:
        """Collect rows of all ranks, in the order of the micro-batch. Gradients find their way back.

        All ranks must call this together.

        Parameters
        ----------
        rows : Tensor, shape (B, K)
            One row for each sample of this rank.

        Returns
        -------
        Tensor, shape (C, K)
            One row for each sample of the micro-batch.
        """
        return self.ranks.gather(rows, self.batch.micro_batch_size)


class Objective(ABC):
    """A loss that training minimises, as a sum over a micro-batch and the number of things summed over.

    A step over several micro-batches, or several ranks, needs the mean over all of them, which no mean of
    means gives. So an objective returns sums. The numbers to divide by are known from the batches alone,
    before any forward pass.

    Parameters
    ----------
    weight : float
        Weight of the objective in the loss.
    """

    name: ClassVar[str]
    """Names the objective in the configuration, its head in the model, and its loss (`NAME_loss`) in
    `metrics.jsonl`."""
    labels: ClassVar[Mapping[str, Label]]
    """How each term that the class can have is shown, by the name of the term."""
    config_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys of `[train]` that change the meaning of this loss: losses from before and after do not compare."""
    rules: ClassVar[tuple[BatchRule, ...]] = ()
    """Rules for what a batch carries for this objective."""
    sum_dtype: ClassVar[torch.dtype] = torch.float64
    """Type in which the sums of several micro-batches are added up for the log."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the K terms."""
        return (self.name,)

    @classmethod
    def make_head(cls, config: ModelConfig) -> nn.Module | None:
        """Make a head with parameters of its own, if the objective has one.

        The model holds it in `objective_heads`, by the name of the objective. It is trained and stored with
        the model.

        Parameters
        ----------
        config : ModelConfig
            Of the model that is to hold the head.
        """
        return None

    @abstractmethod
    def denominator(self, batch: Batch) -> Tensor:
        """Return the number of things that each term sums over.

        Returns
        -------
        Tensor, shape (K,), or () for a single term
            On the device of the batch.
        """

    @abstractmethod
    def loss_sum(self, forward: ForwardPass) -> Tensor:
        """Return the sum of each term over the micro-batch.

        It is called under the autocast of the run, so half precision must be widened before sums
        (`at_least_float32`). All ranks call it together.

        Returns
        -------
        Tensor, shape (K,), or () for a single term
            Differentiable, float32 at least.
        """

    def weights(self, model: AamModel) -> Float[Tensor, " K"]:
        """Return the weight in the loss of the mean of each term."""
        return torch.full((len(self.terms),), self.weight, dtype=torch.float64)

    def figures(self, means: Sequence[float | None]) -> dict[str, float | None]:
        """Return what a line of `metrics.jsonl` says about this objective.

        Parameters
        ----------
        means : sequence of float or None
            Mean of each term; None where there was nothing to be a mean of.
        """
        return {f"{term}_loss": mean for term, mean in zip(self.terms, means, strict=True)}
