"""Distances computed from shards equal those of scikit-bio and published matrices."""

import io
import itertools
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skbio import DistanceMatrix, TreeNode
from skbio.diversity import alpha_diversity, beta_diversity
from skbio.stats.composition import clr

from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet, open_shards
from aammodel.distances import sparse as pairs
from aammodel.distances.metrics import METRICS, MetricInputs, columns_needed, faith_pd
from aammodel.distances.sparse import Arithmetic
from aammodel.sample import Sample
from aamprep.read import read_table, read_tree
from aamprep.read.types import Tree
from aamprep.rules.findings import Findings
from aamprep.tree.branches import branches_above, find_tips, prune, reads_under
from tests.helpers.paths import RealData
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences


def read_newick(text: str, folder: Path) -> Tree:
    (folder / "tree.nwk").write_text(text)
    tree = read_tree(folder / "tree.nwk", Findings(), isolate=False)
    assert tree is not None
    return tree


def as_samples(tree: Tree, names: list[str], counts: np.ndarray) -> tuple[list[Sample], MetricInputs]:
    """Return samples as read from shards, with the given ASV names. Every second ASV counts as dropped."""
    branches = prune(tree, find_tips(tree, [(name,) for name in names]))
    sample, asv = np.nonzero(counts)
    indptr = np.searchsorted(sample, np.arange(len(counts) + 1))
    reads = reads_under(branches_above(branches, len(names)), indptr, asv, counts[sample, asv])
    samples = []
    for i, row in enumerate(counts):
        own, under = np.flatnonzero(row), slice(reads.indptr[i], reads.indptr[i + 1])
        samples.append(
            Sample(
                str(i),
                own[::2].astype(np.uint32),
                row[own[::2]],
                own[1::2].astype(np.uint32),
                row[own[1::2]],
                reads.indices[under],
                reads.data[under],
            )
        )
    return samples, MetricInputs(branch_length=branches.length, num_asvs=len(names))


def unweighted(tree: Tree, names: list[str], counts: np.ndarray) -> np.ndarray:
    samples, facts = as_samples(tree, names, counts)
    return METRICS["unweighted_unifrac"].between(samples, samples, facts)


def by_scikit_bio(metric: str, counts: np.ndarray, names: list[str], tree: TreeNode) -> np.ndarray:
    if metric == "generalized_unifrac":
        return generalized_by_loop(counts, names, tree)
    if metric == "aitchison":
        logs = clr(counts + 1.0)
        return np.array([[math.dist(a, b) for b in logs] for a in logs])
    known, options = metric, {}
    if metric.endswith("unifrac"):
        options = {"taxa": names, "tree": tree}
        if metric == "weighted_normalized_unifrac":
            known, options = "weighted_unifrac", options | {"normalized": True}
    whole = counts.astype(int)
    return beta_diversity(known, whole > 0 if metric == "jaccard" else whole, **options).data


def generalized_by_loop(counts: np.ndarray, names: list[str], tree: TreeNode) -> np.ndarray:
    """Compute generalized UniFrac (Chen et al. 2012, equation 2, alpha 0.5), which scikit-bio lacks."""
    column = {name: number for number, name in enumerate(names)}
    tips = {id(node): [tip.name for tip in node.tips(include_self=True)] for node in tree.traverse()}
    distance = np.zeros((len(counts), len(counts)))
    for i, j in itertools.combinations(range(len(counts)), 2):
        above = below = 0.0
        for node in tree.traverse():
            under = [column[name] for name in tips[id(node)] if name in column]
            p, q = (counts[k, under].sum() / counts[k].sum() for k in (i, j))
            if p + q > 0:
                length = (node.length or 0.0) * math.sqrt(p + q)
                above += length * abs(p - q) / (p + q)
                below += length
        distance[i, j] = distance[j, i] = above / below if below else 0.0
    return distance


COMPUTED = [name for name in METRICS if name != "precomputed"]


