"""Objectives of diversity: a linear map of a sample's embedding predicts its Faith PD or its richness.

They give the embedding a task of its own. The features that distances compare do not pass through it.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.nn.heads.base import EPSILON
from aammodel.nn.model import AamModel
from aammodel.nn.transformer import at_least_float32, init_linear
from aammodel.objectives.base import ForwardPass, Label, Objective
from aammodel.objectives.rules import BatchRule


class DiversityHead(nn.Module):
    """Predict the logarithm of a diversity, in standard deviations from its mean over training samples.

    Parameters
    ----------
    width : int
        Width of the embedding, D.
    """

    mean: Tensor
    """Mean of log(1 + diversity) over the samples of the first batch. Shape ()."""
    deviation: Tensor
    """Its standard deviation over them. Shape ()."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))
        init_linear(self.linear)

    def forward(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """Return the prediction of each sample."""
        return at_least_float32(self.linear(embedding))[:, 0]

    def standardize(self, diversity: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Return true values in the unit of the predictions. NaN stays NaN."""
        return (diversity.log1p() - self.mean) / self.deviation

    @torch.no_grad()
    def fit(self, diversity: Float[Tensor, " B"]) -> None:
        """Set mean and standard deviation from the samples of a first batch that have a value."""
        known = diversity[diversity.isfinite()].log1p()
        if not len(known):
            return
        self.mean.copy_(known.mean())
        deviation = known.std(correction=0)
        self.deviation.copy_(torch.where(deviation > EPSILON, deviation, 1.0))


def _invalid_labels(name: str) -> BatchRule:
    def find(batch: Batch, config: ModelConfig) -> list[str]:
        if batch.labels is None or name not in batch.labels.names:
            return [f"the batch has no {name}"]
        value = batch.labels.of(name)
        is_bad = (value < 0) | value.isinf()
        return [f"sample {batch.sample_ids[row]}" for row in is_bad.nonzero()[:, 0].tolist()]

    return BatchRule(name, f"each {name} is finite and not negative, or unknown", find)


class DiversityObjective(Objective):
    """Squared error of the logarithm of a diversity, in units of its variance over samples.

    A loss of 1 is that of guessing the mean. So 1 - loss is about the fraction of variance that is explained.
    """

    @classmethod
    def make_head(cls, config: ModelConfig) -> DiversityHead:
        """Make the linear map."""
        return DiversityHead(config.width)

    @torch.no_grad()
    def init_from_batch(self, model: AamModel, batch: Batch) -> None:
        """Set the unit of the error from a first batch."""
        if batch.labels is not None:
            self._head(model).fit(batch.labels.of(self.name))

    def denominator(self, batch: Batch) -> Tensor:
        """Return the number of samples with a value that count on this rank. Shape ()."""
        return self._counts(batch).sum()

    def loss_sum(self, forward: ForwardPass) -> Tensor:
        """Return the sum of the squared errors over samples. Shape ()."""
        head, batch = self._head(forward.model), forward.batch
        assert batch.labels is not None
        error = head(forward.output.embedding) - head.standardize(batch.labels.of(self.name))
        # A product with a mask would turn a missing value into a gradient of NaN.
        error = torch.where(self._counts(batch), error, 0.0)
        return error.square().sum()

    def _counts(self, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return batch.labels.of(self.name).isfinite() & batch.sample_counts

    def _head(self, model: AamModel) -> DiversityHead:
        head = model.objective_heads[self.name]
        assert isinstance(head, DiversityHead)
        return head


class FaithPdObjective(DiversityObjective):
    """Faith's phylogenetic diversity (1992), the total length of the branches that a sample covers."""

    name = "faith_pd"
    labels: ClassVar = {"faith_pd": Label("Faith PD", "squared error of its logarithm, over its variance")}
    sample_labels = ("faith_pd",)
    rules = (_invalid_labels("faith_pd"),)


class RichnessObjective(DiversityObjective):
    """Richness: the number of ASVs of a sample, including those that the token limit dropped."""

    name = "richness"
    labels: ClassVar = {"richness": Label("richness", "squared error of its logarithm, over its variance")}
    sample_labels = ("richness",)
    rules = (_invalid_labels("richness"),)
