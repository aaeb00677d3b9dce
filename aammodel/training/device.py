"""Choose the device on which a model computes."""

import torch

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import shorten
from aammodel.config.train import DEVICES
from aammodel.distributed.ranks import ALONE, Ranks, local_rank


def pick_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """Return the device with a name, after checking that it can be used.

    Parameters
    ----------
    name : str
        As "cpu", "cuda" or "cuda:1". With "auto", a GPU is used if there is one.
    ranks : Ranks
        With several ranks, "cuda" is a GPU of its own for each rank.

    Raises
    ------
    UsageError
        If there is no such device.
    """
    if DEVICES.fullmatch(name) is None:
        raise _no_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and ranks.size > 1:
        name = f"cuda:{local_rank()}"
    try:
        device = _usable(torch.device(name))
    except (RuntimeError, AssertionError) as error:
        raise _no_device(name) from error
    return device


def _no_device(name: str) -> UsageError:
    return UsageError(
        f"there is no device {shorten(repr(name))} here",
        "--device",
        "choose cpu, or cuda with a GPU for each process",
    )


def _usable(device: torch.device) -> torch.device:
    """Return the device, without an index if it is a CPU. Raise torch's error if it cannot be used."""
    if device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"the device {device} is not supported")
    # Torch reports an unknown GPU only when it is used.
    torch.zeros(1, device=device)
    if device.type == "cpu":
        return torch.device("cpu")
    if device.index is not None:
        torch.cuda.set_device(device)
    return device
