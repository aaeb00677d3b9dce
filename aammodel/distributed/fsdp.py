"""Shard weights, gradients and optimizer state over the ranks, for models too large for one device.

This uses torch's FSDP2 (Zhao et al., "PyTorch FSDP: experiences on scaling fully sharded data parallel", VLDB
2023). A sharded module is gathered whole when it computes, and freed afterwards. All ranks must enter it once
per forward pass. For this reason, whole encoders are sharded, and not the blocks of their transformers: ranks
with different numbers of chunks would wait for each other forever.

Torch's modules for it take a second to import, so they are imported on first use.
"""

import sys
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

Result = TypeVar("Result")


def shard(modules: Iterable[nn.Module], num_ranks: int, device: torch.device) -> None:
    """Shard the weights of modules over all ranks. Gradients become sums over all ranks.

    Parameters
    ----------
    modules : iterable of Module
        Modules whose method `encode` is called once per forward pass.
    num_ranks : int
    device : torch.device
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (num_ranks,))
    for module in modules:
        sharded = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        register_fsdp_forward_method(module, "encode")
        module.encode = _without_view_warning(module.encode)  # type: ignore[assignment, arg-type]
        # FSDP2 averages gradients by default. Losses are already divided by the counts of all ranks, so
        # gradients must be summed.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def _without_view_warning(encode: Callable[..., Result]) -> Callable[..., Result]:
    """Silence FSDP2's warning that a module returns a view. It only matters if the view is modified."""

    @wraps(encode)
    def quiet(*arguments: Any, **options: Any) -> Result:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
            return encode(*arguments, **options)

    return quiet


def is_sharded(tensor: Tensor) -> bool:
    """Return whether this rank holds only a part of a tensor."""
    # If the module is not imported, nothing can be sharded.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def full_tensor(tensor: Tensor) -> Tensor:
    """Gather a tensor that may be sharded. All ranks must call this together."""
    return cast(Any, tensor).full_tensor() if is_sharded(tensor) else tensor


def shard_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Shard a whole tensor as another tensor is. Return it as it is if the other is not sharded."""
    # Scalars of the optimizer, such as its number of steps, are not sharded with their parameter.
    if not is_sharded(other) or tensor.shape != other.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, cast(Any, other).device_mesh, cast(Any, other).placements)


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Scale the gradient down to a maximum norm (Pascanu et al. 2013).

    Parameters
    ----------
    model : Module
    max_norm : float

    Returns
    -------
    Tensor, shape ()
        The norm before scaling, over all weights.
    """
    with_gradient = [parameter for parameter in model.parameters() if parameter.grad is not None]
    sharded = [parameter for parameter in with_gradient if is_sharded(parameter)]
    if not sharded:
        return clip_grad_norm_(with_gradient, max_norm)
    # No torch function takes sharded and whole tensors together.
    parts = sharded, [parameter for parameter in with_gradient if not is_sharded(parameter)]
    norms = [
        get_total_norm([parameter.grad for parameter in part if parameter.grad is not None]) for part in parts
    ]
    norm = get_total_norm([full_tensor(part_norm) for part_norm in norms])
    for part in parts:
        clip_grads_with_norm_(part, max_norm, norm)
    return norm
