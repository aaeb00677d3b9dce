"""The progress of a run: its step, its best validation loss, its position in the data."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run has come: all that the next step depends on, besides weights and the optimiser."""

    step: int = 0
    """Optimiser steps taken."""
    batches: int = 0
    """Micro-batches consumed."""
    best_loss: float | None = None
    """Lowest validation loss so far."""
    best_step: int = 0
    validations_since_best: int = 0
    validations_since_reduction: int = 0
    """Since the best validation, or since the learning rate was reduced."""
    reductions: int = 0
    """Times that the learning rate was reduced where validation stopped getting better."""
    skipped: int = 0
    """Steps that were skipped since float16 overflowed."""
    skipped_in_a_row: int = 0
    scaling: dict[str, float] = field(default_factory=dict)
    """State of the loss scaling of float16; empty where there is none."""
    is_finished: bool = False

    def after_step(self, num_batches: int, is_skipped: bool) -> "Progress":
        """Give the progress after one more step."""
        return replace(
            self,
            step=self.step + 1,
            batches=self.batches + num_batches,
            skipped=self.skipped + is_skipped,
            skipped_in_a_row=self.skipped_in_a_row + 1 if is_skipped else 0,
        )

    def after_validation(self, loss: float, plateau_patience: int) -> "Progress":
        """Give the progress after one more validation."""
        if self.best_loss is None or loss < self.best_loss:
            return replace(
                self,
                best_loss=loss,
                best_step=self.step,
                validations_since_best=0,
                validations_since_reduction=0,
            )
        waited = self.validations_since_reduction + 1
        is_reduced = waited >= plateau_patience
        return replace(
            self,
            validations_since_best=self.validations_since_best + 1,
            validations_since_reduction=0 if is_reduced else waited,
            reductions=self.reductions + is_reduced,
        )
