"""A tree is checked before anything climbs it, so that a cycle is an error and not a run without end."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aam_schemas.common.errors import InvalidDataError
from aammodel.data.rarefy import find_root_paths
from aammodel.data.tree import Branches, check_branches
from tests.helpers.shards import make_shards, rewrite, tiny_config
from tests.helpers.studies import Programs

Change = Callable[[np.ndarray], np.ndarray]


def at(row: int, value: float) -> Change:
    def change(values: np.ndarray) -> np.ndarray:
        values[row] = value
        return values

    return change


def tree() -> Branches:
    """Return a root with a tip, and an inner branch with two tips."""
    length, parent, asv = [0.0, 1.0, 2.0, 3.0, 4.0], [-1, 0, 0, 2, 2], [-1, 0, -1, 1, 2]
    return Branches(np.array(length), np.array(parent), np.array(asv))


def test_a_tree_is_accepted() -> None:
    check_branches(tree(), 3, "tree.parquet")


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("length", at(2, np.nan), "row 2 .*column length is negative or non-finite"),
        ("length", at(3, -1.0), "row 3 .*column length is negative"),
        ("length", at(1, np.inf), "row 1 .*column length is negative or non-finite"),
        ("length", at(1, 1e300), "more than float32 can hold"),
        ("length", at(0, 1.0), "row 0 .*column length is not 0"),
        ("parent", at(2, 3), "row 2 .*column parent does not come before it: 3"),
        ("parent", at(2, 2), "row 2 .*column parent does not come before it"),
        ("parent", at(0, 4), "row 0 .*column parent does not come before it"),
        ("parent", at(4, 4_000_000_000), "row 4 .*column parent does not come before it"),
        ("parent", at(3, -1), "row 3 .*column parent is missing"),
        ("asv", at(3, 3), "row 3 .*column asv is no row of"),
        ("asv", at(4, 1), "row 4 .*column asv is at another tip"),
        ("asv", at(4, -1), "row 4 .*column asv is missing"),
        ("asv", at(2, 2), "row 2 .*column asv is given"),
    ],
)
def test_what_is_no_tree_is_refused_by_row(column: str, change: Change, words: str) -> None:
    branches = tree()
    change(getattr(branches, column))
    with pytest.raises(InvalidDataError) as error:
        check_branches(branches, 3, "tree.parquet")
    assert re.search(words, str(error.value))


def test_a_cycle_ends_a_run_that_rarefies(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    parent = pq.read_table(shards.folder / "tree.parquet")["parent"].to_pylist()
    parent[3], parent[4] = 4, 3
    rewrite(shards, "tree.parquet", "parent", pa.array(parent, pa.uint32()))
    config = tiny_config(tmp_path, "rarefy_fraction = 0.5\n")
    options = ("--output", tmp_path / "run", "--config", config, "--max-steps", 1)
    ran = run("aammodel", "pretrain", shards.folder, *options)
    assert ran.code == 1
    assert "tree.parquet, row 3" in ran.err
    assert "column parent" in ran.err


def test_a_ladder_takes_no_more_memory_than_there_is() -> None:
    size = 20_000
    rows = np.arange(2 * size)
    parent = np.where(rows % 2 == 0, rows - 2, rows - 1)
    parent[0] = -1
    asv = np.where(rows % 2 == 1, rows // 2, -1)
    with pytest.raises(InvalidDataError, match="paths"):
        find_root_paths(parent, asv, size)
