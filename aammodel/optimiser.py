"""What takes a step along the gradient."""

from torch import nn, optim

from aammodel.train_config import TrainConfig

_BETAS = (0.9, 0.98)
_FUSED_ON = ("cpu", "cuda")


def make_optimizer(model: nn.Module, config: TrainConfig) -> optim.Optimizer:
    """Make the optimiser of the configuration, which shrinks matrices but neither biases nor norms.

    "adamw" shrinks apart from the gradient (Loshchilov and Hutter 2019); "adam" (Kingma and Ba 2015) and
    "sgd" (with Nesterov's momentum) add what shrinks to the gradient. All take their step in one fused kernel
    where the device has it.
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(one.device.type in _FUSED_ON for one in parameters)
    rate = config.learning_rate
    if config.optimizer == "sgd":
        return optim.SGD(groups, lr=rate, momentum=config.momentum, nesterov=config.momentum > 0, fused=fused)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return kind(groups, lr=rate, betas=_BETAS, fused=fused)
