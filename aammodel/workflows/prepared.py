"""Shards for a model, from whatever the user has: shards are opened, tables are prepared.

A table is prepared by `aamprep` as the samples were that the model was trained on: the same token limit,
selection and rarefaction depth. `aamprep` is imported when a table is given.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import interrupted
from aam_schemas.common.temporary import temporary_folder
from aam_schemas.common.text import shorten
from aam_schemas.manifest import MANIFEST_FILE
from aam_schemas.preparation import Preparation
from aam_schemas.shards import REJECTED_FILE
from aammodel.data.remote import parse_location
from aammodel.data.shards import ShardSet, open_shards

if TYPE_CHECKING:
    from aamprep.counts import Counts

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


@dataclass(frozen=True)
class OpenedData:
    """Shards, or a table that was prepared."""

    shards: ShardSet
    """The shards of a table are temporary."""
    table_ids: tuple[str, ...] | None = None
    """Ids of all samples of a table in its order, including rejected ones. None if shards were given."""

    def rejected(self, kind: str = "sample") -> dict[str, str]:
        """Return the reason for each sample (kind `sample`) or ASV (kind `asv`) that was left out."""
        if not any(file.name == REJECTED_FILE for file in self.shards.manifest.files):
            return {}
        with self.shards.open(REJECTED_FILE) as file:
            rows = file.read(["kind", "id", "reason"]).to_pylist()
        return {row["id"]: row["reason"] for row in rows if row["kind"] == kind}


@contextmanager
def open_data(
    data: Any, preparation: Preparation | None, files: Mapping[str, Any] | None = None
) -> Iterator[OpenedData]:
    """Yield the shards of some data; those of a table are temporary.

    Parameters
    ----------
    data : shards as in `open_any_shards`; or a table: path of a BIOM file or artifact, or an object
        Objects are those that `aamprep.counts.counts_of` accepts, such as a biom.Table or a data frame.
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
        _check_exists(data)
        if given:
            raise UsageError(
                "shards were given, which were prepared already", ", ".join(given), "leave these out"
            )
        yield OpenedData(open_any_shards(data))
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
        opened = OpenedData(open_shards(written.path), written.sample_ids)
        for kind in ("sample", "asv"):
            rejected = opened.rejected(kind)
            if rejected:
                name, reason = next(iter(rejected.items()))
                are = "is" if len(rejected) == 1 else "are"
                number = f"{len(rejected):,} {kind}{'' if len(rejected) == 1 else 's'}"
                text = f"{number} of the table {are} invalid. The first is {shorten(name, 80)}"
                _LOGGER.warning("%s, which %s", text, reason)
        yield opened


def _check_exists(data: Any) -> None:
    """Refuse a path of nothing, which might have been a table."""
    if not isinstance(data, str | os.PathLike):
        return
    location = parse_location(os.fspath(data))
    if isinstance(location, Path) and not location.exists() and interrupted(location) is None:
        raise UsageError(
            "there is no such file or folder",
            os.fspath(data),
            "give a BIOM table, a QIIME 2 artifact, or a folder that `aamprep shard` wrote",
        )


def is_table(data: Any) -> bool:
    """Return whether data are a table, to be prepared, and not shards."""
    if isinstance(data, ShardSet) or hasattr(data, "manifest"):
        return False
    if isinstance(data, str | os.PathLike):
        path = Path(os.fspath(data))
        return path.is_file() and path.name != MANIFEST_FILE
    return True


def counts_in_memory(data: Any, sequences: Any = None) -> "Counts | None":
    """Return the counts of an object. None if data are shards, a path or a list of paths.

    Parameters
    ----------
    data : any
    sequences : sequence of str, optional
        Sequence of each column of an array without names.

    Raises
    ------
    UsageError
        If the object has no counts, or no sequences.
    """
    is_path = isinstance(data, str | os.PathLike)
    if is_path or not is_table(data) or (isinstance(data, list | tuple) and _are_tables(data)):
        return None
    from aamprep.counts import array_counts, counts_of

    found = counts_of(data)
    if found is not None:
        return found
    if not isinstance(sequences, list | tuple | np.ndarray):
        raise UsageError(
            f"{type(data).__name__} has no names of columns, and so no sequences",
            "X",
            "give a data frame whose columns are sequences, or set rep_seqs to a list of one sequence for "
            "each column",
        )
    return array_counts(data, list(map(str, sequences)))


def rejects_samples_only(error: InvalidDataError) -> bool:
    """Return whether a table was refused only because each of its samples was rejected."""
    report = getattr(error, "report", None)
    if report is None:
        return False
    from aamprep.rules.rule import Effect, Severity

    effects = {rule.effect for rule in report.findings.counts() if rule.severity is Severity.ERROR}
    return effects == {Effect.SAMPLE}


def _are_tables(values: Sequence[Any]) -> bool:
    from aamprep.counts import counts_of

    return all(isinstance(value, str | os.PathLike) or counts_of(value) is not None for value in values)


def files_beside(table: str | Path, given: Mapping[str, Path | None]) -> dict[str, Path]:
    """Return the files that go with a table: the given ones, or those of conventional names beside it.

    Parameters
    ----------
    table : path
    given : mapping of str to Path or None
        Files by role, such as `metadata`. Roles that are missing are not looked for.

    Raises
    ------
    UsageError
        If a given file does not exist, or several files beside the table fit one role.
    """
    from aamprep.errors import ParameterError
    from aamprep.study.discover import find_file_beside

    found = {}
    for role, path in given.items():
        if path is not None and not path.exists():
            option = "--" + role.replace("_", "-")
            raise UsageError("there is no such file", f"{option} {path}", "check the path")
        try:
            file = path or find_file_beside(role, [Path(table)])
        except ParameterError as error:
            raise error.as_option() from None
        if file is not None:
            found[role] = file
    return found


def name_of(data: Any) -> str:
    """Return what to call shards or a table in messages: the path, or the type of an object."""
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    path = getattr(data, "path", None) or getattr(data, "folder", None)
    return f"the given {type(data).__name__}" if path is None else str(path)


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