@pytest.mark.parametrize("metric", COMPUTED)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), num_tips=st.integers(2, 30), num_absent=st.integers(0, 10))
def test_equals_scikit_bio(
    metric: str, seed: int, num_tips: int, num_absent: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Test any tree, any number of tips missing from the table, every arithmetic, and all or some pairs."""
    names = [f"t{number}" for number in range(num_tips + num_absent)]
    newick = random_newick(names, seed)
    present = names[:num_tips]
    counts = random_counts(5, num_tips, seed)
    tree = read_newick(newick, tmp_path_factory.mktemp("tree"))
    samples, facts = as_samples(tree, present, counts)
    # scikit-bio divides by zero if all branches of two samples have length 0.
    assume(metric != "weighted_normalized_unifrac" or faith_pd(samples, facts).all())
    expected = by_scikit_bio(metric, counts, present, TreeNode.read(io.StringIO(newick)))
    found = METRICS[metric].between(samples, samples, facts)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    for arithmetic, bound in (
        (Arithmetic(np.float64, "cpu"), 1e-12),
        (Arithmetic(np.float32), 1e-6),
        (Arithmetic(np.float32, "cpu"), 1e-6),
    ):
        found = METRICS[metric].between(samples, samples, facts, arithmetic)
        np.testing.assert_allclose(found, expected, rtol=bound, atol=bound)
    some = METRICS[metric].between(samples[:2], samples[1:], facts)
    np.testing.assert_allclose(some, expected[:2, 1:], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", COMPUTED)
def test_slices_of_columns_add_up(metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns processed in several dense slices give the same distances as one slice."""
    names = [f"t{number}" for number in range(900)]
    samples, facts = as_samples(
        read_newick(random_newick(names), tmp_path), names, random_counts(40, len(names))
    )
    whole = METRICS[metric].between(samples, samples, facts)
    monkeypatch.setattr(pairs, "_CELLS", 1)
    monkeypatch.setattr(pairs, "_CELLS_IN_CACHE", 1)
    np.testing.assert_allclose(
        METRICS[metric].between(samples, samples, facts), whole, rtol=1e-12, atol=1e-13
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), num_tips=st.integers(2, 30))
def test_faith_pd_equals_scikit_bio(
    seed: int, num_tips: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = [f"t{number}" for number in range(num_tips + 5)]
    newick, counts = random_newick(names, seed), random_counts(5, num_tips, seed)
    tree = read_newick(newick, tmp_path_factory.mktemp("tree"))
    expected = alpha_diversity(
        "faith_pd", counts.astype(int), taxa=names[:num_tips], tree=TreeNode.read(io.StringIO(newick))
    )
    found = faith_pd(*as_samples(tree, names[:num_tips], counts))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_path_to_the_original_root_counts(tmp_path: Path) -> None:
    """The table lacks c, but the stem above a and b still counts as shared: 2 of 7 units are unshared."""
    found = unweighted(read_newick("((a:1,b:1):5,c:1);", tmp_path), ["a", "b"], np.eye(2))
    assert found[0, 1] == pytest.approx(2 / 7, abs=1e-15)


def test_a_branch_above_the_root_is_shared(tmp_path: Path) -> None:
    newick = "(a:1,b:1):5;"
    found = unweighted(read_newick(newick, tmp_path), ["a", "b"], np.eye(2))
    tree = TreeNode.read(io.StringIO(newick))
    expected = beta_diversity("unweighted_unifrac", np.eye(2, dtype=int), taxa=["a", "b"], tree=tree)
    np.testing.assert_allclose(found, expected.data, atol=1e-12)


@pytest.mark.parametrize("metric", [name for name in COMPUTED if METRICS[name].over == "branches"])
def test_a_sample_without_a_read_in_the_tree_takes_part_in_no_pair(metric: str, tmp_path: Path) -> None:
    samples, facts = as_samples(read_newick("(a:1,b:1);", tmp_path), ["a", "b", "absent"], np.eye(3))
    found = METRICS[metric].between(samples, samples, facts)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    assert found[0, 1] == pytest.approx(2.0 if metric == "weighted_unifrac" else 1.0, abs=1e-15)
    assert not METRICS[metric].is_available(MetricInputs(num_asvs=3))
    assert np.isnan(METRICS[metric].between(samples, samples, MetricInputs(num_asvs=3))).all()


def test_samples_with_branches_of_no_length_are_not_apart(tmp_path: Path) -> None:
    samples, facts = as_samples(read_newick("(a:0,b:0);", tmp_path), ["a", "b"], np.eye(2))
    for metric in METRICS.values():
        if metric.over == "branches":
            assert metric.between(samples, samples, facts).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_precomputed_distances_are_looked_up() -> None:
    matrix = np.arange(16, dtype=np.float32).reshape(4, 4)
    samples = [Sample(str(i), np.array([0], np.uint32), np.ones(1), position=i) for i in (3, 1)]
    found = METRICS["precomputed"].between(samples, samples[:1], MetricInputs(open_matrix=lambda: matrix))
    assert found.tolist() == [[15.0], [7.0]]


def published_matrix(path: Path) -> DistanceMatrix:
    with zipfile.ZipFile(path) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith("data/distance-matrix.tsv"))
        return DistanceMatrix.read(io.StringIO(archive.read(name).decode()))


def all_samples(shards: ShardSet, metrics: tuple[str, ...]) -> list[Sample]:
    """Read the samples of all splits as training does."""
    found = []
    for split in ("train", "validation", "test"):
        order = Order(shards.group_rows(split), 0, shuffled=False)
        columns = columns_needed(metrics, shards.metric_inputs)
        found += SampleReader(shards, columns).read_split(split, order)
    return found


