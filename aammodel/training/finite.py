"""Refuse losses, gradients and weights that are not finite."""

import math
from pathlib import Path
from typing import NoReturn, Protocol

from aam_schemas.common.errors import NonFiniteError
from aammodel.batch import Batch
from aammodel.nn.model import AamModel
from aammodel.objectives.sums import LossSums
from aammodel.runs.checkpoint import model_tensors
from aammodel.training.step import Stepper


class OnNonFinite(Protocol):
    """Called, by all ranks, at a step whose losses or gradient are not finite. It must raise."""

    def __call__(self, stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
        """Stop.

        Parameters
        ----------
        stepper : Stepper
        batches : list of Batch
            The micro-batches of the step.
        step : int
        run : Path
            The folder of the run.
        """


def stop_plainly(stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
    """Stop without looking for the origin of the value.

    Raises
    ------
    NonFiniteError
    """
    raise NonFiniteError(
        f"a loss or its gradient is not finite at step {step}",
        str(run),
        "begin a new run; often a smaller learning rate helps",
    )


def check_validation(losses: LossSums, step: int, run: Path) -> None:
    """Stop where the losses of a validation are not finite: no weights can be told to be the best by them.

    Raises
    ------
    NonFiniteError
    """
    if not all(map(math.isfinite, losses.numbers())):
        raise NonFiniteError(
            f"the validation loss is not finite at step {step}",
            str(run),
            "begin a new run; often a smaller learning rate helps",
        )


def check_weights(model: AamModel, step: int, run: Path) -> None:
    """Stop before weights that are not finite are kept; all ranks call this together.

    Raises
    ------
    NonFiniteError
        Naming the first of them.
    """
    weights = model_tensors(model)
    broken = next((name for name, one in weights.items() if not one.isfinite().all()), None)
    if broken is not None:
        raise NonFiniteError(
            f"the weights are not finite after step {step}, first {broken}",
            str(run),
            "begin a new run; often a smaller learning rate helps",
        )
