"""Trees whose paths to the root would fill the memory are refused. Deep trees of many ASVs are not."""

import numpy as np
import pytest

from aamprep.tree import branches as tree
from aamprep.tree.branches import Branches, branches_above, path_problem


def ladder(num_asvs: int) -> Branches:
    """Return a tree in which each inner branch splits off a single ASV, and the last ends in one."""
    row = np.arange(2 * num_asvs)
    parent = np.where(row % 2 == 0, row - 2, row - 1)
    parent[0] = -1
    asv = np.where(row % 2 == 1, row // 2, -1)
    return Branches(np.ones(len(row)), parent, asv)


@pytest.mark.parametrize(("num_asvs", "is_refused"), [(8_000, False), (8_300, True), (70_000, True)])
def test_the_branches_on_all_paths_are_bounded(num_asvs: int, is_refused: bool) -> None:
    assert bool(path_problem(ladder(num_asvs))) == is_refused


def test_the_bound_grows_with_the_number_of_asvs(monkeypatch: pytest.MonkeyPatch) -> None:
    # 100 ASVs with 51.5 branches each on average: within 128 for each, whatever the bound for all together.
    monkeypatch.setattr(tree, "MOST_PATH_BRANCHES", 10)
    assert branches_above(ladder(100), 100).nnz == 5_150
    assert path_problem(ladder(100)) == ""
    assert "at most 38,400" in path_problem(ladder(300))
