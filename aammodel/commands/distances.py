"""`aammodel distances`: the exact distances of a shard set's samples, as a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say
from aam_schemas.common.errors import UsageError

FAITH_PD = "faith_pd"


def distances(
    shards: Annotated[str, typer.Argument(help="Folder that `aamprep shard` wrote, or its URL.")],
    output: Annotated[
        Path,
        typer.Option(help="File to write: .tsv (scikit-bio, QIIME 2), .h5 (unifrac-binaries) or .npy."),
    ],
    metric: Annotated[
        str, typer.Option(help="As --target of pretrain; or faith_pd, one number per sample.")
    ] = "unweighted_unifrac",
    split: Annotated[str | None, typer.Option(help="Of this split alone. Default: all samples.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Compute by torch on cpu, cuda ... Default: by numpy.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file, and the ids beside .npy.")
    ] = False,
) -> None:
    """Write the distances of all pairs of samples, exact, from shards, in little memory."""
    from aammodel.distances.metrics import METRICS

    if metric not in METRICS and metric != FAITH_PD:
        known = ", ".join([*METRICS, FAITH_PD])
        raise UsageError(f"there is no metric {metric!r}", "--metric", f"choose among: {known}")
    from aammodel.workflows.matrix_files import check_output, check_suffix

    check_output(output, overwrite)

    from aammodel.data.remote import parse_location
    from aammodel.data.shards import open_shards
    from aammodel.workflows.distance_matrix import all_pairs, faith_pd
    from aammodel.workflows.matrix_files import matrix_on_disk, write_matrix, write_per_sample

    opened = open_shards(parse_location(shards))
    if metric == FAITH_PD:
        sample_ids, values = faith_pd(opened, split)
        write_per_sample(output, sample_ids, metric, values)
    else:
        pairs = all_pairs(opened, metric, split, device)
        sample_ids = pairs.sample_ids()
        check_suffix(output)
        with matrix_on_disk(output, len(sample_ids)) as matrix:
            pairs.fill(matrix, _Progress())
            write_matrix(output, sample_ids, matrix)
    print(f"{len(sample_ids):,} samples: {output}")


class _Progress:
    """A bar in a terminal, else a line at each tenth."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True) if sys.stderr.isatty() else None
        self._task = self._bar.add_task("distances", total=1.0) if self._bar else None
        self._tenths = 0

    def __call__(self, share: float) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.start()
            self._bar.update(self._task, completed=share)
            if share >= 1:
                self._bar.stop()
        elif int(share * 10) > self._tenths:
            self._tenths = int(share * 10)
            say(f"{self._tenths * 10} % of the pairs")
