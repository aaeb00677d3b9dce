"""Accept Python objects in place of files. Each object is written to a file, then read and checked as one.

So objects and files share all readers and rules. An object is recognized by the names of its class and
package, so that no package needs to be imported.
"""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import h5py
import numpy as np

from aam_schemas.common.errors import UsageError
from aam_schemas.common.ids import has_control, without_control
from aam_schemas.common.temporary import temporary_folder
from aam_schemas.common.text import shorten
from aamprep.counts import KINDS, Counts, counts_of, is_instance
from aamprep.errors import ParameterError
from aamprep.read.biom.write import NO_TABLE_ID, write_biom
from aamprep.read.metadata import is_code, is_id_header
from aamprep.read.source import InputPath, ObjectFile
from aamprep.study.study import Paths
from aamprep.tree.midpoint import Rooted, to_newick

if TYPE_CHECKING:
    import biom
    import pandas as pd
    import polars as pl
    import skbio

TableLike: TypeAlias = "str | os.PathLike[str] | biom.Table | pd.DataFrame | pl.DataFrame | Any"
TablesLike: TypeAlias = "TableLike | list[TableLike] | tuple[TableLike, ...]"
TreeLike: TypeAlias = "str | os.PathLike[str] | skbio.TreeNode"
MetadataLike: TypeAlias = "str | os.PathLike[str] | pd.DataFrame | pl.DataFrame"
TextsLike: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | pd.Series[Any]"
DistancesLike: TypeAlias = "str | os.PathLike[str] | skbio.DistanceMatrix"


@dataclass(frozen=True)
class _Kind:
    """Class of objects that is accepted in place of a file, and the function that writes it."""

    package: str
    name: str
    suffix: str
    write: Callable[[Any, Path], None]

    def fits(self, value: object) -> bool:
        """Return whether a value is an instance of the class."""
        return is_instance(value, self.package, self.name)

    def __str__(self) -> str:
        """Return the name that is shown in findings and in the manifest."""
        return self.name if self.package == "builtins" else f"{self.package}.{self.name}"


def given_paths(*values: object) -> tuple[Path, ...]:
    """Return the values that are paths, those within lists included. They are the inputs on disk."""
    each = chain.from_iterable(value if isinstance(value, list | tuple) else [value] for value in values)
    return tuple(Path(value) for value in each if isinstance(value, str | os.PathLike))


@contextmanager
def as_files(tables: TablesLike, **beside: object) -> Iterator[Paths]:
    """Write every object to a temporary file, which exists as long as the block runs.

    Parameters
    ----------
    tables : path, object as in `aamprep.counts.counts_of`, or list of them
    **beside : object
        Values of `tree`, `rep_seqs`, `metadata`, `taxonomy` and `distances`. None stands for no file.

    Yields
    ------
    Paths
        Given paths unchanged, and the temporary files of objects.

    Raises
    ------
    UsageError
        If a path does not exist, or the class of an object is not supported.
    """
    given = list(tables) if isinstance(tables, list | tuple) else [tables]
    if not given:
        raise ParameterError("there is no table", "tables", "give at least one table")
    with temporary_folder() as folder:
        read = [_path_or_counts(table) for table in given]
        if beside.get("rep_seqs") is None:
            beside = {**beside, "rep_seqs": _sequences(read)}
        yield Paths(
            tables=[
                counts if isinstance(counts, Path) else _write_table(table, counts, folder, number)
                for number, (table, counts) in enumerate(zip(given, read, strict=True), 1)
            ],
            **{
                role: None if value is None else _file(value, role, folder, role)
                for role, value in beside.items()
            },
        )


@contextmanager
def as_file(value: object, role: str) -> Iterator[InputPath | None]:
    """Write one object to a temporary file and yield its path. Yield a given path or None unchanged."""
    with temporary_folder() as folder:
        yield None if value is None else _file(value, role, folder, role)


def _path_or_counts(table: object) -> Path | Counts:
    if isinstance(table, str | os.PathLike):
        return _existing(Path(table), "tables")
    counts = counts_of(table)
    if counts is None:
        raise _unknown_class(table, "tables", KINDS)
    return counts


