"""Stop training at a non-finite value: report its origin, and save the step.

The batches are saved together with the weights, so that `aammodel trace --batch` can repeat the step exactly.
"""

import math
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from aam_schemas.common.errors import NonFiniteError
from aam_schemas.common.text import as_argument
from aammodel.batch import Batch
from aammodel.diagnostics.batch_checks import check_batch
from aammodel.diagnostics.nonfinite import NonFiniteOrigin, run_instrumented
from aammodel.runs.checkpoint import model_tensors, save_model
from aammodel.runs.saved_step import SavedStep, save_step, weights_beside
from aammodel.training.step import Stepper, seed_step


def stop_at_non_finite(stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
    """Find the module that computed the first non-finite value, save the step, and stop.

    All ranks call this. All raise the message of the rank on which the value appeared first.

    Parameters
    ----------
    stepper : Stepper
    batches : list of Batch
        Micro-batches of the step on this rank.
    step : int
    run : Path
        Run folder, to which the batches are written.

    Raises
    ------
    NonFiniteError
        Always. It names the module, the step, the samples and the file with the batches.
    """
    ranks = stepper.ranks
    seed_step(stepper.config.seed, step, ranks.rank)
    origin = run_instrumented(stepper, batches).origin
    batch = batches[origin.batch if origin else 0]
    # A non-finite value of one rank reaches the others through the gradient. The earliest is the origin.
    order = origin.order if origin else math.inf
    message = _describe(origin, batch, step, stepper) if order == -ranks.largest(-order) else None
    first = ranks.first_text(message)
    path = run / f"offending-batch-step-{step:06d}.safetensors"
    weights = model_tensors(stepper.model)
    if message is not None and message == first:
        save_step(SavedStep(batches, step, ranks.rank, stepper.precision.state()), path)
        save_model(weights_beside(path), weights, asdict(stepper.model.config))
    ranks.wait()
    raise NonFiniteError(
        str(first),
        str(run),
        f"inspect every module with `aammodel trace --batch {as_argument(path)}`; often a smaller learning "
        "rate helps",
    )


def _describe(origin: NonFiniteOrigin | None, batch: Batch, step: int, stepper: Stepper) -> str:
    where = str(origin) if origin else "an unknown module (all values were finite when the step was repeated)"
    report = check_batch(batch, stepper.model.config, stepper.objectives)
    broken = "".join(f"; the batch breaks a rule: {check}" for check in report.failed)
    samples = ", ".join(batch.sample_ids)
    return f"a value became non-finite at step {step}, first in {where}{broken}; samples: {samples}"
