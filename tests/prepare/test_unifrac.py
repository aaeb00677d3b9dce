"""Branch lists give the UniFrac distance of any two samples: scikit-bio and published matrices agree."""

import io
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skbio import DistanceMatrix, TreeNode
from skbio.diversity import beta_diversity

from aammodel.distance import unweighted_unifrac
from aamprep.branches import cover, find_tips, prune, reads_under
from aamprep.findings import Findings
from aamprep.inputs import Tree
from aamprep.read import read_table, read_tree
from tests.conftest import RealData
from tests.studies import Programs, random_counts, random_newick, random_sequences


def read_newick(text: str, folder: Path) -> Tree:
    (folder / "tree.nwk").write_text(text)
    tree = read_tree(folder / "tree.nwk", Findings())
    assert tree is not None
    return tree


def branch_lists(tree: Tree, names: list[str], counts: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Give the branches of each sample, and all lengths, for ASVs of these names."""
    branches = prune(tree, find_tips(tree, [(name,) for name in names]))
    sample, asv = np.nonzero(counts)
    indptr = np.searchsorted(sample, np.arange(len(counts) + 1))
    reads = reads_under(cover(branches, len(names)), indptr, asv, counts[sample, asv])
    return [reads.indices[reads.indptr[i] : reads.indptr[i + 1]] for i in range(len(counts))], branches.length


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_tips=st.integers(2, 30), num_absent=st.integers(0, 10))
def test_equals_scikit_bio(
    seed: int, num_tips: int, num_absent: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the tree, and however many of its tips the table lacks."""
    names = [f"t{number}" for number in range(num_tips + num_absent)]
    newick = random_newick(names, seed)
    present = names[:num_tips]
    counts = random_counts(5, num_tips, seed)
    tree = read_newick(newick, tmp_path_factory.mktemp("tree"))
    found = unweighted_unifrac(*branch_lists(tree, present, counts))
    expected = beta_diversity(
        "unweighted_unifrac", counts.astype(int), taxa=present, tree=TreeNode.read(io.StringIO(newick))
    )
    np.testing.assert_allclose(found, expected.data, atol=1e-12)


def test_the_path_to_the_original_root_counts(tmp_path: Path) -> None:
    """The table lacks c, but the stem above a and b is shared all the same: 2 of 7 units are apart."""
    tree = read_newick("((a:1,b:1):5,c:1);", tmp_path)
    found = unweighted_unifrac(*branch_lists(tree, ["a", "b"], np.eye(2)))
    assert found[0, 1] == pytest.approx(2 / 7, abs=1e-15)


def test_a_branch_above_the_root_is_shared(tmp_path: Path) -> None:
    newick = "(a:1,b:1):5;"
    found = unweighted_unifrac(*branch_lists(read_newick(newick, tmp_path), ["a", "b"], np.eye(2)))
    tree = TreeNode.read(io.StringIO(newick))
    expected = beta_diversity("unweighted_unifrac", np.eye(2, dtype=int), taxa=["a", "b"], tree=tree)
    np.testing.assert_allclose(found, expected.data, atol=1e-12)


def test_a_sample_without_a_read_in_the_tree_takes_part_in_no_pair(tmp_path: Path) -> None:
    tree = read_newick("(a:1,b:1);", tmp_path)
    found = unweighted_unifrac(*branch_lists(tree, ["a", "b", "absent"], np.eye(3)))
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    assert found[0, 1] == 1.0


def published_matrix(path: Path) -> DistanceMatrix:
    with zipfile.ZipFile(path) as archive:
        name = next(one for one in archive.namelist() if one.endswith("data/distance-matrix.tsv"))
        return DistanceMatrix.read(io.StringIO(archive.read(name).decode()))


@pytest.mark.real
@pytest.mark.parametrize(
    ("study", "table", "matrix"),
    [
        ("moving-pictures", "rarefied-table.qza", "unweighted-unifrac.qza"),
        ("lifestyle9", "rarefied-table.qza", "unweighted-unifrac.qza"),
        ("exmp", "rarefied-table.qza", "unweighted-unifrac.qza"),
    ],
)
def test_shards_give_the_published_matrix(
    study: str, table: str, matrix: str, real_data: RealData, run: Programs, tmp_path: Path
) -> None:
    folder = real_data(study)
    rep_seqs = folder / "rep-seqs.qza"
    if not rep_seqs.exists():  # exmp has no sequences: any will do, one per id
        rep_seqs = simulated_sequences(folder / table, tmp_path)
    files = ["--tree", folder / "tree.qza", "--rep-seqs", rep_seqs, "--no-metadata", "--no-taxonomy"]
    ran = run(
        "aamprep", "shard", folder / table, *files, "--output", tmp_path / "shards", "--token-limit", 10
    )
    assert ran.code == 0, ran.err
    samples = pl.read_parquet(tmp_path / "shards" / "samples-*.parquet")
    lengths = pl.read_parquet(tmp_path / "shards" / "tree.parquet")["length"].to_numpy()
    found = unweighted_unifrac([one.to_numpy() for one in samples["branch"]], lengths)
    published = published_matrix(folder / matrix)
    expected = published.filter(samples["sample_id"].to_list()).data
    assert len(expected) == len(published.ids)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def simulated_sequences(table: Path, folder: Path) -> Path:
    read = read_table(table, Findings())
    assert read is not None
    sequences = random_sequences(len(read.feature_ids))
    path = folder / "rep-seqs.fasta"
    path.write_text("".join(f">{i}\n{s}\n" for i, s in zip(read.feature_ids, sequences, strict=True)))
    return path
