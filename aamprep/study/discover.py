"""Which files belong to a study: those that were named, and those of conventional names beside the table."""

from collections.abc import Mapping
from pathlib import Path

from aam_schemas.common.errors import UsageError

CONVENTIONAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "tree": ("tree.nwk", "tree.qza", "rooted-tree.nwk", "rooted-tree.qza"),
    "rep-seqs": ("rep-seqs.fasta", "rep-seqs.qza"),
    "metadata": ("metadata.tsv", "sample-metadata.tsv"),
    "taxonomy": ("taxonomy.tsv", "taxonomy.qza"),
    "distances": ("distances.tsv", "distances.qza"),
}
"""File names that are picked up beside a table, for each role."""

TABLE_NAMES = ("table.biom", "table.qza")


def find_tables(named: list[Path] | None) -> list[Path]:
    """Give the tables that were named, or the one in the current folder.

    Raises
    ------
    UsageError
        If a named table does not exist, or none was named and there is not exactly one.
    """
    for path in named or []:
        if not path.exists():
            raise UsageError("there is no such file", str(path), "check the path")
    return named or [_only_one([Path(name) for name in TABLE_NAMES], "table", "name the table")]


def find_beside(role: str, tables: list[Path], named: Path | None) -> Path | None:
    """Give the file that was named for a role, or the one of a conventional name beside the tables.

    Raises
    ------
    UsageError
        If a named file does not exist, or two files beside the tables could be meant.
    """
    if named is not None:
        if not named.exists():
            raise UsageError(f"there is no such file for --{role}", str(named), "check the path")
        return named
    folders = dict.fromkeys(table.parent for table in tables)
    candidates = [folder / name for folder in folders for name in CONVENTIONAL_NAMES[role]]
    if not any(path.exists() for path in candidates):
        return None
    remedy = f"name the one that is meant with --{role}, or none with --no-{role}"
    if len(folders) > 1:
        remedy += "; or shard each table by itself, and join the sets with `aamprep merge`"
    return _only_one(candidates, role, remedy)


def _only_one(candidates: list[Path], role: str, remedy: str) -> Path:
    present = [path for path in candidates if path.exists()]
    if len(present) == 1:
        return present[0]
    if present:
        names = " and ".join(str(path) for path in present)
        raise UsageError(f"{names} could both be the {role}", "", remedy)
    names = " or ".join(str(path) for path in candidates)
    raise UsageError(f"there is no {names} here", str(Path.cwd()), remedy)
