"""The progress of a run: its step, its best validation loss, its position in the data."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """State of a run: everything that the next step depends on, beside weights and optimizer."""

    step: int = 0
    """Number of optimizer steps."""
    batches: int = 0
    """Number of micro-batches consumed."""
    best_loss: float | None = None
    """Lowest validation loss so far, or that of the metric `best_metric` of `[train]`. Of a correlation, it
    is the negative."""
    best_step: int = 0
    validations_since_best: int = 0
    validations_since_reduction: int = 0
    """Number of validations since the best one, or since the learning rate was last reduced."""
    reductions: int = 0
    """Number of times that the plateau schedule reduced the learning rate."""
    skipped: int = 0
    """Number of steps that were skipped because float16 overflowed."""
    skipped_in_a_row: int = 0
    scaling: dict[str, float] = field(default_factory=dict)
    """State of loss scaling for float16. Empty without loss scaling."""
    is_finished: bool = False

    def after_step(self, num_batches: int, is_skipped: bool) -> "Progress":
        """Return the progress after one more step."""
        return replace(
            self,
            step=self.step + 1,
            batches=self.batches + num_batches,
            skipped=self.skipped + is_skipped,
            skipped_in_a_row=self.skipped_in_a_row + 1 if is_skipped else 0,
        )

    def after_validation(self, loss: float, plateau_patience: int) -> "Progress":
        """Return the progress after one more validation. The lower its loss, the better."""
        if self.best_loss is None or loss < self.best_loss:
            return replace(
                self,
                best_loss=loss,
                best_step=self.step,
                validations_since_best=0,
                validations_since_reduction=0,
            )
        waited = self.validations_since_reduction + 1
        # Reductions are counted under every schedule. Only the plateau schedule uses them.
        is_reduced = waited >= plateau_patience
        return replace(
            self,
            validations_since_best=self.validations_since_best + 1,
            validations_since_reduction=0 if is_reduced else waited,
            reductions=self.reductions + is_reduced,
        )
