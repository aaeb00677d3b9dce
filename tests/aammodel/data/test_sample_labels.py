"""Labels of samples follow from the whole table and the tree, as scikit-bio computes them."""

from pathlib import Path

import biom
import numpy as np
import pytest
import skbio

from aammodel.data.sample_labels import label_columns, sample_labels
from aammodel.data.samples import SampleReader
from aammodel.data.shards import open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from tests.helpers.shards import make_shards
from tests.helpers.studies import Programs

NAMES = ("faith_pd", "richness")


@pytest.fixture
def folder(run: Programs, tmp_path: Path) -> Path:
    """Return a folder with a table, a tree and shards that keep few of the ASVs of each sample."""
    make_shards(run, tmp_path, "--token-limit", 5)
    return tmp_path


def test_they_equal_scikit_bio_and_take_the_whole_sample(folder: Path) -> None:
    shards = open_shards(folder / "shards")
    table = biom.load_table(str(folder / "table.biom"))
    tree = skbio.TreeNode.read(str(folder / "tree.nwk"))
    samples = SampleReader(shards, label_columns(NAMES, shards)).read(shards.row_groups)
    labels = sample_labels(NAMES, samples, shards.metric_inputs)
    assert labels is not None
    counts = np.stack([table.data(sample.sample_id, axis="sample", dense=True) for sample in samples])
    assert labels.of("richness").tolist() == (counts > 0).sum(axis=1).tolist()
    assert max(len(sample.asv) for sample in samples) == 5
    expected = skbio.diversity.alpha_diversity(
        "faith_pd", counts.astype(int), taxa=table.ids(axis="observation"), tree=tree
    )
    np.testing.assert_allclose(labels.of("faith_pd").numpy(), expected.to_numpy(), rtol=1e-5)


def test_batches_have_them_only_if_they_are_asked_for(folder: Path) -> None:
    shards = open_shards(folder / "shards")
    plain = next(iter(BatchStream(shards, "train", StreamConfig())))
    labelled = next(iter(BatchStream(shards, "train", StreamConfig(labels=NAMES))))
    assert plain.labels is None
    assert labelled.labels is not None
    assert labelled.labels.names == NAMES
    assert labelled.labels.values.shape == (2, labelled.num_samples)


def test_reads_that_are_drawn_anew_have_labels_of_their_own(folder: Path) -> None:
    shards = open_shards(folder / "shards")
    whole, part = (
        next(iter(BatchStream(shards, "train", StreamConfig(labels=NAMES, rarefy_fraction=fraction))))
        for fraction in (1.0, 0.2)
    )
    assert whole.labels is not None
    assert part.labels is not None
    for name in NAMES:
        assert (part.labels.of(name) <= whole.labels.of(name)).all()
    assert (part.labels.of("richness") < whole.labels.of("richness")).any()


def test_without_a_tree_there_is_no_faith_pd(run: Programs, tmp_path: Path) -> None:
    make_shards(run, tmp_path)
    ran = run("aamprep", "shard", tmp_path / "table.biom", "--no-tree", "--output", tmp_path / "plain")
    assert ran.code == 0, ran.err
    shards = open_shards(tmp_path / "plain")
    samples = SampleReader(shards, label_columns(NAMES, shards)).read(shards.row_groups)
    labels = sample_labels(NAMES, samples, shards.metric_inputs)
    assert labels is not None
    assert labels.of("faith_pd").isnan().all()
    assert (labels.of("richness") >= 1).all()
