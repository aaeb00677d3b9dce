"""Choose the device on which a model computes."""

import torch

from aam_schemas.common.errors import UsageError
from aammodel.distributed.ranks import ALONE, Ranks, local_rank


def pick_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """Give the device of a name; auto is a GPU where there is one, and each of several ranks has its own.

    Raises
    ------
    UsageError
        If there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and ranks.size > 1:
        name = f"cuda:{local_rank()}"
    try:
        device = _usable(torch.device(name))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"there is no device {name!r} here",
            "--device",
            "choose cpu, or cuda with a GPU for each process",
        ) from error
    return device


def _usable(device: torch.device) -> torch.device:
    """Take a device into use; a CPU has no number."""
    if device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"nothing can be computed on {device}")
    torch.zeros(1, device=device)
    if device.type == "cpu":
        return torch.device("cpu")
    if device.index is not None:
        torch.cuda.set_device(device)
    return device
