"""Load what a file holds, as the data class of its role, from the folder that `aamprep.read.roles` wrote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aam_schemas.manifest import InputFile
from aamprep.read.biom.spool import load
from aamprep.read.content import load_texts, map_array
from aamprep.read.types import CountTable, Distances, Metadata, Sequences, Taxonomy, Tree


def load_table(folder: Path, file: InputFile, study: str) -> CountTable:
    """Return a feature table. Its arrays are mapped into memory."""
    return CountTable(source=file, study=study, **load(folder))


def load_product(folder: Path, file: InputFile) -> Any:
    """Return the content of any other file, as the data class of its role."""
    return _LOADERS[file.role](folder, file)


def _sequences(folder: Path, file: InputFile) -> Sequences:
    return Sequences(file, _mapping(folder, "sequence"))


def _tree(folder: Path, file: InputFile) -> Tree:
    parent, length = (np.load(folder / f"{name}.npy") for name in ("parent", "length"))
    return Tree(file, parent, length, tuple(load_texts(folder, "name")))


def _metadata(folder: Path, file: InputFile) -> Metadata:
    ids, names, cells = (load_texts(folder, name) for name in ("id", "column", "cell"))
    starts = (number * len(ids) for number in range(len(names)))
    columns = [tuple(cells[start : start + len(ids)]) for start in starts]
    types = load_texts(folder, "type")
    return Metadata(
        file, tuple(ids), dict(zip(names, columns, strict=True)), dict(zip(names, types, strict=True))
    )


def _distances(folder: Path, file: InputFile) -> Distances:
    return Distances(file, tuple(load_texts(folder, "id")), np.asarray(map_array(folder / "matrix.npy")))


def _taxonomy(folder: Path, file: InputFile) -> Taxonomy:
    return Taxonomy(file, _mapping(folder, "taxon"))


def _mapping(folder: Path, values: str) -> dict[str, str]:
    return dict(zip(load_texts(folder, "id"), load_texts(folder, values), strict=True))


_LOADERS: dict[str, Callable[[Path, InputFile], Any]] = {
    "rep-seqs": _sequences,
    "tree": _tree,
    "tree to root": _tree,
    "metadata": _metadata,
    "distances": _distances,
    "taxonomy": _taxonomy,
}
