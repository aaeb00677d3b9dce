"""Embed samples and ASVs, with names and metadata: what `aammodel embed` writes and `Model.embed` returns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.shards import ASVS_FILE, SPLITS
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import METRICS
from aammodel.evaluation.distances import predicted_matrix
from aammodel.evaluation.embed import (
    ASVS_AT_ONCE,
    AsvCache,
    Embeddings,
    asv_embeddings,
    asvs_of,
    filled_splits,
    sample_embeddings,
    samples_in_order,
)
from aammodel.labels.metadata import Metadata
from aammodel.nn.model import AamModel
from aammodel.workflows.embedding_files import check_embedding_file, table_of, write_rows
from aammodel.workflows.fit import Fit
from aammodel.workflows.labels import metadata_of

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from matplotlib.figure import Figure

Frame = Literal["pandas", "polars"]
MOST_PLOTTED = 2000
"""Largest number of samples in a plot. The matrix of their distances takes 32 MB."""


class EmbeddingTable(ABC):
    """Embeddings with a name for each row, which become a data frame or a file."""

    provenance: dict[str, Any]
    """Model, data and versions, as they are stored in files."""

    @abstractmethod
    def table(self) -> pa.Table:
        """Return the embeddings as an Arrow table. The first column has the ids of the rows."""

    def frame(self, library: Frame = "pandas") -> "pd.DataFrame | pl.DataFrame":
        """Return the columns of `table` as a data frame.

        Parameters
        ----------
        library : {"pandas", "polars"}
            In pandas, the ids are the index. In polars, they are the first column.
        """
        table = self.table()
        return _frame(table, table.column_names[:1], library)

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the embeddings as Parquet or text, as the suffix says: `.parquet` or `.tsv`.

        Raises
        ------
        UsageError
            If the file exists and is not to be replaced, or cannot be written.
        """
        _write(Path(path), self.table(), self.provenance, overwrite)


@dataclass(frozen=True)
class EmbeddedSamples(EmbeddingTable, Embeddings):
    """Embeddings of samples, in the order of the table or shards, with what is known of the samples."""

    splits: tuple[str, ...]
    """Split of each sample."""
    metadata: Metadata
    """Metadata of the samples, in the same order."""
    fit: Fit
    """How the samples differ from those that the model was trained on."""
    model: AamModel
    provenance: dict[str, Any]
    """Model, data and versions, as they are stored in files."""

    def table(self) -> pa.Table:
        """Return the embeddings as an Arrow table: `sample_id`, then a column per dimension."""
        return table_of({"sample_id": self.sample_ids}, self.embedding)

    def plot(self, color_by: str | None = None) -> "Figure":
        """Draw the samples: PCA of the embedding, and PCoA of the predicted distances.

        Parameters
        ----------
        color_by : str, optional
            Metadata column. Numbers are drawn with a color scale, and text with a color per value.

        Returns
        -------
        matplotlib.figure.Figure
            Of `MOST_PLOTTED` samples at most, evenly spaced.

        Raises
        ------
        UsageError
            If there is no such column, or `embed` was called with `with_features=False`.
        """
        from aammodel.reports.ordination import draw_ordinations, pca, pcoa

        if not self.distance_features.shape[1]:
            raise UsageError(
                "there are no distance features", "with_features", "embed with with_features=True"
            )
        values = None if color_by is None else self.metadata.column(color_by, "--color-by").values
        rows = np.linspace(0, len(self.sample_ids) - 1, min(len(self.sample_ids), MOST_PLOTTED)).astype(int)
        some = self.in_order([self.sample_ids[row] for row in rows])
        target = self.model.config.targets[0]
        words = METRICS[target].words if target in METRICS else target
        number = f"{len(rows):,} samples"
        if len(rows) < len(self.sample_ids):
            number = f"{len(rows):,} of {len(self.sample_ids):,} samples"
        found = [
            pca(some.embedding, f"embedding: {number}"),
            pcoa(predicted_matrix(self.model, some, target), f"predicted {words}"),
        ]
        return draw_ordinations(found, None if values is None else values[rows], color_by or "")


@dataclass(frozen=True)
class EmbeddedAsvs(EmbeddingTable):
    """Embeddings of ASVs, each on its own: they are the same in every sample."""

    asv_ids: tuple[str, ...]
    sequences: tuple[str, ...]
    embedding: npt.NDArray[np.float32]
    """Shape (ASVs, D)."""
    provenance: dict[str, Any]
    """Model, data and versions, as they are stored in files."""

    def table(self) -> pa.Table:
        """Return the embeddings as an Arrow table: `asv_id`, `sequence`, then a column per dimension."""
        return table_of({"asv_id": self.asv_ids, "sequence": self.sequences}, self.embedding)


