"""The tree of a shard set: its branches, checked before anything climbs them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError
from aammodel.data.sample_checks import LARGEST_TOTAL
from aammodel.sample import Float64Array, Int64Array, no_values

_FIX = "run `aamprep verify` on the folder to list all faults, then make the shards again"


@dataclass(frozen=True)
class Branches:
    """The branches of a tree, as in tree.parquet."""

    length: Float64Array
    parent: Int64Array
    """Row of each branch's parent; -1 at the root."""
    asv: Int64Array
    """Row in asvs.parquet of the ASV at each tip; -1 at inner branches."""

    @staticmethod
    def none() -> "Branches":
        """Return the branches of a set without a tree."""
        no_rows = np.zeros(0, dtype=np.int64)
        return Branches(no_values(), no_rows, no_rows)

    @staticmethod
    def from_table(table: pa.Table) -> "Branches":
        """Return the branches of a table of the schema `TREE`."""
        length = table["length"].to_numpy()
        return Branches(
            length, *(table[name].cast("int64").fill_null(-1).to_numpy() for name in ("parent", "asv"))
        )


def check_branches(branches: Branches, num_asvs: int, source: str) -> None:
    """Refuse branches that form no tree of the ASVs.

    Parameters
    ----------
    branches : Branches
    num_asvs : int
        Number of rows of asvs.parquet.
    source : str
        File, for the message.

    Raises
    ------
    InvalidDataError
        If a length is negative or non-finite, a parent does not come before its branch (which rules out
        cycles), or an ASV does not exist, is not at a tip, or is at two tips. The message names the row.
    """
    length, parent, asv = branches.length, branches.parent, branches.asv
    row = np.arange(len(parent))
    has_children = np.zeros(len(row), dtype=np.bool_)
    # Parents beyond the end are reported by another test.
    has_children[parent[(parent >= 0) & (parent < len(row))]] = True
    is_repeated = np.ones(len(row), dtype=np.bool_)
    is_repeated[np.unique(asv, return_index=True)[1]] = False
    tests = {
        ("length", "is negative or non-finite"): ~(np.isfinite(length) & (length >= 0)),
        ("parent", "is missing, and only the first row may have none"): (parent < 0) & (row > 0),
        ("parent", "does not come before it"): parent >= row,
        ("length", "is not 0, though it is the root"): (row == 0) & (length != 0),
        ("asv", "is no row of asvs.parquet"): asv >= num_asvs,
        ("asv", "is missing, though it is a tip"): ~has_children & (asv < 0) & (row > 0),
        ("asv", "is given, though it is not a tip"): has_children & (asv >= 0),
        ("asv", "is at another tip, too"): is_repeated & (asv >= 0),
    }
    for (column, problem), is_bad in tests.items():
        if is_bad.any():
            first = int(is_bad.argmax())
            value = getattr(branches, column)[first]
            raise InvalidDataError(
                f"column {column} {problem}: {value:g}", f"{source}, row {first} (the first is 0)", _FIX
            )
    with np.errstate(over="ignore"):
        total = length.sum()
    if total > LARGEST_TOTAL:
        raise InvalidDataError(
            f"column length adds up to {total:.3g}, more than float32 can hold ({LARGEST_TOTAL:.3g})",
            source,
            "divide the branch lengths of the tree by a constant, then make the shards again",
        )
