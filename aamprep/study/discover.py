"""Find the files of a study by their conventional names, in the current folder and next to a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from aam_schemas.common.errors import UsageError
from aamprep.errors import ParameterError

CONVENTIONAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "rep_seqs": ("rep-seqs.fasta", "rep-seqs.qza"),
    "tree": ("tree.nwk", "tree.qza", "rooted-tree.nwk", "rooted-tree.qza"),
    "metadata": ("metadata.tsv", "sample-metadata.tsv"),
    "taxonomy": ("taxonomy.tsv", "taxonomy.qza"),
    "distances": ("distances.tsv", "distances.qza"),
}
"""Conventional names of the files that accompany a table, by parameter."""

TABLE_NAMES = ("table.biom", "table.qza")


def find_tables(named: Sequence[Path]) -> list[Path]:
    """Return the given tables, or the table in the current folder.

    Raises
    ------
    UsageError
        If a given table does not exist, or none was given and the current folder does not have exactly one.
    """
    for path in named:
        if not path.exists():
            raise UsageError("there is no such file", str(path), "check the path")
    if named:
        return list(named)
    candidates = [Path(name) for name in TABLE_NAMES]
    present = [path for path in candidates if path.exists()]
    if len(present) == 1:
        return present
    if present:
        raise UsageError(
            f"{_joined(present, 'and')} could both be the table", "", "give the path of the table"
        )
    raise UsageError(
        f"there is no {_joined(candidates, 'or')} here", str(Path.cwd()), "give the path of the table"
    )


def find_file_beside(parameter: str, tables: Sequence[Path]) -> Path | None:
    """Return the file with a conventional name next to the tables, or None.

    Raises
    ------
    ParameterError
        If there are several such files.
    """
    folders = dict.fromkeys(table.parent for table in tables)
    candidates = [folder / name for folder in folders for name in CONVENTIONAL_NAMES[parameter]]
    present = [path for path in candidates if path.exists()]
    if len(present) < 2:
        return present[0] if present else None
    fix = "give the path of the right file, or switch these files off"
    if len(folders) > 1:
        fix += "; or shard each table separately, and merge the sets"
    raise ParameterError(f"{_joined(present, 'and')} could both be used", parameter, fix)


def _joined(paths: Sequence[Path], word: str) -> str:
    return f" {word} ".join(map(str, paths))
