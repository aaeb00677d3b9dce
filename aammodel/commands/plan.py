"""`aammodel plan`: estimate the cost of a run before it begins."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aam_schemas.common.cli import print_json, say
from aammodel.commands import options

if TYPE_CHECKING:
    from aammodel.planning.cost import Estimate, Size


def plan(
    shards: options.Shards,
    config: options.Config = None,
    max_steps: options.MaxSteps = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    token_limit: options.TokenLimit = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Estimate the parameters, memory, operations, steps and time of a run on this machine.

    Nothing is written.
    """
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
    from aammodel.training.setup import make_plan, make_trainer, shortcomings

    tables = read_config(config) if config else {"train": {}, "model": {}}
    train = TrainConfig(**with_options(tables["train"], given))
    run_plan = make_plan(parse_location(shards), tables["model"], train)
    for sentence in shortcomings(run_plan):
        say(sentence)
    cost = estimate(make_trainer(run_plan, Path("run"), resume=False))
    if json:
        print_json(_document(cost))
    else:
        _print(cost)


def _document(cost: "Estimate") -> dict[str, Any]:
    """Return an estimate as `--json` prints it, with the time of each size."""
    from dataclasses import asdict

    growth = [asdict(size) | {"seconds": cost.seconds_at(size)} for size in cost.growth]
    return asdict(cost) | {"seconds": cost.seconds, "growth": growth}


def _print(cost: "Estimate") -> None:
    from aammodel.training.console import duration

    size = cost.size
    print(f"parameters    {size.parameters:,}")
    print(f"steps         {cost.num_steps:,}, over {cost.num_samples:,} training samples")
    print(f"operations    {_format_operations(size.operations)} per step")
    print(
        f"memory        {size.memory_bytes / 1e9:.2f} GB for weights and activations; "
        f"peak on this {cost.device}: {cost.peak_bytes / 1e9:.2f} GB"
    )
    print(
        f"time          {cost.seconds_per_step:.2f} s per step and {cost.data_seconds_per_step:.3f} s for "
        f"its batches; {cost.num_validations:,} validations of {cost.seconds_per_validation:.1f} s"
    )
    print(f"total         {duration(cost.seconds)}, unless validation stops the run early\n")
    print("token limit   width   parameters   operations/step     memory, GB   time")
    for other in cost.growth:
        print(_row(cost, other))
    print("\nTimes of other sizes assume that time is proportional to operations. They are rough estimates.")


def _row(cost: "Estimate", size: "Size") -> str:
    from aammodel.training.console import duration

    return (
        f"{size.token_limit:11,} {size.width:7,} {size.parameters:12,} "
        f"{_format_operations(size.operations):>17} "
        f"{size.memory_bytes / 1e9:14.2f}   {duration(cost.seconds_at(size))}"
    )


def _format_operations(number: float) -> str:
    """Return a number of operations with three digits and a unit, such as 1.23 GFLOP."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 1000:
            return f"{number:.3g} {prefix}FLOP"
        number /= 1000
    return f"{number:.3g} PFLOP"
