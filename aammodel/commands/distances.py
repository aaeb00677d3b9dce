"""`aammodel distances`: write the exact distances between the samples of a shard set."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say
from aam_schemas.common.errors import UsageError
from aammodel.commands import options

FAITH_PD = "faith_pd"


def distances(
    shards: options.Shards,
    output: Annotated[
        Path,
        typer.Option(help="Output file: .tsv (scikit-bio, QIIME 2), .h5 (unifrac-binaries) or .npy."),
    ],
    metric: Annotated[
        str,
        typer.Option(help="Distance, as for --target of pretrain, or faith_pd (one value per sample)."),
    ] = "unweighted_unifrac",
    split: Annotated[
        str | None, typer.Option(help="Use only this split: train, validation or test. Default: all.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Compute with torch on this device, as cpu or cuda. Default: numpy.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file, and the ids beside a .npy file.")
    ] = False,
) -> None:
    """Write the exact distances between all samples of a shard set.

    The matrix is computed in blocks, so little memory is needed even for many samples.
    """
    from aammodel.distances.metrics import METRICS

    if metric not in METRICS and metric != FAITH_PD:
        known = ", ".join([*METRICS, FAITH_PD])
        raise UsageError(f"there is no metric {metric!r}", "--metric", f"choose among: {known}")
    from aammodel.workflows.matrix_checks import check_output, check_suffix

    check_output(output, overwrite, Path(shards))
    if metric != FAITH_PD:
        check_suffix(output)

    # The options are checked before these imports, which take longer.
    from aammodel.data.remote import parse_location
    from aammodel.data.shards import open_shards
    from aammodel.workflows.distance_matrix import all_pairs, faith_pd
    from aammodel.workflows.matrix_files import published_matrix, write_per_sample

    opened = open_shards(parse_location(shards))
    if metric == FAITH_PD:
        sample_ids, values = faith_pd(opened, split)
        write_per_sample(output, sample_ids, metric, values)
    else:
        pairs = all_pairs(opened, metric, split, device)
        sample_ids, has_distance = pairs.samples()
        # The matrix of a large study does not fit into memory.
        with published_matrix(output, sample_ids) as matrix:
            pairs.fill(matrix, has_distance, _Progress())
    print(f"{len(sample_ids):,} samples: {output}")


class _Progress:
    """Shows a progress bar in a terminal, and a line at each tenth elsewhere."""

    def __init__(self) -> None:
        from rich.progress import Progress

        from aam_schemas.common.terminal import plain_console

        self._bar = (
            Progress(console=plain_console(stderr=True), transient=True) if sys.stderr.isatty() else None
        )
        self._task = self._bar.add_task("distances", total=1.0) if self._bar else None
        self._tenths = 0

    def __call__(self, fraction: float) -> None:
        """Show the fraction of the pairs that is done."""
        if self._bar is not None and self._task is not None:
            self._bar.start()
            self._bar.update(self._task, completed=fraction)
            if fraction >= 1:
                self._bar.stop()
        elif int(fraction * 10) > self._tenths:
            self._tenths = int(fraction * 10)
            say(f"{self._tenths * 10} % of the pairs")
