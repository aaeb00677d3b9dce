"""`aammodel trace`: compute one step, and name the module in which a value becomes non-finite."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import DONE, INVALID_DATA, print_json
from aam_schemas.common.errors import UsageError
from aammodel.commands import options

if TYPE_CHECKING:
    from aammodel.diagnostics.trace import TraceInputs


class Pass(StrEnum):
    """A pass through the model."""

    forward = "forward"
    backward = "backward"


def trace(
    shards: options.OptionalShards = None,
    config: options.Config = None,
    run: options.OptionalRun = None,
    batch: Annotated[
        Path | None, typer.Option(help="Batch that training saved when a value became non-finite.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Step whose samples to use. Default: the next step.")
    ] = None,
    inject: Annotated[
        str | None,
        typer.Option(metavar="MODULE", help="Inject a NaN into this module, to see that it is found."),
    ] = None,
    direction: Annotated[
        Pass, typer.Option(help="Inject it into the output (forward) or into its gradient (backward).")
    ] = Pass.forward,
    json: options.Json = False,
) -> None:
    """Check a batch, and follow it through every module of the model, forward and backward.

    The exit code is 0 if the batch is valid and all values are finite, and 1 otherwise.
    """
    inputs = _inputs(shards, config, run, batch, step)

    from aammodel.diagnostics.trace import as_dict
    from aammodel.diagnostics.trace import trace as trace_step

    result = trace_step(inputs, inject, direction.value)
    if json:
        print_json(as_dict(result))
    else:
        from aammodel.diagnostics.terminal import print_trace

        print_trace(result)
    raise typer.Exit(DONE if result.is_clean else INVALID_DATA)


def _inputs(
    shards: str | None, config: Path | None, run: Path | None, batch: Path | None, step: int | None
) -> "TraceInputs":
    """Return the step to trace. Raise `UsageError` if the options contradict each other."""
    if run is not None and config is not None:
        raise UsageError(
            "a run has a configuration of its own", "--config", "leave out either --config or --run"
        )
    if batch is not None and (shards is not None or step is not None):
        raise UsageError(
            "a saved batch is used without shards and --step", "--batch", "leave out SHARDS and --step"
        )
    if batch is None and run is None and shards is None:
        raise UsageError("there is nothing to trace", "trace", "name SHARDS, --run or --batch")

    from aammodel.config.toml import read_config
    from aammodel.data.remote import parse_location
    from aammodel.workflows.replay import from_batch, from_run, from_shards

    tables = read_config(config) if config else None
    if batch is not None:
        return from_batch(batch, run, tables)
    if run is not None:
        return from_run(run, parse_location(shards) if shards else None, step)
    return from_shards(parse_location(shards or ""), tables or {"model": {}, "train": {}}, step or 0)
