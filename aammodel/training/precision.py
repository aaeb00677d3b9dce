"""The precision of matrix products, and the loss scaling that float16 needs (Micikevicius et al. 2018)."""

import math

import torch

_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MAX_SKIPPED_STEPS = 20
"""Number of steps in a row whose gradient may overflow before training stops. Each overflow halves the loss
scale. From torch's initial scale of 2^16, 20 halvings reach 1/16, so scaling is no longer the cause."""


class Precision:
    """The precision of matrix products. Weights, gradients and losses are always float32.

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
        """Return a context in which matrix products have this precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def is_overflow(self, norm: float) -> bool:
        """Return whether loss scaling made a gradient with this norm overflow. Its step is skipped."""
        return self.scaler.is_enabled() and not math.isfinite(norm)

    def state(self) -> dict[str, float]:
        """Return the state of loss scaling. It is empty if losses are not scaled."""
        return self.scaler.state_dict()

    def copy(self) -> "Precision":
        """Return an independent copy with the same loss scale, to repeat a step."""
        other = Precision(self.name, self.device)
        other.load(self.state())
        return other

    def load(self, state: dict[str, float]) -> None:
        """Continue with the state of loss scaling that `state` returned."""
        # A run may have changed its precision, and then the state of the other one is of no use.
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)
