"""When a number stops being finite: training stops, says where it was born, and keeps the step.

With its batches go the weights, so that `aammodel trace --batch` can take the very step again.
"""

import math
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from aam_schemas.common.errors import NonFiniteError
from aammodel.batch import Batch
from aammodel.diagnostics.batch_checks import check_batch
from aammodel.diagnostics.nonfinite import Fault, watch_step
from aammodel.runs.checkpoint import model_tensors, save_model
from aammodel.runs.saved_step import SavedStep, save_step, weights_beside
from aammodel.training.step import Stepper, seed_step


def stop_at_non_finite(stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
    """Find out which module made the first number that is not finite, keep the step, and stop.

    Parameters
    ----------
    stepper : Stepper
        All of its ranks call this, and all raise what the rank has to say that met it first.
    batches : list of Batch
        The micro-batches of the step.
    step : int
    run : Path
        Where the offending batches are written.

    Raises
    ------
    NonFiniteError
        Naming the module, the step, the samples, and the file that holds the batches.
    """
    ranks = stepper.ranks
    seed_step(stepper.config.seed, step, ranks.rank)
    fault = watch_step(stepper, batches).fault
    batch = batches[fault.batch if fault else 0]
    # What one rank spoils, the others meet later.
    when = fault.when if fault else math.inf
    told = _told(fault, batch, step, stepper) if when == -ranks.largest(-when) else None
    first = ranks.first_text(told)
    path = run / f"offending-batch-step-{step:06d}.safetensors"
    weights = model_tensors(stepper.model)
    if told is not None and told == first:
        save_step(SavedStep(batches, step, ranks.rank, stepper.precision.state()), path)
        save_model(weights_beside(path), weights, asdict(stepper.model.config))
    ranks.wait()
    raise NonFiniteError(
        str(first),
        str(run),
        f"look at every module with `aammodel trace --batch {path}`; often a smaller learning rate helps",
    )


def _told(fault: Fault | None, batch: Batch, step: int, stepper: Stepper) -> str:
    born = str(fault) if fault else "a place that was not found: taken again, the step was finite"
    checked = check_batch(batch, stepper.model.config, stepper.objectives)
    wrong = "".join(f"; the batch itself: {check}" for check in checked.failed)
    samples = ", ".join(batch.sample_ids)
    return f"a number stopped being finite at step {step}, first in {born}{wrong}; samples: {samples}"
