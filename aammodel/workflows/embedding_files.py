"""Write embeddings as Parquet or as tab-separated text, one row per sample or ASV, and recognize such files.

The columns with names come first, then `aam_0`, `aam_1` and so on, float32. Text has as many digits as give
the same float32 back. In text, ids with quotes are quoted as pandas, R, QIIME 2 and spreadsheets read them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.common.errors import UsageError
from aam_schemas.common.folders import HDF5, PARQUET, PNG
from aam_schemas.common.html import png
from aam_schemas.common.ids import lost_in_text
from aam_schemas.common.publish import published_file, replace_file
from aam_schemas.common.tsv import write_tsv
from aammodel.workflows.output_file import check_output_file, start_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE_SUFFIXES = (".parquet", ".tsv")
ANNDATA_SUFFIX = ".h5ad"
ROWS_PER_GROUP = 4096
"""Rows of a row group of a Parquet file."""
_KEY = b"aam"
"""Key in the footer of a Parquet file. Its value is JSON: model, command, versions."""
_SOFTWARE = "aammodel embed"
_HEADER = re.compile(rb"(sample_id|asv_id\tsequence|sample_id\tasv_id\tcount)\taam_0[\t\n]")


def check_embedding_file(
    path: Path, overwrite: bool, inputs: Iterable[Path], suffixes: tuple[str, ...] = TABLE_SUFFIXES
) -> None:
    """Refuse an output for embeddings that has an unknown suffix or may not be written.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Whether a file of embeddings may be replaced.
    inputs : iterable of Path
        Files and folders that are read.
    suffixes : tuple of str
        Suffixes of the formats that can hold the embeddings.

    Raises
    ------
    UsageError
        Also if the format is AnnData, and anndata is not installed.
    """
    if path.suffix not in suffixes:
        names = ", ".join(f"embedding{suffix}" for suffix in suffixes)
        raise UsageError(
            f"the suffix {path.suffix!r} is not a format of these embeddings",
            str(path),
            f"choose among the names {names}",
        )
    if path.suffix == ANNDATA_SUFFIX:
        require_anndata(str(path))
    check_output_file(path, overwrite, inputs, holds_embeddings, "aammodel embed")


def check_plot_file(path: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Refuse a plot of embeddings that may not be written, as `check_embedding_file` does."""
    check_output_file(path, overwrite, inputs, _is_plot, "aammodel embed")


def _is_plot(path: Path) -> bool:
    start = start_of(path)
    return start.startswith(PNG) and b"Software\0" + _SOFTWARE.encode() in start


def write_plot(path: Path, figure: "Figure") -> None:
    """Write a plot as PNG, in which `check_plot_file` recognizes it.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    replace_file(path, png(figure, _SOFTWARE))


def holds_embeddings(path: Path) -> bool:
    """Return whether a regular file holds embeddings, in the format that its suffix says."""
    start = start_of(path)
    if path.suffix == ".tsv":
        return _HEADER.match(start) is not None
    if path.suffix == ANNDATA_SUFFIX:
        return start.startswith(HDF5) and _has_samples(path)
    if not start.startswith(PARQUET):
        return False
    try:
        metadata = pq.read_schema(path).metadata
    except (OSError, pa.ArrowException):
        return False
    return metadata is not None and _KEY in metadata


def _has_samples(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            return "obsm/X_aam" in file
    except (OSError, KeyError):
        return False


def require_anndata(where: str) -> None:
    """Raise an error if anndata is not installed.

    Raises
    ------
    UsageError
    """
    if find_spec("anndata") is None:
        raise UsageError(
            "this needs the package anndata, which is not installed",
            where,
            "install it with `pip install anndata`, or write .parquet or .tsv",
        )


def table_of(columns: Mapping[str, Any], embedding: npt.NDArray[np.float32]) -> pa.Table:
    """Return named columns, then a column of float32 for each dimension.

    Parameters
    ----------
    columns : mapping of str to sequence
    embedding : ndarray of float32, shape (rows, D)
    """
    text = {
        name: pa.array(values, None if name == "count" else pa.string()) for name, values in columns.items()
    }
    numbers = {
        f"aam_{index}": pa.array(column) for index, column in enumerate(np.ascontiguousarray(embedding.T))
    }
    return pa.table({**text, **numbers})


def write_rows(path: Path, tables: Iterable[pa.Table], provenance: Mapping[str, Any]) -> int:
    """Write tables with the same columns, one after another, and publish the file when it is whole.

    Parameters
    ----------
    path : Path
        Its suffix is one of `TABLE_SUFFIXES`.
    tables : iterable of pyarrow.Table
        At least one. Only one is in memory at a time.
    provenance : mapping
        Stored in the footer of a Parquet file.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    UsageError
        If the file cannot be written, or text cannot hold an id.
    """
    remaining = iter(tables)
    first = next(remaining)
    everything = chain([first], remaining)
    with published_file(path) as temporary:
        if path.suffix == ".tsv":
            return _write_text(temporary, first.schema.names, everything, str(path))
        return _write_parquet(temporary, first.schema, everything, provenance)


def _write_parquet(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], provenance: Mapping[str, Any]
) -> int:
    number, text = 0, json.dumps(provenance, ensure_ascii=False, allow_nan=False)
    with pq.ParquetWriter(path, schema.with_metadata({_KEY: text.encode()}), compression="zstd") as parquet:
        for table in tables:
            parquet.write_table(table, ROWS_PER_GROUP)
            number += len(table)
    return number


def _write_text(path: Path, names: list[str], tables: Iterable[pa.Table], where: str) -> int:
    number = 0

    def rows() -> Iterator[tuple[str, ...]]:
        nonlocal number
        for table in tables:
            number += len(table)
            yield from _cells(table, where)

    write_tsv(path, names, rows())
    return number


def _cells(table: pa.Table, where: str) -> Iterator[tuple[str, ...]]:
    columns = []
    for column in table.columns:
        if pa.types.is_string(column.type):
            columns.append(column.to_pylist())
            lost = lost_in_text(columns[-1])
            if lost:
                raise UsageError(f"{lost}, so it would not be read back", where, "write .parquet")
        else:
            # `str` writes a number of float32 or float64 with as many digits as its type needs.
            columns.append(list(map(str, column.to_numpy())))
    return zip(*columns, strict=True)
