"""Find the files of a study by their conventional names, in the current folder and beside a table."""

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
"""Names of the files that go with a table, by parameter."""

TABLE_NAMES = ("table.biom", "table.qza")


def find_tables(named: Sequence[Path]) -> list[Path]:
    """Return the tables that were named, or the one in the current folder.

    Raises
    ------
    UsageError
        If a named table does not exist, or none was named and there is not exactly one.
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
        raise UsageError(f"{_joined(present, 'and')} could both be the table", "", "name the table")
    raise UsageError(f"there is no {_joined(candidates, 'or')} here", str(Path.cwd()), "name the table")


def find_file_beside(parameter: str, tables: Sequence[Path]) -> Path | None:
    """Return the file of a conventional name beside the tables; None where there is none.

    Raises
    ------
    ParameterError
        If two files could be meant.
    """
    folders = dict.fromkeys(table.parent for table in tables)
    candidates = [folder / name for folder in folders for name in CONVENTIONAL_NAMES[parameter]]
    present = [path for path in candidates if path.exists()]
    if len(present) < 2:
        return present[0] if present else None
    fix = "name the one that is meant, or leave all such files out"
    if len(folders) > 1:
        fix += "; or shard each table by itself, and merge the sets"
    raise ParameterError(f"{_joined(present, 'and')} could both be meant", parameter, fix)


def _joined(paths: Sequence[Path], word: str) -> str:
    return f" {word} ".join(map(str, paths))
