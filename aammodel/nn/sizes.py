"""Sizes of a model before it is made: its shapes, and whether they fit into the memory of the machine."""

import os
import resource
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from aam_schemas.common.errors import UsageError
from aammodel.config.model import ModelConfig
from aammodel.nn.model import AamModel

_RANDOM = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.erfinv_})


class _WithoutInitialValues(TorchFunctionMode):
    """Skip random values, which need no memory here, but would make torch import its compiler for 2 s."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if function in _RANDOM else function(*args, **(kwargs or {}))


def model_without_weights(config: ModelConfig) -> AamModel:
    """Return a model on the meta device: its weights have names, shapes and types, but take no memory."""
    with torch.device("meta"), _WithoutInitialValues():
        return AamModel(config)


def total_bytes(device: torch.device) -> int:
    """Return the memory of a GPU, or that which this process may use of the machine's, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return total if limit == resource.RLIM_INFINITY else min(total, limit)


def require_memory(num_bytes: int, device: torch.device, what: str, where: str) -> None:
    """Refuse what does not fit into memory, before it is allocated.

    Parameters
    ----------
    num_bytes : int
    device : torch.device
    what : str
        What needs the memory.
    where : str
        Where its size comes from.

    Raises
    ------
    UsageError
        With both figures.
    """
    total = total_bytes(device)
    if num_bytes > total:
        raise UsageError(
            f"{what} need {num_bytes / 1e9:,.1f} GB of memory; this {device.type} has {total / 1e9:,.1f} GB",
            where,
            "choose a smaller number, or another machine",
        )


def require_weights_fit(config: ModelConfig, copies: int, device: torch.device) -> None:
    """Refuse a model whose weights do not fit into memory, before it is made.

    Parameters
    ----------
    config : ModelConfig
    copies : int
        Number of values that are kept for each weight, itself included.
    device : torch.device

    Raises
    ------
    UsageError
    """
    number = sum(weight.numel() for weight in model_without_weights(config).parameters())
    what = f"{number:,} weights with {copies} values each"
    require_memory(number * copies * torch.float32.itemsize, device, what, "[model]")
