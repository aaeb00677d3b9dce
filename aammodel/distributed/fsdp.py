"""Weights, gradients and the optimiser's state cut among the ranks (FSDP2), for models that outgrow a device.

What is told to shard is gathered whole when it computes, and freed after. It must be entered once in a
forward pass on every rank: were the blocks of a transformer sharded, ranks that read different numbers of
chunks would wait for each other for ever.

Torch's modules for it take a second to load, so they wait until something is sharded.
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
    """Cut the weights of modules that are entered by `encode`; gradients come as sums over all ranks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (num_ranks,))
    for one in modules:
        sharded = fully_shard(one, mesh=mesh, reshard_after_forward=True)
        register_fsdp_forward_method(one, "encode")
        one.encode = _without_view_warning(one.encode)  # type: ignore[assignment, arg-type]
        # A plain sum: losses are divided by the counts of all ranks already.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def _without_view_warning(encode: Callable[..., Result]) -> Callable[..., Result]:
    """Silence FSDP2's warning that a module returns a view: it matters only if the view is written into."""

    @wraps(encode)
    def quiet(*arguments: Any, **options: Any) -> Result:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
            return encode(*arguments, **options)

    return quiet


def is_cut(tensor: Tensor) -> bool:
    """Tell whether this rank holds a part of a tensor alone."""
    loaded = sys.modules.get("torch.distributed.tensor")
    return loaded is not None and isinstance(tensor, loaded.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Collect a tensor that may be cut among the ranks, who all call this together."""
    return cast(Any, tensor).full_tensor() if is_cut(tensor) else tensor


def cut_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Cut a whole tensor as another one is, if it is."""
    if not is_cut(other) or tensor.shape != other.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, cast(Any, other).device_mesh, cast(Any, other).placements)


def clip_gradients(model: nn.Module, most: float) -> Tensor:
    """Shrink the gradient to a norm of at most so much, and give the norm that it had."""
    there = [one for one in model.parameters() if one.grad is not None]
    cut = [one for one in there if is_cut(one)]
    if not cut:
        return clip_grad_norm_(there, most)
    # No kernel takes both kinds at once.
    parts = cut, [one for one in there if not is_cut(one)]
    norms = [get_total_norm([one.grad for one in part if one.grad is not None]) for part in parts]
    norm = get_total_norm([whole(one) for one in norms])
    for part in parts:
        clip_grads_with_norm_(part, most, norm)
    return norm
