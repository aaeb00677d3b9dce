"""Newick trees, compared with scikit-bio."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skbio import TreeNode

from aamprep.read import read_tree
from aamprep.read.types import Tree
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from tests.helpers.paths import RealData


def read(folder: Path, text: str) -> tuple[Tree | None, Findings]:
    path = folder / "tree"
    path.write_text(text, encoding="utf-8")
    findings = Findings()
    return read_tree(path, findings, isolate=False), findings


def test_parents_precede_children_and_names_and_lengths_are_kept(tmp_path: Path) -> None:
    tree, findings = read(tmp_path, "((a:1,b:2e-1)0.98:.5,c:3)root;")
    assert findings.found == []
    assert tree.names == ("root", "0.98", "a", "b", "c")
    assert tree.parent.tolist() == [-1, 0, 1, 1, 0]
    np.testing.assert_array_equal(tree.length, [np.nan, 0.5, 1, 0.2, 3])
    assert tree.tips == {"a": 2, "b": 3, "c": 4}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a_b", "a_b"),
        ("'a_b'", "a_b"),
        ("'a b'", "a b"),
        ("a b", "a b"),
        ("'it''s'", "it's"),
        ("'(x,y):[z];'", "(x,y):[z];"),
        ("d__Bacteria", "d__Bacteria"),
        ("a[comment (,;]", "a"),
        ("pr\u00f8ve", "pr\u00f8ve"),
    ],
)
def test_names_are_taken_literally(tmp_path: Path, written: str, name: str) -> None:
    tree, findings = read(tmp_path, f"({written}:1,\n\tother:2);\n")
    assert findings.found == []
    assert set(tree.tips) == {name, "other"}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("(a,b)", "line 1, column 6", "ends without"),
        ("(a,\n(b,c;", "line 2, column 5", "before all parentheses"),
        ("(a,b));", "line 1, column 6", "without '('"),
        ("(a,b),c;", "line 1, column 6", "outside of all parentheses"),
        ("(a,b)(c,d);", "line 1, column 6", "a comma is needed"),
        ("(a(b,c));", "line 1, column 3", "a comma is needed"),
        ("(a:x,b);", "line 1, column 3", "unexpected ':'"),
        ("(a:1_0,b);", "line 1, column 5", "unexpected '_'"),
        ("(a:,b);", "line 1, column 3", "unexpected ':'"),
        ("(a,b);\n(c,d);", "line 1, column 6", "another tree"),
        ("('a,b);", "line 1, column 2", 'unexpected "\'"'),
        ("([a,b);", "line 1, column 2", "unexpected '['"),
    ],
)
def test_syntax_errors_name_line_and_column(tmp_path: Path, text: str, where: str, words: str) -> None:
    tree, findings = read(tmp_path, text)
    assert tree is None
    (finding,) = findings.found
    assert finding.rule is rules.NEWICK_SYNTAX
    assert finding.where.endswith(where)
    assert words in finding.value


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("(a:1,a:1);", rules.NEWICK_TIP_DUPLICATE),
        ("(a:1,:1);", rules.NEWICK_TIP_UNNAMED),
        ("(a:1,b);", rules.NEWICK_LENGTH_MISSING),
        ("(a:1,b:-0.1);", rules.NEWICK_LENGTH_NEGATIVE),
    ],
)
def test_an_unusual_tree_is_kept_with_a_finding(tmp_path: Path, text: str, rule: Rule) -> None:
    tree, findings = read(tmp_path, text)
    assert [finding.rule for finding in findings.found] == [rule]
    assert len(tree.parent) == 3


@pytest.mark.parametrize("text", ["(a:1,b:1e999);", "(a:1,b:-1e999);"])
def test_a_tree_without_finite_lengths_is_refused(tmp_path: Path, text: str) -> None:
    tree, findings = read(tmp_path, text)
    assert tree is None
    assert [finding.rule for finding in findings.found] == [rules.NEWICK_LENGTH_INFINITE]
    assert "the first above 'b'" in findings.found[0].value


def test_a_tree_of_great_depth_is_read(tmp_path: Path) -> None:
    depth = 50_000
    tree, _ = read(tmp_path, "(" * depth + "a:1" + ",b:1):1" * depth + ";")
    assert tree is not None
    assert len(tree.parent) == 2 * depth + 1


def test_gzip_is_read_and_invalid_utf8_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(gzip.compress(b"(a:1,b:1);"))
    assert read_tree(path, Findings()) is not None
    path.write_bytes(b"(a:1,\nb\xeb:1);")
    findings = Findings()
    assert read_tree(path, findings) is None
    assert findings.found[0].rule is rules.FILE_ENCODING
    assert findings.found[0].where.endswith("line 2")


# Without quotes, brackets, commas and colons, which scikit-bio misreads where a quoted name is nothing else.
names = st.text(st.sampled_from("ab1_.-| \u00e9"), min_size=1, max_size=8).filter(
    lambda name: name.strip() == name
)
trees = st.recursive(
    names.map(lambda name: "'" + name.replace("'", "''") + "'"),
    lambda children: st.lists(st.tuples(children, st.integers(0, 99)), min_size=1, max_size=4).map(
        lambda parts: "(" + ",".join(f"{part}:{length}" for part, length in parts) + ")"
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(trees)
def test_any_tree_reads_as_scikit_bio_reads_it(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    tree, _ = read(tmp_path_factory.getbasetemp(), f"({text}:1);")
    expected = list(
        TreeNode.read(io.StringIO(f"({text}:1);"), format="newick", convert_underscores=False).preorder()
    )
    assert list(tree.names) == [node.name or "" for node in expected]
    position = {id(node): number for number, node in enumerate(expected)}
    assert tree.parent.tolist() == [position.get(id(node.parent), -1) for node in expected]
    lengths = [np.nan if node.length is None else node.length for node in expected]
    np.testing.assert_array_equal(tree.length, lengths)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "num_tips"),
    [
        ("moving-pictures/tree.qza", 770),
        ("lifestyle9/tree.qza", 654),
        ("crc-udca2/tree.qza", 4910),
        ("saliva32/tree.qza", 195),
        ("ibd-2538/tree.qza", 217_407),
        ("exmp/tree.qza", 206_924),
    ],
)
def test_published_trees_are_read_whole(real_data: RealData, name: str, num_tips: int) -> None:
    findings = Findings()
    tree = read_tree(real_data(name), findings)
    assert findings.found == []
    assert len(tree.tips) == num_tips
    assert (tree.parent[1:] < np.arange(1, len(tree.parent))).all()
