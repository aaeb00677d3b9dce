"""Reads drawn anew at each step: as many as asked for, with the branches that they cover."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from aam_schemas.common.errors import InvalidDataError
from aammodel.data.rarefy import find_root_paths, rarefy_sample
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.distances.metrics import pairwise_distances
from aammodel.sample import Sample
from tests.helpers.shards import make_shards
from tests.helpers.studies import Programs

METRICS = ("weighted_unifrac", "unweighted_unifrac")


def stream_of(run: Programs, folder: Path, *options: object) -> BatchStream:
    shards = make_shards(run, folder, "--token-limit", 5, *options)
    # Only a stream that rarefies reads the columns that rarefaction needs.
    config = StreamConfig(batch_size=8, targets=METRICS, rarefy_fraction=0.3, accumulate=2)
    return BatchStream(shards, "train", config)


def test_paths_give_the_branch_lists_of_the_shards(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(run, tmp_path)
    for sample in stream.samples():
        asv = np.concatenate([sample.asv, sample.dropped_asv]).astype(np.int64)
        under = stream.shards.root_paths.reads_under(
            asv, np.concatenate([sample.count, sample.dropped_count])
        )
        np.testing.assert_array_equal(np.flatnonzero(under), np.sort(sample.branch))
        expected = np.zeros_like(under)
        expected[sample.branch] = sample.branch_count
        np.testing.assert_allclose(under, expected, rtol=1e-12)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_draw_is_part_of_the_sample(run: Programs, tmp_path: Path, share: float) -> None:
    stream = stream_of(run, tmp_path)
    for sample in stream.samples():
        drawn = rarefy_sample(sample, share, 0, 3, stream.shards.root_paths)
        again = rarefy_sample(sample, share, 0, 3, stream.shards.root_paths)
        other = rarefy_sample(sample, share, 0, 4, stream.shards.root_paths)
        assert drawn.count.tolist() == again.count.tolist()
        depth = sample.count.sum() + sample.dropped_count.sum()
        assert drawn.count.sum() + drawn.dropped_count.sum() in (
            max(1, int(share * depth)),
            max(1, int(share * depth)) + 1,  # where no read of a kept ASV was drawn
        )
        counts = dict(zip(sample.asv.tolist(), sample.count.tolist(), strict=True))
        for asv, count in zip(drawn.asv.tolist(), drawn.count.tolist(), strict=True):
            assert 0 < count <= counts[asv]
        places = [sample.asv.tolist().index(row) for row in drawn.asv.tolist()]
        assert places == sorted(places)
        if share == 0.5:
            assert (drawn.asv.tolist(), drawn.count.tolist()) != (other.asv.tolist(), other.count.tolist())


def test_the_mean_of_many_draws_is_the_share(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(run, tmp_path)
    sample = next(stream.samples())
    total = np.zeros(len(sample.asv))
    for step in range(300):
        drawn = rarefy_sample(sample, 0.5, 0, step, stream.shards.root_paths)
        total[np.searchsorted(np.sort(sample.asv), drawn.asv)] += drawn.count
    mean = total[np.searchsorted(np.sort(sample.asv), sample.asv)] / 300
    np.testing.assert_allclose(mean, sample.count / 2, rtol=0.1, atol=0.5)


def test_batches_are_those_of_the_draw_of_their_step(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(run, tmp_path)
    samples = {sample.sample_id: sample for sample in stream.samples()}
    # Two epochs, so that each sample is drawn from at two steps.
    for number, batch in enumerate(islice(iter(stream), 2 * stream.batches_per_epoch)):
        epoch, index = divmod(number, stream.batches_per_epoch)
        step = epoch * stream.steps_per_epoch + index // 2
        drawn = [
            rarefy_sample(samples[name], 0.3, stream.config.seed, step, stream.shards.root_paths)
            for name in batch.sample_ids
        ]
        for row, sample in enumerate(drawn):
            assert batch.count[row][batch.is_real[row]].tolist() == sample.count.tolist()
        np.testing.assert_allclose(batch.distance, distances_of_all_reads(drawn, stream), rtol=1e-6)


def distances_of_all_reads(samples: list[Sample], stream: BatchStream) -> np.ndarray:
    """Compute distances from the branches above all ASVs of each sample, those beyond the limit included."""
    with_branches = []
    for sample in samples:
        asv = np.concatenate([sample.asv, sample.dropped_asv]).astype(np.int64)
        under = stream.shards.root_paths.reads_under(
            asv, np.concatenate([sample.count, sample.dropped_count])
        )
        branch = np.flatnonzero(under)
        with_branches.append(replace(sample, branch=branch.astype(np.uint32), branch_count=under[branch]))
    return pairwise_distances(METRICS, with_branches, with_branches, stream.shards.metric_inputs)


def test_counts_that_are_not_whole_are_told(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(run, tmp_path)
    sample = next(stream.samples())
    with pytest.raises(InvalidDataError, match="only whole counts"):
        rarefy_sample(replace(sample, count=sample.count + 0.5), 0.5, 0, 0, stream.shards.root_paths)


def test_counts_within_rounding_are_drawn_as_whole_ones(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(run, tmp_path)
    sample = next(iter(stream.samples()))
    count, dropped = sample.count * (1 + 4e-16), sample.dropped_count * (1 - 5e-10)
    nearly = replace(sample, count=count, dropped_count=dropped)
    draws = [rarefy_sample(each, 0.5, 0, 3, stream.shards.root_paths) for each in (sample, nearly)]
    assert draws[0].count.tolist() == draws[1].count.tolist()
    assert draws[0].dropped_count.tolist() == draws[1].dropped_count.tolist()


def test_more_reads_than_can_be_drawn_from_are_told() -> None:
    sample = Sample("S0", np.array([0], np.uint32), np.array([1e9]))
    with pytest.raises(InvalidDataError, match=r"sample S0: it has 1,000,000,000 reads"):
        rarefy_sample(sample, 0.5, 0, 0, find_root_paths(np.array([-1]), np.array([0]), 1))
