"""The interface of a loss: an objective.

To add a loss, write one file with a subclass of `Objective`, register the class (`registry.register`), and
give it a weight in the configuration, under `[train.objectives]`. Everything that shows losses
(`metrics.jsonl`, terminal, curves, report, comparison, TensorBoard, batch checks) gets them from the
objectives.

An objective has K terms, usually one. The objective of distances has one for each metric. For the other shape
letters, see `batch.py`.
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
    """Text that describes the loss of a term to users."""

    words: str
    """Subject of the loss, such as "masked bases"."""
    unit: str
    """Measure of the loss and its unit, such as "cross-entropy (nats)"."""

    def __str__(self) -> str:
        """Return the title of a plot."""
        return f"{self.words}: {self.unit}" if self.unit else self.words


@dataclass(frozen=True)
class ForwardPass:
    """The forward pass of one micro-batch: everything that a loss is computed from."""

    model: AamModel
    batch: Batch
    output: Output
    ranks: Ranks = ALONE

    def head(self, name: str) -> nn.Module:
        """Return the head that an objective added to the model."""
        return self.model.objective_heads[name]

    def gather(self, rows: Float[Tensor, "B K"]) -> Float[Tensor, "C K"]:
        """Collect rows of all ranks, in the order of the micro-batch. The result is differentiable.

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
    """A loss that training minimizes, as a sum over a micro-batch and the number of terms of that sum.

    A step over several micro-batches or ranks needs the mean over all of them. A mean of their means would
    be wrong, since they differ in size. So an objective returns sums. The numbers to divide by depend on the
    batches only, so they are known before any forward pass.

    Parameters
    ----------
    weight : float
        Weight of the objective in the loss.
    """

    name: ClassVar[str]
    """Name of the objective in the configuration, of its head in the model, and of its loss in
    `metrics.jsonl` (`NAME_loss`)."""
    labels: ClassVar[Mapping[str, Label]]
    """Labels of all possible terms of the class, by name of the term."""
    config_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys of `[train]` that define this loss. Losses before and after a change are not comparable."""
    sample_labels: ClassVar[tuple[str, ...]] = ()
    """Labels of samples that it learns: names in `aammodel.data.sample_labels.SAMPLE_LABELS`. The batches of
    a run have them in `Batch.labels`."""
    rules: ClassVar[tuple[BatchRule, ...]] = ()
    """Rules for the parts of a batch that this objective uses."""
    sum_dtype: ClassVar[torch.dtype] = torch.float64
    """Data type in which the sums of several micro-batches are accumulated for the log."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the K terms."""
        return (self.name,)

    @classmethod
    def make_head(cls, config: ModelConfig) -> nn.Module | None:
        """Make a head with parameters of its own, if the objective has one.

        The model holds it in `objective_heads`, under the name of the objective. It is trained and saved with
        the model.

        Parameters
        ----------
        config : ModelConfig
            Configuration of the model that will hold the head.
        """
        return None

    def init_from_batch(self, model: AamModel, batch: Batch) -> None:
        """Set initial values of the head from a first batch of training samples. By default, nothing is set.

        Parameters
        ----------
        model : AamModel
            With the head. Its other weights have been set from the same batch.
        batch : Batch
        """
        return

    @abstractmethod
    def denominator(self, batch: Batch) -> Tensor:
        """Return the number of masked bases, pairs or other items that each term is a sum over.

        Returns
        -------
        Tensor, shape (K,), or () for a single term
            On the device of the batch.
        """

    @abstractmethod
    def loss_sum(self, forward: ForwardPass) -> Tensor:
        """Return the sum of each term over the micro-batch.

        It is called within the autocast context of the run. So half precision must be converted before it is
        summed (`at_least_float32`). All ranks call it together.

        Returns
        -------
        Tensor, shape (K,), or () for a single term
            Differentiable, at least float32.
        """

    def weights(self, model: AamModel) -> Float[Tensor, " K"]:
        """Return the weight of each term's mean in the loss."""
        return torch.full((len(self.terms),), self.weight, dtype=torch.float64)

    def figures(self, means: Sequence[float | None]) -> dict[str, float | None]:
        """Return the values of this objective for a line of `metrics.jsonl`.

        Parameters
        ----------
        means : sequence of float or None
            Mean of each term. None if its denominator is 0.
        """
        return {f"{term}_loss": mean for term, mean in zip(self.terms, means, strict=True)}