def _sequences(tables: list[Path | Counts]) -> dict[str, str] | None:
    """Return the sequences that objects have beside the names of their ASVs. None if no object has any."""
    sequences: dict[str, str] = {}
    given = (table.sequences for table in tables if isinstance(table, Counts) and table.sequences)
    for name, sequence in chain.from_iterable(each.items() for each in given):
        if sequences.setdefault(name, sequence) != sequence:
            what = f"the ASV {name!r} has another sequence in another table"
            raise ParameterError(what, "tables", "shard each table by itself, then use `aamprep.merge`")
    return sequences or None


def _write_table(table: Any, counts: Counts, folder: Path, number: int) -> ObjectFile:
    """Write the counts of a table. Findings name the table by its class and id, or its number."""
    path = folder / f"table-{number}.biom"
    write_biom(path, counts.names, counts.feature_ids, counts.matrix)
    table_id = without_control(str(getattr(table, "table_id", None) or ""))
    # biom-format writes this text for a table without an id.
    if table_id == NO_TABLE_ID:
        table_id = ""
    label = table_id or (str(number) if number > 1 else "")
    name = f"<{counts.kind} {label}>" if label else f"<{counts.kind}>"
    study = table_id or (f"study-{number}" if number > 1 else "study")
    return ObjectFile(path, name, study)


def _file(value: object, role: str, folder: Path, stem: str) -> InputPath:
    if isinstance(value, str | os.PathLike):
        return _existing(Path(value), role)
    for kind in _KINDS[role]:
        if kind.fits(value):
            file = ObjectFile(folder / f"{stem}{kind.suffix}", f"<{kind}>")
            kind.write(value, file.path)
            return file
    raise _unknown_class(value, role, map(str, _KINDS[role]))


def _unknown_class(value: object, role: str, known: Iterable[str]) -> ParameterError:
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    fix = f"give a path or a {' or '.join(known)}"
    return ParameterError(f"an object of class {name} cannot be read", role, fix)


def _existing(path: Path, role: str) -> Path:
    if path.exists():
        return path
    if role == "tables":
        raise UsageError("there is no such file", str(path), "check the path")
    raise ParameterError("there is no such file", role, "check the path", str(path))


def _write_tree(tree: "skbio.TreeNode", path: Path) -> None:
    nodes = list(tree.postorder(include_self=True))
    number = {id(node): index for index, node in enumerate(nodes)}
    parent = [number[id(node.parent)] for node in nodes[:-1]]
    length = [np.nan if node.length is None else float(node.length) for node in nodes]
    names = tuple(node.name or "" for node in nodes)
    path.write_text(to_newick(Rooted(np.array([*parent, -1]), np.array(length), names)), encoding="utf-8")


