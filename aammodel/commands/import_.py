"""`aammodel import`: convert a published checkpoint to a run."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say
from aam_schemas.common.errors import UsageError
from aammodel.commands import options


def import_(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of jbk708/aam (*.pt).")],
    output: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    heads: Annotated[
        int, typer.Option(help="Number of attention heads, which checkpoints do not record.")
    ] = 4,
    target: Annotated[
        str, typer.Option(metavar="METRIC", help="Distance that the model was trained on.")
    ] = "unweighted_unifrac",
    overwrite: options.OverwriteRun = False,
) -> None:
    """Convert a published jbk708/aam checkpoint to a run with identical outputs."""
    from aam_schemas.common.publish import OutputFolder, check_target
    from aammodel.runs.kinds import RUN

    check_target(OutputFolder(output, RUN, overwrite, (checkpoint,)))

    from aammodel.distances.metrics import METRICS
    from aammodel.interop.aam.convert import import_published, write_imported

    if target not in METRICS:
        raise UsageError(f"there is no metric {target!r}", "--target", f"choose among: {', '.join(METRICS)}")
    imported = import_published(checkpoint, heads, target)
    if imported.left_out:
        # A head has many tensors, so only the first part of their names is shown.
        parts = sorted({name.removeprefix("base_model.").split(".")[0] for name in imported.left_out})
        say(f"skipped, since the model has no such heads: {', '.join(parts)}")
    if not imported.guesses_bases:
        say("this checkpoint has no head for masked bases: the model predicts all bases as equally likely")
    write_imported(imported, output, overwrite)
    config = imported.model.config
    num_parameters = sum(parameter.numel() for parameter in imported.model.parameters())
    print(
        f"{num_parameters:,} parameters: width {config.width}, {config.attention_heads} heads, "
        f"{config.asv_layers} + {config.sample_layers} + {config.distance_head_layers} layers, up to "
        f"{config.sequence_length - 1} bases, vocabulary of {config.vocabulary_size}, "
        f"count embedding: {config.count_embedding}"
    )
    print(f"model: {output}/model.safetensors")