def shard_study(run: Programs, real_data: RealData, study: str, table: str, work: Path) -> ShardSet:
    folder = real_data(study)
    beside = [*folder.glob("rep-seqs.qza")]
    if study == "exmp":  # has no sequences, so simulate one per id
        beside = [simulated_sequences(folder / table, work)]
    files = ["--tree", folder / "tree.qza", "--no-metadata", "--no-taxonomy"]
    files += ["--rep-seqs", beside[0]] if beside else []
    ran = run("aamprep", "shard", folder / table, *files, "--output", work / "shards", "--token-limit", 10)
    assert ran.code == 0, ran.err
    return open_shards(work / "shards")


PUBLISHED = (
    ("moving-pictures", "rarefied-table.qza", "unweighted-unifrac.qza"),
    ("moving-pictures", "rarefied-table.qza", "weighted-unifrac.qza"),
    ("lifestyle9", "rarefied-table.qza", "unweighted-unifrac.qza"),
    ("lifestyle9", "rarefied-table.qza", "weighted-unifrac.qza"),
    ("exmp", "rarefied-table.qza", "unweighted-unifrac.qza"),
    ("exmp", "grouped-rarefied-table.qza", "grouped-unweighted-unifrac.qza"),
)


@pytest.mark.real
@pytest.mark.parametrize(("study", "table", "matrix"), PUBLISHED)
def test_shards_give_the_published_matrix(
    study: str, table: str, matrix: str, real_data: RealData, run: Programs, tmp_path: Path
) -> None:
    shards = shard_study(run, real_data, study, table, tmp_path)
    metric = "weighted_unifrac" if matrix.startswith("weighted") else "unweighted_unifrac"
    samples = all_samples(shards, (metric,))
    published = published_matrix(real_data(study) / matrix)
    expected = published.filter([sample.sample_id for sample in samples]).data
    assert len(expected) == len(published.ids)
    for dtype in (np.float64, np.float32):
        found = METRICS[metric].between(samples, samples, shards.metric_inputs, Arithmetic(dtype))
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize(
    ("study", "table"),
    [
        ("moving-pictures", "rarefied-table.qza"),
        ("lifestyle9", "rarefied-table.qza"),
        pytest.param("crc-udca2", "table.qza", marks=pytest.mark.long),
        pytest.param("ibd-2538", "rarefied-table.qza", marks=pytest.mark.long),
        pytest.param("exmp", "rarefied-table.qza", marks=pytest.mark.long),
    ],
)
def test_real_studies_equal_scikit_bio(
    study: str, table: str, real_data: RealData, run: Programs, tmp_path: Path
) -> None:
    """Compare every metric on nine samples of a full study, whose tree scikit-bio reads independently."""
    shards = shard_study(run, real_data, study, table, tmp_path)
    samples = all_samples(shards, tuple(COMPUTED))
    chosen = samples[:: max(len(samples) // 9, 1)][:9]
    names, counts = table_of(real_data(study) / table, [sample.sample_id for sample in chosen])
    tree = scikit_bio_tree(real_data(study) / "tree.qza", names)
    in_tree = np.isin(names, [tip.name for tip in tree.tips()])
    for metric in COMPUTED:
        by_tree = METRICS[metric].over == "branches"
        used = counts[:, in_tree] if by_tree else counts
        own = [name for name, known in zip(names, in_tree, strict=True) if known]
        expected = by_scikit_bio(metric, used, own, tree)
        for dtype, bound in ((np.float64, 1e-12), (np.float32, 1e-6)):
            found = METRICS[metric].between(chosen, chosen, shards.metric_inputs, Arithmetic(dtype))
            np.testing.assert_allclose(found, expected, rtol=bound, atol=bound, err_msg=metric)


def table_of(path: Path, sample_ids: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the feature ids that occur in a table, and their counts in some of its samples."""
    table = read_table(path, Findings())
    assert table is not None
    counts = np.zeros((len(sample_ids), len(table.feature_ids)))
    for row, sample_id in enumerate(sample_ids):
        position = list(table.sample_ids).index(sample_id)
        part = slice(table.indptr[position], table.indptr[position + 1])
        counts[row, table.feature[part]] = table.count[part]
    is_present = np.zeros(len(table.feature_ids), dtype=bool)
    is_present[table.feature] = True
    return [table.feature_ids[i] for i in np.flatnonzero(is_present)], counts[:, is_present]


def scikit_bio_tree(path: Path, names: list[str]) -> TreeNode:
    with zipfile.ZipFile(path) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith("data/tree.nwk"))
        tree = TreeNode.read(io.StringIO(archive.read(name).decode()), convert_underscores=False)
    own = {tip.name for tip in tree.tips()}
    return tree.shear([name for name in names if name in own], prune=False)


def simulated_sequences(table: Path, folder: Path) -> Path:
    read = read_table(table, Findings())
    assert read is not None
    sequences = random_sequences(len(read.feature_ids))
    path = folder / "rep-seqs.fasta"
    path.write_text("".join(f">{i}\n{s}\n" for i, s in zip(read.feature_ids, sequences, strict=True)))
    return path
