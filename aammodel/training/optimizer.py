"""What takes a step along the gradient."""

import math
from itertools import product

from torch import nn, optim

from aammodel.config.train import OptimizerConfig, ScheduleConfig, TrainConfig
from aammodel.distributed.fsdp import is_sharded

_BETAS = (0.9, 0.98)
_EPSILON = 1e-6
"""Of Adam, as RoBERTa has it (Liu et al. 2019). With torch's 1e-8 a gradient that is all rounding takes whole
steps, and ten steps later two ranks differ from one by 1e-4 of a loss instead of 1e-6."""
_FUSED_ON = ("cpu", "cuda")


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> optim.Optimizer:
    """Make the optimiser of the configuration, which shrinks matrices but neither biases nor norms.

    "adamw" shrinks apart from the gradient (Loshchilov and Hutter 2019); "adam" (Kingma and Ba 2015) and
    "sgd" (with Nesterov's momentum) add what shrinks to the gradient. All take their step in one fused kernel
    where the device has it.
    """
    parameters = list(model.parameters())
    # Sharded weights in groups of their own: no kernel takes both kinds at once.
    kinds = product((True, False), (False, True))
    groups = [
        {
            "params": [one for one in parameters if (one.ndim >= 2, is_sharded(one)) == kind],
            "weight_decay": config.weight_decay if kind[0] else 0.0,
        }
        for kind in kinds
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(one.device.type in _FUSED_ON for one in parameters)
    rate = config.learning_rate
    if config.optimizer == "sgd":
        return optim.SGD(groups, lr=rate, momentum=config.momentum, nesterov=config.momentum > 0, fused=fused)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return kind(groups, lr=rate, betas=_BETAS, eps=_EPSILON, fused=fused)


LOWEST_SHARE = 0.01
"""What is left of the learning rate at the end, and the least that "plateau" goes down to."""

LARGEST_WARMUP_SHARE = 0.1
"""Largest share of all steps over which the learning rate rises."""

RISE_SHARE, FIRST_SHARE, LAST_SHARE = 0.3, 1 / 25, 1 / 25e4
"""One-cycle: share of the steps that rise, and the shares of the rate at the first step and at the last."""


def learning_rate(step: int, num_steps: int, config: TrainConfig, reductions: int = 0) -> float:
    """Give the learning rate of a step by the schedule of the configuration.

    "one-cycle" rises and falls over the whole run (Smith and Topin 2019). All others rise linearly over the
    warm-up; then "cosine" falls along half a cosine, "restarts" does so again and again (Loshchilov and
    Hutter 2017), "plateau" falls where validation stops getting better, and "constant" stays.

    Parameters
    ----------
    step : int
        The step to be taken, from 0.
    num_steps : int
        Steps of the whole run.
    config : TrainConfig
    reductions : int
        How often validation has stopped getting better: for "plateau".
    """
    return config.learning_rate * _share(step, num_steps, config, reductions)


def _share(step: int, num_steps: int, config: ScheduleConfig, reductions: int) -> float:
    if config.schedule == "one-cycle":
        return _one_cycle(step, num_steps)
    warmup = max(1, min(config.warmup_steps, round(LARGEST_WARMUP_SHARE * num_steps)))
    if step < warmup:
        return (step + 1) / warmup
    step, num_steps = step - warmup, max(1, num_steps - warmup)
    if config.schedule == "cosine":
        return _between(1.0, LOWEST_SHARE, step / num_steps)
    if config.schedule == "restarts":
        cycle = config.cycle_steps or max(1, num_steps // 4)
        return _between(1.0, LOWEST_SHARE, step % cycle / cycle)
    if config.schedule == "plateau":
        return max(LOWEST_SHARE, config.plateau_factor**reductions)
    return 1.0


def _one_cycle(step: int, num_steps: int) -> float:
    top = max(1.0, RISE_SHARE * num_steps - 1)
    if step <= top:
        return _between(FIRST_SHARE, 1.0, step / top)
    return _between(1.0, LAST_SHARE, min(1.0, (step - top) / max(1.0, num_steps - 1 - top)))


def _between(first: float, last: float, share: float) -> float:
    """Go from one number to another along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
