"""Optimizers and learning rates."""

import math
from itertools import product

from torch import nn, optim

from aammodel.config.train import OptimizerConfig, ScheduleConfig, TrainConfig
from aammodel.distributed.fsdp import is_sharded

_BETAS = (0.9, 0.98)
_EPSILON = 1e-6
"""Coefficients of Adam, as in RoBERTa (Liu et al. 2019). With torch's default epsilon of 1e-8, a gradient of
rounding errors alone causes full steps. After ten steps, the losses of two ranks then differ from those of
one rank by a fraction of 1e-4, in place of 1e-6."""
_FUSED_DEVICES = ("cpu", "cuda")
"""Devices for which torch has fused kernels of all three optimizers."""


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> optim.Optimizer:
    """Make the optimizer of a model. Weight decay applies to matrices, not to biases and norms.

    "adamw" decouples the weight decay from the gradient (Loshchilov and Hutter 2019). "adam" (Kingma and
    Ba 2015) and "sgd", which has Nesterov momentum, add it to the gradient. All of them use a fused kernel if
    the device has one.
    """
    parameters = list(model.parameters())
    # Sharded weights are in groups of their own, since no fused kernel takes both kinds at once.
    kinds = product((True, False), (False, True))
    groups = [
        {
            "params": [weight for weight in parameters if (weight.ndim >= 2, is_sharded(weight)) == kind],
            "weight_decay": config.weight_decay if kind[0] else 0.0,
        }
        for kind in kinds
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(weight.device.type in _FUSED_DEVICES for weight in parameters)
    rate = config.learning_rate
    if config.optimizer == "sgd":
        return optim.SGD(groups, lr=rate, momentum=config.momentum, nesterov=config.momentum > 0, fused=fused)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return kind(groups, lr=rate, betas=_BETAS, eps=_EPSILON, fused=fused)


LOWEST_FRACTION = 0.01
"""Fraction of the highest learning rate at the end of a cosine, and the lowest that "plateau" reaches."""

MAX_WARMUP_FRACTION = 0.1
"""Maximum fraction of all steps over which the learning rate rises."""

RISE_FRACTION, FIRST_FRACTION, LAST_FRACTION = 0.3, 1 / 25, 1 / 25e4
"""One-cycle: fraction of the steps with a rising rate, and fractions of the highest rate at the first and at
the last step. They are the defaults of `torch.optim.lr_scheduler.OneCycleLR`."""


def learning_rate(step: int, num_steps: int, config: TrainConfig, reductions: int = 0) -> float:
    """Return the learning rate of a step, according to the schedule of the configuration.

    "one-cycle" rises and falls over the whole run (Smith and Topin 2019). All others rise linearly over the
    warm-up. After it, "cosine" falls along half a cosine, "restarts" does so repeatedly (Loshchilov and
    Hutter 2017), "plateau" falls whenever the validation loss stops improving, and "constant" stays.

    The rate is a function of its arguments alone, so a resumed run needs no state of a scheduler.

    Parameters
    ----------
    step : int
        Index of the step, from 0.
    num_steps : int
        Number of steps of the whole run.
    config : TrainConfig
    reductions : int
        Number of times that the validation loss has stopped improving. It is used by "plateau" only.
    """
    return config.learning_rate * _fraction(step, num_steps, config, reductions)


def _fraction(step: int, num_steps: int, config: ScheduleConfig, reductions: int) -> float:
    if config.schedule == "one-cycle":
        return _one_cycle(step, num_steps)
    warmup = max(1, min(config.warmup_steps, round(MAX_WARMUP_FRACTION * num_steps)))
    if step < warmup:
        # The first step has a rate above 0, so it is not wasted.
        return (step + 1) / warmup
    step, num_steps = step - warmup, max(1, num_steps - warmup)
    if config.schedule == "cosine":
        return _half_cosine(1.0, LOWEST_FRACTION, step / num_steps)
    if config.schedule == "restarts":
        cycle = config.cycle_steps or max(1, num_steps // 4)
        return _half_cosine(1.0, LOWEST_FRACTION, step % cycle / cycle)
    if config.schedule == "plateau":
        return max(LOWEST_FRACTION, config.plateau_factor**reductions)
    return 1.0


def _one_cycle(step: int, num_steps: int) -> float:
    # The highest rate is at this step, as in torch's OneCycleLR. A run of a few steps still has one.
    top = max(1.0, RISE_FRACTION * num_steps - 1)
    if step <= top:
        return _half_cosine(FIRST_FRACTION, 1.0, step / top)
    return _half_cosine(1.0, LAST_FRACTION, min(1.0, (step - top) / max(1.0, num_steps - 1 - top)))


def _half_cosine(first: float, last: float, fraction: float) -> float:
    """Return a value between `first` and `last`, after a fraction of the steps along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * fraction)) / 2
