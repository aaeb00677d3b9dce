"""In which numbers the model computes, and the loss scaling that float16 needs (Micikevicius et al. 2018)."""

import math

import torch

_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MOST_SKIPPED = 20
"""Steps in a row whose gradient overflows, before that is an error: the scale is halved each time."""


class Precision:
    """Weights, gradients and losses are float32 always; products are of the precision chosen.

    Parameters
    ----------
    name : {"float32", "bf16", "fp16"}
    device : torch.device
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self.dtype = _DTYPES[name]
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)

    def autocast(self) -> torch.autocast:
        """Compute products in the precision chosen, within a `with`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def is_overflow(self, norm: float) -> bool:
        """Tell whether a gradient with this norm is one that scaling made too large: its step is skipped."""
        return self.scaler.is_enabled() and not math.isfinite(norm)

    def state(self) -> dict[str, float]:
        """Give the state of scaling; empty where there is none."""
        return self.scaler.state_dict()

    def copy(self) -> "Precision":
        """Give another one with the same scaling, to take a step again with."""
        other = Precision(self.name, self.device)
        other.load(self.state())
        return other

    def load(self, state: dict[str, float]) -> None:
        """Go on with a state that `state` gave."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)
