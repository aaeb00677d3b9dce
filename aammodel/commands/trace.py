"""`aammodel trace`: take one step under watch, and name where a number stops being finite."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import DONE, INVALID_DATA, print_json
from aam_schemas.common.errors import UsageError

if TYPE_CHECKING:
    from aammodel.diagnostics.trace import Setting


class Way(StrEnum):
    """Which way numbers go."""

    forward = "forward"
    backward = "backward"


def trace(
    shards: Annotated[
        str | None, typer.Argument(help="Folder that `aamprep shard` wrote, or the URL of one.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with [train] and [model].")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of a run, of one of its checkpoints, or a model file.")
    ] = None,
    batch: Annotated[
        Path | None, typer.Option(help="Batch that training kept when a number was not finite.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Step whose samples to take. Default: the next one.")
    ] = None,
    inject: Annotated[
        str | None, typer.Option(metavar="MODULE", help="Plant a NaN in this module, to see it found.")
    ] = None,
    direction: Annotated[Way, typer.Option(help="Plant it in the output, or in its gradient.")] = Way.forward,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a batch and follow it through the model, forward and backward, module by module.

    Exit code 0 if the batch is right and every number finite, 1 if not.
    """
    setting = _setting(shards, config, run, batch, step)

    from aammodel.diagnostics.trace import as_dict
    from aammodel.diagnostics.trace import trace as take

    seen = take(setting, inject, direction.value)
    if json:
        print_json(as_dict(seen))
    else:
        from aammodel.diagnostics.terminal import print_trace

        print_trace(seen)
    raise typer.Exit(DONE if seen.is_clean else INVALID_DATA)


def _setting(
    shards: str | None, config: Path | None, run: Path | None, batch: Path | None, step: int | None
) -> "Setting":
    """Choose by what was named."""
    if run is not None and config is not None:
        raise UsageError("a run has its own configuration", "--config", "leave it out, or leave --run out")
    if batch is not None and (shards is not None or step is not None):
        raise UsageError("a kept batch needs no shards and no step", "--batch", "leave these out")
    if batch is None and run is None and shards is None:
        raise UsageError("there is nothing to trace", "trace", "name shards, a run or a batch")

    from aammodel.config.toml import read_config
    from aammodel.data.remote import parse_location
    from aammodel.workflows.replay import from_batch, from_run, from_shards

    tables = read_config(config) if config else None
    if batch is not None:
        return from_batch(batch, run, tables)
    if run is not None:
        return from_run(run, parse_location(shards) if shards else None, step)
    return from_shards(parse_location(shards or ""), tables or {"model": {}, "train": {}}, step or 0)
