"""What takes a step along the gradient."""

from itertools import product

from torch import nn, optim

from aammodel.sharding import is_cut
from aammodel.train_config import TrainConfig

_BETAS = (0.9, 0.98)
_EPSILON = 1e-6
"""Of Adam, as RoBERTa has it (Liu et al. 2019). With torch's 1e-8 a gradient that is all rounding takes whole
steps, and ten steps later two ranks differ from one by 1e-4 of a loss instead of 1e-6."""
_FUSED_ON = ("cpu", "cuda")


def make_optimizer(model: nn.Module, config: TrainConfig) -> optim.Optimizer:
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
            "params": [one for one in parameters if (one.ndim >= 2, is_cut(one)) == kind],
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
