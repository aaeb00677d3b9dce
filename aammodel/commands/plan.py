"""`aammodel plan`: what a run would cost, before it begins."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aam_schemas.common.cli import print_json

if TYPE_CHECKING:
    from aammodel.planning.cost import Estimate, Size


def plan(
    shards: Annotated[str, typer.Argument(help="Folder that `aamprep shard` wrote, or the URL of one.")],
    config: Annotated[Path | None, typer.Option(help="TOML file with [train] and [model].")] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Optimiser steps. Default: those of --epochs.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Times that every sample is seen. Default: 50.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples of a micro-batch. Default: 32.")] = None,
    token_limit: Annotated[
        int | None, typer.Option(help="Most ASVs per sample. Default: the shards'.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda ... Default: a GPU where there is one.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a run would take here: parameters, memory, operations, steps and time; nothing is written."""
    given = {
        "max_steps": max_steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "token_limit": token_limit,
        "device": device,
    }
    from aammodel.config.toml import read_config, with_options
    from aammodel.config.train import TrainConfig
    from aammodel.data.remote import parse_location
    from aammodel.planning.cost import estimate
    from aammodel.training.setup import make_plan, make_trainer

    tables = read_config(config) if config else {"train": {}, "model": {}}
    train = TrainConfig(**with_options(tables["train"], given))
    begun = make_plan(parse_location(shards), tables["model"], train)
    found = estimate(make_trainer(begun, Path("run"), resume=False))
    if json:
        print_json(_document(found))
    else:
        _print(found)


def _document(found: "Estimate") -> dict[str, Any]:
    """Give an estimate as JSON holds it, with the time of each size."""
    from dataclasses import asdict

    growth = [asdict(size) | {"seconds": found.seconds_at(size)} for size in found.growth]
    return asdict(found) | {"seconds": found.seconds, "growth": growth}


def _print(found: "Estimate") -> None:
    from aammodel.training.console import duration

    size = found.size
    print(f"parameters    {size.parameters:,}")
    print(f"steps         {found.num_steps:,}, over {found.num_samples:,} training samples")
    print(f"operations    {_short(size.operations)} a step")
    print(
        f"memory        {size.memory_bytes / 1e9:.2f} GB for weights and activations; "
        f"{found.peak_bytes / 1e9:.2f} GB at the peak on this {found.device}"
    )
    print(
        f"time          {found.seconds_per_step:.2f} s a step, {found.data_seconds_per_step:.3f} s to make "
        f"its batches; {found.num_validations:,} validations of {found.seconds_per_validation:.1f} s"
    )
    print(f"in all        {duration(found.seconds)}, if validation does not stop it early\n")
    print("token limit   width   parameters   operations a step   memory, GB   time")
    for one in found.growth:
        print(_row(found, one))
    print("\nTimes of other sizes are in proportion to their operations: take them for orders of magnitude.")


def _row(found: "Estimate", one: "Size") -> str:
    from aammodel.training.console import duration

    return (
        f"{one.token_limit:11,} {one.width:7,} {one.parameters:12,} {_short(one.operations):>19} "
        f"{one.memory_bytes / 1e9:12.2f}   {duration(found.seconds_at(one))}"
    )


def _short(number: float) -> str:
    """Write a large number with the prefix that people use for operations."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 1000:
            return f"{number:.3g} {prefix}FLOP"
        number /= 1000
    return f"{number:.3g} PFLOP"
