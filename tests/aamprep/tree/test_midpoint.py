"""Midpoint rooting, compared with scikit-bio."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skbio import TreeNode

from aamprep.read import read_tree
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.tree.midpoint import root_at_midpoint, to_newick
from tests.helpers.studies import Programs, random_newick


def read(text: str, folder: Path, findings: Findings | None = None):
    (folder / "tree.nwk").write_text(text)
    return read_tree(folder / "tree.nwk", Findings() if findings is None else findings, isolate=False)


def heights(tree: TreeNode) -> dict[str, float]:
    return {tip.name: tree.distance(tip) for tip in tree.tips()}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_tips=st.integers(3, 25))
def test_the_root_is_that_of_scikit_bio(
    seed: int, num_tips: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    newick = random_newick([f"t_{number}" for number in range(num_tips)], seed)
    before = TreeNode.read(io.StringIO(newick), convert_underscores=False)
    for node in before.traverse():
        node.length = node.length or 0.0
    text = to_newick(root_at_midpoint(read(newick, tmp_path_factory.mktemp("tree"), Findings())))
    after = TreeNode.read(io.StringIO(text), convert_underscores=False)
    assert len(after.children) == 2
    apart, same = after.cophenet(), before.cophenet()
    np.testing.assert_allclose(apart.filter(same.ids).data, same.data, atol=1e-12)
    tips = heights(after)
    farthest = same.data.max()
    assume(farthest > 0)
    assert max(tips.values()) == pytest.approx(farthest / 2, abs=1e-12)
    # Both sides are equally high, which is true of the midpoint only.
    for child in after.children:
        reach = max(child.distance(tip) for tip in child.tips(include_self=True)) + child.length
        assert reach == pytest.approx(farthest / 2, abs=1e-12)
    expected = before.root_at_midpoint()
    for name, height in heights(expected).items():
        if np.isclose(same.data, farthest).sum() == 2:  # otherwise, there are several midpoints
            assert tips[name] == pytest.approx(height, abs=1e-9)


@pytest.mark.parametrize("text", ["((A:1,B:3):1);", "((((A:1,B:3):1)x:2):1)old;", "(A:1,B:3);"])
def test_nodes_above_the_first_fork_are_removed(text: str, tmp_path: Path) -> None:
    rooted = TreeNode.read(io.StringIO(to_newick(root_at_midpoint(read(text, tmp_path)))))
    assert heights(rooted) == {"A": 2.0, "B": 2.0}


def test_three_children_of_the_root_are_a_finding(tmp_path: Path) -> None:
    findings = Findings()
    read("(a:1,b:1,c:1);", tmp_path, findings)
    assert [finding.rule for finding in findings.found] == [rules.NEWICK_UNROOTED]


def test_root_writes_a_tree_and_warns_if_it_was_rooted(run: Programs, tmp_path: Path) -> None:
    (tmp_path / "tree.nwk").write_text("('it''s a':1,b_1:2,c:5)0.9;")
    ran = run("aamprep", "root", tmp_path / "tree.nwk", "--output", tmp_path / "rooted.nwk")
    assert ran.code == 0, ran.err
    tree = TreeNode.read(io.StringIO((tmp_path / "rooted.nwk").read_text()), convert_underscores=False)
    assert heights(tree) == {"it's a": 2.5, "b_1": 3.5, "c": 3.5}
    assert "already had a root" not in ran.err
    twice = run("aamprep", "root", tmp_path / "rooted.nwk", "--output", tmp_path / "twice.nwk")
    assert (twice.code, "already had a root" in twice.err) == (0, True)
    again = run("aamprep", "root", tmp_path / "tree.nwk", "--output", tmp_path / "rooted.nwk")
    assert again.code == 2
    (tmp_path / "cut.nwk").write_text("(a:1,b")
    assert run("aamprep", "root", tmp_path / "cut.nwk", "--output", tmp_path / "x.nwk").code == 1


def test_root_does_not_replace_its_input(run: Programs, tmp_path: Path) -> None:
    (tmp_path / "tree.nwk").write_text("(a:1,b:2,c:5);")
    ran = run("aamprep", "root", tmp_path / "tree.nwk", "--output", tmp_path / "tree.nwk", "--overwrite")
    assert (ran.code, "is the input" in ran.err) == (2, True)
    assert (tmp_path / "tree.nwk").read_text() == "(a:1,b:2,c:5);"
