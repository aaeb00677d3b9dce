"""`aammodel distances`: the exact distances of a shard set's samples, as a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say
from aam_schemas.common.errors import InvalidDataError, UsageError

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

    from aam_schemas.shards import SPLITS
    from aammodel.data.remote import parse_location
    from aammodel.data.shards import open_shards
    from aammodel.distances.sparse import Arithmetic
    from aammodel.training.device import pick_device
    from aammodel.workflows.distance_matrix import AllPairs
    from aammodel.workflows.matrix_files import matrix_on_disk, write_matrix, write_per_sample

    if split not in (None, *SPLITS):
        raise UsageError(f"there is no split {split!r}", "--split", f"choose among: {', '.join(SPLITS)}")
    opened = open_shards(parse_location(shards))
    is_known = opened.has_tree if metric == FAITH_PD else METRICS[metric].is_available(opened.metric_inputs)
    if not is_known:
        raise InvalidDataError(
            f"these shards lack what {metric} is computed from",
            str(opened.folder),
            "shard the table with its tree (--tree), or its matrix (--distances)",
        )
    place = str(pick_device(device)) if device else None
    pairs = AllPairs(opened, metric, split, Arithmetic(device=place))
    if not pairs.num_samples:
        raise InvalidDataError(f"there is no {split} sample", str(opened.folder), "choose another --split")
    if metric == FAITH_PD:
        write_per_sample(output, pairs.sample_ids(), metric, pairs.faith_pd())
    else:
        check_suffix(output)
        with matrix_on_disk(output, pairs.num_samples) as matrix:
            pairs.fill(matrix, _Progress())
            write_matrix(output, pairs.sample_ids(), matrix)
    print(f"{pairs.num_samples:,} samples: {output}")


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