def _write_distances(distances: "skbio.DistanceMatrix", path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["order"] = np.array([name.encode() for name in distances.ids])
        file["matrix"] = np.asarray(distances.redundant_form(), dtype=np.float64)


def _write_sequences(sequences: Mapping[str, Any], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for name, sequence in sequences.items():
            if str(name).split() != [str(name)]:
                what = f"the id {name!r} contains a blank, which ends an id in FASTA"
                raise ParameterError(what, "rep_seqs", "use feature ids without blanks")
            file.write(f">{name}\n{''.join(str(sequence).split())}\n")


def _write_taxonomy(taxonomy: Mapping[str, Any], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("Feature ID\tTaxon\n")
        for name, taxon in taxonomy.items():
            if has_control(str(name)):
                what = f"the id {name!r} contains a tab, a line end or another control character"
                raise ParameterError(what, "taxonomy", "rename the feature")
            text = "" if _is_missing(taxon) else re.sub("[\t\r\n]+", " ", str(taxon))
            file.write(f"{name}\t{text}\n")


def _write_pandas(frame: "pd.DataFrame", path: Path) -> None:
    names = [str(name) for name in frame.columns]
    columns = [frame.iloc[:, index] for index in range(len(names))]
    ids: Any = frame.index
    # A RangeIndex only counts the rows. If a column has the ids, use it instead.
    position = _id_column(names) if type(ids).__name__ == "RangeIndex" else None
    if position is not None:
        ids = columns.pop(position)
        names.pop(position)
    if getattr(ids.dtype, "kind", "O") == "f":
        what = "the sample ids are floating-point numbers, so digits may be lost"
        raise ParameterError(what, "metadata", "read the ids as text, for example with dtype=str")
    kinds = [getattr(column.dtype, "kind", "O") in "iuf" for column in columns]
    _write_metadata(path, ids.tolist(), names, [column.tolist() for column in columns], kinds)


def _write_polars(frame: "pl.DataFrame", path: Path) -> None:
    names = list(frame.columns)
    position = _id_column(names) or 0
    columns = [frame.to_series(index) for index in range(len(names))]
    ids = columns.pop(position)
    names.pop(position)
    kinds = [column.dtype.is_numeric() for column in columns]
    _write_metadata(path, ids.to_list(), names, [column.to_list() for column in columns], kinds)


def _refuse_comments(ids: Iterable[str]) -> None:
    """Refuse ids that QIIME 2's format would lose."""
    lost = next((name for name in ids if name.startswith("#")), None)
    if lost is not None:
        what = f"the sample id {shorten(repr(lost), 80)} begins with '#', which marks comments in metadata"
        fix = (
            "rename the sample, in the table, too; if the row is no sample, but a line of the file that the "
        )
        raise ParameterError(what, "metadata", f"{fix}data frame was read from, drop it")


def _write_metadata(
    path: Path, ids: list[object], names: list[str], columns: list[list[object]], is_numeric: list[bool]
) -> None:
    """Write metadata with a `#q2:types` line, so that the types of the data frame are not guessed anew."""
    _refuse_comments(map(str, ids))
    cells = [["" if _is_missing(value) else str(value) for value in column] for column in columns]
    types = [_type(numeric, column) for numeric, column in zip(is_numeric, cells, strict=True)]
    rows = ((str(name), *(column[row] for column in cells)) for row, name in enumerate(ids))
    _write_rows(path, [("sample-id", *names), ("#q2:types", *types), *rows])


def _type(is_numeric: bool, cells: list[str]) -> str:
    """Return the type to declare. The reader decides on numbers that float64 cannot hold, and notes it."""
    if not is_numeric:
        return "categorical"
    return "" if any(map(is_code, cells)) else "numeric"


def _write_rows(path: Path, rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, dialect="excel-tab", lineterminator="\n").writerows(rows)


def _id_column(names: list[str]) -> int | None:
    """Return the index of the first column with a name for sample ids, or None if there is none."""
    return next((index for index, name in enumerate(names) if is_id_header(name)), None)


def _is_missing(value: object) -> bool:
    """Return whether a value is None, NaN, NaT or pandas' NA."""
    # NaT and NA are compared as text, since comparing them as values gives NA and would need pandas.
    return value is None or str(value) in ("<NA>", "NaT") or (isinstance(value, float) and np.isnan(value))


_KINDS: dict[str, tuple[_Kind, ...]] = {
    "tree": (_Kind("skbio", "TreeNode", ".nwk", _write_tree),),
    "metadata": (
        _Kind("pandas", "DataFrame", ".tsv", _write_pandas),
        _Kind("polars", "DataFrame", ".tsv", _write_polars),
    ),
    "rep_seqs": (
        _Kind("builtins", "dict", ".fasta", _write_sequences),
        _Kind("pandas", "Series", ".fasta", _write_sequences),
    ),
    "taxonomy": (
        _Kind("builtins", "dict", ".tsv", _write_taxonomy),
        _Kind("pandas", "Series", ".tsv", _write_taxonomy),
    ),
    "distances": (_Kind("skbio", "DistanceMatrix", ".h5", _write_distances),),
}
"""Classes that each parameter accepts, in addition to paths. Those of tables are in `aamprep.counts`."""
