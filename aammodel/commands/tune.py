"""`aammodel tune`: find a learning rate and a batch size for these shards and this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aam_schemas.common.cli import print_json, say
from aam_schemas.common.errors import UsageError
from aammodel.commands import options

if TYPE_CHECKING:
    from aam_schemas.common.folders import FolderKind
    from aam_schemas.common.publish import OutputFolder
    from aammodel.planning.tune import BatchTrial, Curve
    from aammodel.training.setup import Plan

_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_DEFAULT_FRACTION = 0.8
"""Fraction of the memory of the machine or GPU that a step may use if no budget is given."""


def tune(
    shards: options.Shards,
    output: Annotated[Path, typer.Option(help="Output folder for the plot and the figures.")] = Path("tune"),
    config: options.Config = None,
    steps: Annotated[
        int, typer.Option(min=10, help="Number of learning rates to test, one step each.")
    ] = 100,
    memory: Annotated[
        str | None, typer.Option(help="Memory that a step may use, such as 8GB. Default: 80 % of all.")
    ] = None,
    device: options.Device = None,
    json: options.Json = False,
    overwrite: options.OverwriteFolder = False,
) -> None:
    """Find a learning rate, with a range test, and the largest batch that fits into memory."""
    budget = _bytes(memory) if memory is not None else None
    from aam_schemas.common.publish import OutputFolder, check_target

    target = OutputFolder(output, _tuning(), overwrite, (Path(shards), *([config] if config else [])))
    check_target(target)
    from aammodel.config.toml import read_config
    from aammodel.config.train import TrainConfig
    from aammodel.data.remote import parse_location
    from aammodel.nn.sizes import total_bytes
    from aammodel.planning.tune import BatchTrial, largest_that_fits, range_test
    from aammodel.training.device import pick_device
    from aammodel.training.setup import make_plan, make_trainer, shortcomings

    tables = read_config(config) if config else {"train": {}, "model": {}}
    train = TrainConfig(**(tables["train"] | ({"device": device} if device else {})))
    plan = make_plan(parse_location(shards), tables["model"], train)
    for sentence in shortcomings(plan):
        say(sentence)
    say(f"testing learning rates: {steps} steps of {train.batch_size * train.accumulate} samples")
    curve = range_test(make_trainer(plan, output, resume=False), steps)
    if not curve.losses:
        raise UsageError(
            "the loss is non-finite even at the lowest learning rate",
            shards,
            "see in which module it becomes so: `aammodel trace`, with the same shards and --config",
        )
    trial = BatchTrial(plan, budget or _DEFAULT_FRACTION * total_bytes(pick_device(train.device)))
    say("testing batch sizes: one step each, with the largest samples")
    num_samples = plan.shards.manifest.num_rows("train")
    largest = largest_that_fits(trial.fits, num_samples)
    document = _document(curve, trial, largest)
    _write(plan, curve, document, target)
    print_json(document) if json else _print(plan, document, output)


def _bytes(text: str) -> float:
    """Return the number of bytes of `8GB` or `500M`. A number without a unit is refused as ambiguous."""
    number = text.strip().lower().removesuffix("b").strip()
    try:
        size = float(number[:-1]) * _UNITS[number[-1:]]
    except (ValueError, KeyError):
        size = 0.0
    if not 0 < size < float("inf"):
        raise UsageError(f"invalid amount of memory: {text!r}", "--memory", "write it as 8GB or 500MB")
    return size


def _document(curve: "Curve", trial: "BatchTrial", largest: int) -> dict[str, Any]:
    return {
        "learning_rate": curve.suggested,
        "largest_batch_size": largest,
        "memory_budget_bytes": round(trial.budget_bytes),
        "peak_bytes": {str(size): peak for size, peak in sorted(trial.peaks.items())},
        "rates": curve.rates,
        "losses": curve.losses,
    }


def _tuning() -> "FolderKind":
    from aam_schemas.common.folders import JSON, PNG, FolderKind, json_or_none

    def has_rates(folder: Path) -> bool:
        document = json_or_none(folder / "tune.json")
        return isinstance(document, dict) and {"rates", "losses", "peak_bytes"} <= document.keys()

    return FolderKind("the output of tune", has_rates, {r"tune\.json": JSON, r"learning-rate\.png": PNG})


def _write(plan: "Plan", curve: "Curve", document: dict[str, Any], target: "OutputFolder") -> None:
    from json import dumps

    from aam_schemas.common.publish import published_folder
    from aammodel.planning.tune import draw

    with published_folder(target) as folder:
        draw(curve, folder / "learning-rate.png")
        content = document | {"configuration": plan.as_dict()}
        (folder / "tune.json").write_text(
            dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def _print(plan: "Plan", document: dict[str, Any], output: Path) -> None:
    size, accumulate = plan.train.batch_size, plan.train.accumulate
    largest, budget = document["largest_batch_size"], f"{document['memory_budget_bytes'] / 1e9:.3g} GB"
    steps = f"batch_size = {size}" + (f" and accumulate = {accumulate}" if accumulate > 1 else "")
    if document["learning_rate"] < document["rates"][0]:
        print("# the loss rose from the lowest learning rates on: keep the default, or test more --steps")
    else:
        print(f"learning_rate = {document['learning_rate']:.2g}   # tested with {steps}")
    if not largest:
        peak = document["peak_bytes"].get("1")
        used = f"a step of one sample uses {peak / 1e9:.3g} GB" if peak else "no batch fits"
        print(f"# {used}, and the budget is {budget}: allow more --memory, or lower token_limit or width")
    else:
        _print_batch(plan, largest, document["peak_bytes"][str(largest)], budget)
    print(f"Plot of the losses: {output}/learning-rate.png. Copy these lines to [train] of a --config file.")


def _print_batch(plan: "Plan", largest: int, peak: int, budget: str) -> None:
    size, used = plan.train.batch_size, f"a step uses {peak / 1e9:.3g} GB of {budget}"
    if largest < min(size, plan.shards.manifest.num_rows("train")):
        print(f"batch_size = {largest}   # {size} do not fit; {used}. Run tune again with it")
        return
    reason = "all training samples" if largest == plan.shards.manifest.num_rows("train") else "the largest"
    print(f"# batch_size up to {largest} fits ({reason}): {used}. With another batch_size, run tune again")
