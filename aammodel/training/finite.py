"""Refuse validation losses and weights that are not finite."""

import math
from pathlib import Path

from aam_schemas.common.errors import NonFiniteError
from aammodel.nn.model import AamModel
from aammodel.objectives.sums import Losses
from aammodel.runs.checkpoint import model_tensors


def check_validation(losses: Losses, step: int, run: Path) -> None:
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
