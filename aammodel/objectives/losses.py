"""Sums of losses and what to divide them by.

A step over several micro-batches wants the mean over all masked bases, and over all pairs, of all of them,
which no mean of means gives. So these give sums; the numbers to divide by are known from the batches alone,
before any forward pass.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aammodel.batch import IGNORED, Batch
from aammodel.nn.model import Output
from aammodel.nn.transformer import at_least_float32


def is_pair(batch: Batch) -> Bool[Tensor, "T B C"]:
    """Tell which pairs count: each once (i < j) over all ranks, and only with a true distance."""
    column = torch.arange(batch.distance.shape[2], device=batch.position.device)
    return batch.distance.isfinite() & (batch.position[:, None] < column)


def num_masked_bases(batch: Batch) -> int:
    """Count what the nucleotide loss is a mean over."""
    return int((batch.masked_token != IGNORED).sum())


def num_pairs(batch: Batch) -> Int[Tensor, " T"]:
    """Count what the distance loss of each target is a mean over; 0 for a batch of one sample."""
    return is_pair(batch).sum(dim=(1, 2))


def nucleotide_loss_sum(output: Output, batch: Batch) -> Float[Tensor, ""]:
    """Sum the cross-entropy (in nats) over the masked bases."""
    return F.cross_entropy(
        at_least_float32(output.nucleotide_logits),
        batch.masked_token.long(),
        reduction="sum",
        ignore_index=IGNORED,
    )


def distance_loss_sum(output: Output, batch: Batch) -> Float[Tensor, " T"]:
    """Sum the squared error of the predicted distance over the pairs; zero where there is no pair."""
    chosen = is_pair(batch)
    predicted = at_least_float32(output.distance)
    # A choice and not a product: a missing true distance touches no gradient.
    error = torch.where(chosen, predicted - batch.distance.to(predicted.dtype), 0.0)
    return error.square().sum(dim=(1, 2))


def mean_or_none(total: float, count: int) -> float | None:
    """Divide a sum by its count; the mean of nothing is None."""
    return total / count if count else None
