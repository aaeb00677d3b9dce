"""Count the operations that a training step cannot do without, and measure the speed of this machine."""

from collections.abc import Callable

import torch
from torch import Tensor

from aam_schemas import vocabulary
from aammodel.batch import Batch
from aammodel.config.model import ModelConfig

FORWARD_AND_BACKWARD = 3
"""Each product of the forward pass needs two more in the backward pass, one for each factor."""


def needed_by_step(config: ModelConfig, batch: Batch) -> float:
    """Return the operations of the matrix products of a step: encoded ASVs, real slots and masked bases.

    Norms, softmax, sums over bases, padding and recomputed activations are not counted.
    """
    lengths = (batch.tokens[batch.is_encoded] != vocabulary.PAD).sum(dim=1)
    positions = -(-lengths // config.bases_per_position)
    slots = batch.is_real.sum(dim=1)
    forward = config.asv_layers * _block(config, positions) + config.sample_layers * _block(config, slots)
    num_logits = config.bases_per_position * config.vocabulary_size
    forward += 2 * config.width * num_logits * len(batch.masked)
    if config.distance_head == "soft-branch":
        forward += 2 * config.width * config.soft_branches * int(slots.sum()) * len(config.targets)
    if config.bases_by_position:
        forward += 2 * 4 * config.width**2 * len(batch.tokens)
    return FORWARD_AND_BACKWARD * float(forward)


def measured_speed(clock: Callable[[], float], size: int = 1024, times: int = 4) -> float:
    """Return operations per second of products of square matrices, the fastest of a few runs."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(times):
        start = clock()
        a @ b
        seconds.append(clock() - start)
    return 2 * size**3 / min(seconds)


def _block(config: ModelConfig, lengths: Tensor) -> float:
    """Count the operations of a block over sequences of these lengths."""
    linear = 2 * (4 + 2 * config.feed_forward) * config.width**2
    attention = 4 * config.width * lengths
    return float((lengths * (linear + attention)).sum())