@dataclass(frozen=True)
class ToEmbed:
    """Samples that a model is to embed, and their ASVs."""

    model: AamModel
    shards: ShardSet
    split: str | None
    """Split of the samples; None for all."""
    token_limit: int
    """Largest number of ASVs per sample that the model sees."""
    fit: Fit
    provenance: dict[str, Any]
    table_ids: tuple[str, ...] | None = None
    """Ids of the samples of a table, whose order the embeddings have. None if shards were given."""

    def __post_init__(self) -> None:
        if self.split not in (None, *SPLITS):
            raise UsageError(
                f"there is no split {self.split!r}", "--split", f"choose among: {', '.join(SPLITS)}"
            )
        if not self.splits:
            what = "there is no sample" if self.split is None else f"there is no {self.split} sample"
            raise InvalidDataError(what, self.provenance["data"], "choose another --split, or other samples")

    @property
    def splits(self) -> list[str]:
        """The splits of the samples, in the order of the shards."""
        return filled_splits(self.shards, self.split)

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the samples, in the order of the shards."""
        batches = samples_in_order(self.shards, self.splits)
        return [sample.sample_id for samples in batches for sample in samples]


def embed_samples(
    todo: ToEmbed, metadata: Path | None = None, with_features: bool = True, column: str | None = None
) -> EmbeddedSamples:
    """Embed samples.

    Parameters
    ----------
    todo : ToEmbed
    metadata : Path, optional
        Metadata in QIIME 2's format. By default those of the shards.
    with_features : bool
        Whether to keep the distance features.
    column : str, optional
        Metadata column that is needed afterwards. It is looked for before the samples are embedded.

    Raises
    ------
    UsageError
        If there is no such file of metadata, or no such column.
    InvalidDataError
        If a file is damaged, or a sample is invalid.
    """
    found_metadata = metadata_of(todo.shards, todo.sample_ids, metadata)
    if metadata is None and todo.table_ids is not None:
        # The shards of a table are temporary.
        found_metadata = replace(found_metadata, source=todo.provenance["data"])
    if column is not None:
        found_metadata.column(column, "--color-by")
    found = sample_embeddings(todo.model, todo.shards, todo.split, todo.token_limit, with_features)
    num_rows = todo.shards.manifest.num_rows
    split_of = dict(zip(found.sample_ids, (s for s in todo.splits for _ in range(num_rows(s))), strict=True))
    if todo.table_ids is not None:
        found = found.in_order([sample_id for sample_id in todo.table_ids if sample_id in split_of])
    return EmbeddedSamples(
        sample_ids=found.sample_ids,
        embedding=found.embedding,
        distance_features=found.distance_features,
        splits=tuple(split_of[sample_id] for sample_id in found.sample_ids),
        metadata=found_metadata.in_order(found.sample_ids),
        fit=todo.fit,
        model=todo.model,
        provenance=todo.provenance,
    )


def embed_asvs(todo: ToEmbed) -> EmbeddedAsvs:
    """Embed ASVs, each on its own, also those beyond the token limit.

    Without a split, these are all ASVs of the shards, in their order.

    Raises
    ------
    InvalidDataError
        If a file is damaged.
    """
    is_used = asvs_of_split(todo)
    ids: list[str] = []
    sequences: list[str] = []
    embedding = np.empty((int(is_used.sum()), todo.model.config.width), dtype=np.float32)
    first = 0
    for group_ids, group_sequences, tokens in todo.shards.asv_groups():
        rows = np.flatnonzero(is_used[first : first + len(tokens)])
        first += len(tokens)
        for start in range(0, len(rows), ASVS_AT_ONCE):
            chunk = rows[start : start + ASVS_AT_ONCE]
            embedding[len(ids) : len(ids) + len(chunk)] = asv_embeddings(todo.model, tokens[chunk])
            ids += [group_ids[row] for row in chunk]
            sequences += [group_sequences[row] for row in chunk]
    return EmbeddedAsvs(tuple(ids), tuple(sequences), embedding, todo.provenance)


def asvs_of_split(todo: ToEmbed) -> npt.NDArray[np.bool_]:
    """Return which ASVs of asvs.parquet are embedded."""
    is_used = np.full(todo.shards.manifest.num_asvs, todo.split is None)
    if todo.split is not None:
        for samples in samples_in_order(todo.shards, todo.splits, ("dropped_asv",)):
            for sample in samples:
                is_used[sample.asv] = is_used[sample.dropped_asv] = True
    return is_used


def asvs_in_samples(todo: ToEmbed) -> Iterator[pa.Table]:
    """Yield the embeddings of the ASVs of each sample in the context of the sample.

    Yields
    ------
    pyarrow.Table
        Rows of a few samples: `sample_id`, `asv_id`, `count`, then a column per dimension. The ASVs of a
        sample are in its order of selection.

    Raises
    ------
    InvalidDataError
        If a file is damaged, or a sample is invalid.
    """
    shards, limit = todo.shards, todo.token_limit
    cache = AsvCache(todo.model, shards, asvs_of(shards, todo.splits, limit))
    with shards.open(ASVS_FILE) as file:
        asv_ids = file.read(["asv_id"])["asv_id"].combine_chunks()
    for samples in samples_in_order(shards, todo.splits):
        kept = [sample.asv[:limit] for sample in samples]
        names = np.array([sample.sample_id for sample in samples], dtype=object)
        columns = {
            "sample_id": np.repeat(names, list(map(len, kept))),
            "asv_id": asv_ids.take(pa.array(np.concatenate(kept))),
            "count": np.concatenate([sample.count[:limit] for sample in samples]),
        }
        yield table_of(columns, cache.embed_in_samples(samples, limit))


def provenance_of(model: Path, data: str) -> dict[str, Any]:
    """Return what a file of embeddings tells about its origin."""
    tools = ("aamprep", "torch", "numpy")
    return {"model": str(model), "data": data, "versions": {tool: version(tool) for tool in tools}}


def _write(path: Path, table: pa.Table, provenance: dict[str, Any], overwrite: bool) -> None:
    check_embedding_file(path, overwrite, ())
    write_rows(path, [table], provenance)


def _frame(table: pa.Table, index: list[str], library: Frame) -> "pd.DataFrame | pl.DataFrame":
    if library == "pandas":
        return table.to_pandas().set_index(index)
    if library == "polars":
        import polars as pl

        return pl.from_arrow(table)
    raise UsageError(f"there is no library {library!r} of data frames", "library", "choose pandas or polars")
