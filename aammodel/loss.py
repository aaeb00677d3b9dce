"""Sums of losses and what to divide them by.

A step over several micro-batches wants the mean over all masked bases, and over all pairs, of all of them,
which no mean of means gives. So these give sums; the numbers to divide by are known from the batches alone,
before any forward pass.
"""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aammodel.batch import Batch
from aammodel.model import Output
from aammodel.pooling import at_least_float32


def is_pair(true_distance: Float[Tensor, "B B"]) -> Bool[Tensor, "B B"]:
    """Tell which pairs count: each once (i < j), and only with a true distance."""
    return true_distance.isfinite().triu(diagonal=1)


def num_masked_bases(batch: Batch) -> int:
    """Count what the nucleotide loss is a mean over."""
    return len(batch.masked)


def num_pairs(batch: Batch) -> int:
    """Count what the distance loss is a mean over; 0 for a batch of one sample."""
    return int(is_pair(batch.distance).sum())


def nucleotide_loss_sum(output: Output, batch: Batch) -> Float[Tensor, ""]:
    """Sum the cross-entropy (in nats) over the masked bases."""
    return F.cross_entropy(
        at_least_float32(output.nucleotide_logits), batch.masked_token.long(), reduction="sum"
    )


def distance_loss_sum(output: Output, batch: Batch) -> Float[Tensor, ""]:
    """Sum the squared error of the predicted distance over the pairs; zero where there is no pair."""
    chosen = is_pair(batch.distance)
    predicted = at_least_float32(output.distance)
    # Chosen before the subtraction, so that a missing true distance touches no gradient.
    return (predicted[chosen] - batch.distance[chosen].to(predicted.dtype)).square().sum()


def mean_or_none(total: float, count: int) -> float | None:
    """Divide a sum by its count; the mean of nothing is None."""
    return total / count if count else None
