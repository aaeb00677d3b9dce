"""Shards for a model, from whatever the user has: shards are opened, tables are prepared.

A table is prepared by `aamprep` as the samples were that the model was trained on: the same token limit,
selection, rarefaction depth and filters. This is the only module of `aammodel` that uses `aamprep`, and it
imports it when a table is given.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import UsageError
from aam_schemas.common.temporary import temporary_folder
from aam_schemas.manifest import MANIFEST_FILE
from aam_schemas.preparation import Preparation
from aammodel.data.remote import parse_location
from aammodel.data.shards import ShardSet, open_shards

_LOGGER = logging.getLogger(__name__)


def open_any_shards(shards: Any) -> ShardSet:
    """Open a shard set.

    Parameters
    ----------
    shards : path, URL, or what `aamprep.shard` and `aamprep.open_shards` return
        A `ShardSet` that is open already is returned as it is.

    Raises
    ------
    UsageError
        If there is no such folder, or the value cannot be a shard set.
    InvalidDataError
        If the folder holds no shard set.
    """
    if isinstance(shards, ShardSet):
        return shards
    return open_shards(parse_location(_path_text(shards)))


@contextmanager
def shards_of(
    data: Any, preparation: Preparation | None, files: Mapping[str, Any] | None = None
) -> Iterator[ShardSet]:
    """Yield the shards of some data; those of a table are temporary.

    Parameters
    ----------
    data : shards as in `open_any_shards`; or a table: path of a BIOM file or artifact, or biom.Table
    preparation : Preparation or None
        How the samples of the model were prepared. A table cannot be prepared without.
    files : mapping of str to path or object, optional
        What goes with a table (`rep_seqs`, `tree`, `metadata` ...), as parameters of `aamprep.shard`.

    Raises
    ------
    UsageError
        If the model does not know how its samples were prepared, or `files` were given with shards.
    InvalidDataError
        If the table is invalid.
    """
    given = {name: value for name, value in (files or {}).items() if value is not None}
    if not is_table(data):
        if given:
            raise UsageError(
                "shards were given, which were prepared already", ", ".join(given), "leave these out"
            )
        yield open_any_shards(data)
        return
    if preparation is None or preparation.token_limit is None:
        raise UsageError(
            "this model does not know how its samples were prepared, so it cannot prepare a table",
            "the model",
            "make shards of the table with `aamprep shard`, and give those",
        )
    import aamprep

    with temporary_folder() as folder:
        written = aamprep.shard(data, output=folder / "shards", **_choices(preparation, given), **given)
        rejected = written.manifest.num_rejected_samples
        if rejected:
            _LOGGER.warning("%s samples were rejected: see aamprep.validate(table)", f"{rejected:,}")
        yield open_shards(written.path)


def is_table(data: Any) -> bool:
    """Return whether data are a table, to be prepared, and not shards."""
    if isinstance(data, ShardSet) or hasattr(data, "manifest"):
        return False
    if isinstance(data, str | os.PathLike):
        path = Path(os.fspath(data))
        return path.is_file() and path.name != MANIFEST_FILE
    return True


def _choices(preparation: Preparation, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of `aamprep.shard` that prepare a table as the model's samples were."""
    choices = {
        "token_limit": preparation.token_limit,
        "rarefy_depth": preparation.rarefy_depth,
        "select": preparation.select,
        "seed": preparation.seed,
        "missing_from_tree": preparation.missing_from_tree if "tree" in given else None,
    }
    # Filters by prevalence and by reads describe the training table, not the samples: they are left out.
    return {name: value for name, value in choices.items() if value is not None}


def _path_text(shards: Any) -> str:
    if isinstance(shards, str | os.PathLike):
        return os.fspath(shards)
    path = getattr(shards, "path", None) or getattr(shards, "folder", None)
    if path is None:
        raise UsageError(
            f"{type(shards).__name__} is not a shard set",
            "shards",
            "give a folder, a URL, or what aamprep.shard returns",
        )
    return str(path)
