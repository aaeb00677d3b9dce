"""Refuse non-finite losses, gradients and weights."""

import math
from pathlib import Path
from typing import NoReturn, Protocol

from aam_schemas.common.errors import NonFiniteError
from aammodel.batch import Batch
from aammodel.nn.model import AamModel
from aammodel.objectives.sums import LossSums
from aammodel.runs.checkpoint import model_tensors
from aammodel.training.step import Stepper

_FIX = "start a new run, for instance with a smaller learning rate"


class OnNonFinite(Protocol):
    """A function that all ranks call at a step with a non-finite loss or gradient. It must raise."""

    def __call__(self, stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
        """Raise an error that describes the step.

        Parameters
        ----------
        stepper : Stepper
        batches : list of Batch
            The micro-batches of the step.
        step : int
        run : Path
            The folder of the run.

        Raises
        ------
        NonFiniteError
        """


def raise_non_finite(stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
    """Raise an error without looking for the origin of the value.

    Raises
    ------
    NonFiniteError
    """
    raise NonFiniteError(f"a loss or its gradient is non-finite at step {step}", str(run), _FIX)


def check_validation(losses: LossSums, step: int, run: Path) -> None:
    """Refuse non-finite losses of a validation, which cannot show which weights are the best.

    Raises
    ------
    NonFiniteError
    """
    if not all(map(math.isfinite, losses.numbers())):
        raise NonFiniteError(f"the validation loss is non-finite at step {step}", str(run), _FIX)


def check_weights(model: AamModel, step: int, run: Path) -> None:
    """Refuse non-finite weights before they are saved. All ranks must call this together.

    Raises
    ------
    NonFiniteError
        Naming the first non-finite weight.
    """
    weights = model_tensors(model)
    name = next((name for name, weight in weights.items() if not weight.isfinite().all()), None)
    if name is not None:
        raise NonFiniteError(f"the weights {name} are non-finite after step {step}", str(run), _FIX)
