"""The learning rate, a pure function of the step: a resumed run needs no state of it."""

import math

from aammodel.train_config import TrainConfig

LOWEST_SHARE = 0.01
"""What is left of the learning rate at the end."""

LARGEST_WARMUP_SHARE = 0.1
"""Largest share of all steps over which the learning rate rises."""


def learning_rate(step: int, num_steps: int, config: TrainConfig) -> float:
    """Rise linearly over the warm-up, then fall along half a cosine (Loshchilov and Hutter 2017).

    Parameters
    ----------
    step : int
        The step to be taken, from 0.
    num_steps : int
        Steps of the whole run.
    config : TrainConfig
    """
    warmup = max(1, min(config.warmup_steps, round(LARGEST_WARMUP_SHARE * num_steps)))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, num_steps - warmup)
    return config.learning_rate * (LOWEST_SHARE + (1 - LOWEST_SHARE) * (1 + math.cos(math.pi * share)) / 2)
