"""Shards to batches: the right samples, the right ASVs, the right distances, and nothing that is broken."""

import json
import multiprocessing
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from aam_schemas.common.errors import AamError, InvalidDataError, UsageError
from aam_schemas.manifest import read_manifest
from aam_schemas.vocabulary import decode
from aammodel.batch import IGNORED, Batch
from aammodel.data import workers
from aammodel.data.masking import Masking
from aammodel.data.order import Order, ShuffleWindow
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.data.workers import load_batches
from aammodel.objectives.distances import is_pair
from tests.helpers.shards import counts_by_sample, make_shards, rewrite_samples
from tests.helpers.studies import Programs


def stream_of(shards: ShardSet, batch_size: int = 4, split: str = "train") -> BatchStream:
    return BatchStream(shards, split, StreamConfig(batch_size=batch_size))


def changed(stream: BatchStream, **options: object) -> BatchStream:
    """Return a stream with other options."""
    return replace(stream, config=replace(stream.config, **options))


def take(stream: BatchStream, number: int) -> list[tuple[str, ...]]:
    return [batch.sample_ids for batch in islice(iter(stream), number)]


def test_a_batch_holds_the_samples_as_the_table_has_them(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    asvs = pq.read_table(tmp_path / "shards" / "asvs.parquet")["sequence"].to_pylist()
    table = counts_by_sample()
    for batch in stream_of(shards).epoch():
        assert decode(batch.tokens.numpy()) == [asvs[row] for row in batch.asv_row.tolist()]
        assert len(set(batch.asv_row.tolist())) == len(batch.asv_row)
        for row, sample_id in enumerate(batch.sample_ids):
            real = batch.is_real[row]
            assert (batch.count[row][~real] == 0).all()
            assert sorted(batch.count[row][real].tolist()) == sorted(table[sample_id][table[sample_id] > 0])
            # Most abundant first: an order that any limit may cut.
            assert (batch.count[row][real].diff() <= 0).all()


def test_bases_are_hidden_in_the_asvs_read_and_in_no_other(run: Programs, tmp_path: Path) -> None:
    stream = changed(stream_of(make_shards(run, tmp_path)), masking=Masking(asv_encode_fraction=0.5))
    batches = list(islice(iter(stream), 6))
    for batch in batches:
        assert set(batch.masked[:, 0].tolist()) == set(batch.is_encoded.nonzero()[:, 0].tolist())
        rows, places = batch.masked.T
        assert torch.equal(batch.tokens[rows, places].long(), batch.masked_token)
    shares = [float(batch.is_encoded.float().mean()) for batch in batches]
    assert 0 < min(shares) < 1
    assert all(batch.is_encoded.all() for batch in stream_of(stream.shards).epoch())


def test_a_token_limit_takes_a_prefix(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    stream = stream_of(shards)
    for whole, cut in zip(stream.epoch(), changed(stream, token_limit=3).epoch(), strict=True):
        assert cut.is_real.sum(dim=1).max() <= 3
        assert torch.equal(cut.count, whole.count[:, :3])
        # Truncation changes what the model sees, never the truth that it learns.
        assert torch.equal(cut.distance, whole.distance)


def test_a_limit_above_the_shards_is_wrong_usage(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path, "--token-limit", 5)
    with pytest.raises(AamError, match="larger than the 5"):
        BatchStream(shards, "train", StreamConfig(token_limit=6))


def test_the_stream_goes_on_where_it_stopped(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(make_shards(run, tmp_path))
    whole = list(islice(iter(stream), 30))
    for start in (1, 7, stream.batches_per_epoch, stream.batches_per_epoch + 3):
        for late, batch in zip(iter(stream.from_batch(start)), whole[start:], strict=False):
            assert late.sample_ids == batch.sample_ids
            assert torch.equal(late.masked, batch.masked)


def test_every_sample_comes_once_an_epoch(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(make_shards(run, tmp_path))
    per_epoch = stream.batches_per_epoch
    ids = [
        [i for batch in take(stream.from_batch(e * per_epoch), per_epoch) for i in batch] for e in range(3)
    ]
    assert ids[0] != ids[1]
    assert sorted(ids[0]) == sorted(ids[1]) == sorted(ids[2]) == sorted(set(ids[0]))


def test_workers_change_nothing(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(make_shards(run, tmp_path))
    alone = [
        (batch.sample_ids, batch.masked.tolist()) for batch in islice(load_batches(stream, 0, False), 15)
    ]
    helped = [
        (batch.sample_ids, batch.masked.tolist()) for batch in islice(load_batches(stream, 2, False), 15)
    ]
    assert alone == helped


@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_what_ranks_take_adds_up_to_the_micro_batch(num_ranks: int, run: Programs, tmp_path: Path) -> None:
    """Every sample, hidden base and pair counts once; the last batch has fewer samples than four ranks."""
    stream = stream_of(make_shards(run, tmp_path), batch_size=9)
    dealt = [stream.for_rank(rank, num_ranks).epoch() for rank in range(num_ranks)]
    for whole, *parts in zip(stream.epoch(), *dealt, strict=True):
        taken = [part for rank, part in enumerate(parts) if rank < whole.num_samples]
        assert sorted(i for part in taken for i in part.sample_ids) == sorted(whole.sample_ids)
        assert sorted(base for part in parts for base in hidden_bases(part)) == hidden_bases(whole)
        pairs = [pair for part in parts for pair in true_distances(part)]
        assert sorted(pairs) == true_distances(whole)
        for part in parts:
            assert len(part.sample_ids) == len(part.distance[0])
            assert part.distance.shape[2] == part.micro_batch_size == whole.num_samples


def hidden_bases(batch: Batch) -> list[tuple[int, int, int]]:
    """List ASV, position and token of the bases that count, in order."""
    counts = batch.masked_token != IGNORED
    asv = batch.asv_row[batch.masked[counts, 0]]
    return sorted(
        zip(asv.tolist(), batch.masked[counts, 1].tolist(), batch.masked_token[counts].tolist(), strict=True)
    )


def true_distances(batch: Batch) -> list[tuple[int, int, float]]:
    """List the pairs that count, by the places of their samples in the micro-batch."""
    rows, columns = is_pair(batch)[0].nonzero(as_tuple=True)
    distances = batch.distance[0, rows, columns].tolist()
    return sorted(zip(batch.position[rows].tolist(), columns.tolist(), distances, strict=True))


def test_bucketing_is_the_same_for_any_workers_and_leaves_less_padding(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(make_shards(run, tmp_path))
    bucketed = changed(stream, bucket=True)
    assert take(bucketed, 15) == [batch.sample_ids for batch in islice(load_batches(bucketed, 2, False), 15)]
    ids = [i for batch in take(bucketed, bucketed.batches_per_epoch) for i in batch]
    plain = [i for batch in take(stream, stream.batches_per_epoch) for i in batch]
    assert sorted(ids) == sorted(plain)
    padding = [sum(int((~batch.is_real).sum()) for batch in each.epoch()) for each in (stream, bucketed)]
    assert padding[1] < 0.7 * padding[0]


class LargestGroupFirst:
    """An order that a user might write: whole row groups, the largest one first."""

    def __init__(self, group_rows: tuple[int, ...]) -> None:
        self.group_rows = group_rows
        self.num_samples = sum(group_rows)

    def windows(self, epoch: int, first_sample: int = 0) -> Iterator[ShuffleWindow]:
        before = 0
        for group in sorted(range(len(self.group_rows)), key=lambda group: -self.group_rows[group]):
            rows = self.group_rows[group]
            if first_sample < before + rows:
                yield ShuffleWindow((group,), np.arange(rows)[::-1], before, max(0, first_sample - before))
            before += rows


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_order_of_your_own(num_workers: int, run: Programs, tmp_path: Path) -> None:
    stream = stream_of(make_shards(run, tmp_path))
    own = replace(stream, sample_order=LargestGroupFirst(stream.shards.group_rows("train")))
    expected = [
        sample.sample_id
        for group in sorted(stream.shards.row_groups_of("train"), key=lambda group: -group.rows)
        for sample in reversed(stream.reader.read([group]))
    ]
    batches = list(islice(load_batches(own, num_workers, False), 2 * own.batches_per_epoch))
    ids = [i for batch in batches for i in batch.sample_ids]
    assert ids == 2 * expected
    late = islice(load_batches(own.from_batch(3), num_workers, False), 2)
    assert [batch.sample_ids for batch in late] == [batch.sample_ids for batch in batches[3:5]]


def test_without_a_tree_there_is_no_distance(run: Programs, tmp_path: Path) -> None:
    batch = next(iter(stream_of(make_shards(run, tmp_path, has_tree=False))))
    assert batch.distance.isnan().all()


@pytest.mark.parametrize("count", [[0.0], [float("nan")], [-1.0], [float("inf")]])
def test_a_sample_that_the_schemas_would_refuse_is_refused_by_name(
    count: list[float], run: Programs, tmp_path: Path
) -> None:
    shards = make_shards(run, tmp_path)
    table = pq.read_table(shards.folder / shards.manifest.sample_files("train")[0].name)
    lists = table["count"].to_pylist()
    lists[2] = count * len(lists[2])
    changed = rewrite_samples(shards, "count", pa.array(lists, pa.list_(pa.float64())))
    with pytest.raises(InvalidDataError) as error:
        list(stream_of(changed).epoch())
    assert table["sample_id"][2].as_py() in str(error.value)


def test_an_asv_that_does_not_exist_is_refused_by_name(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    table = pq.read_table(shards.folder / shards.manifest.sample_files("train")[0].name)
    lists = table["asv"].to_pylist()
    lists[0][0] = 10**6
    changed = rewrite_samples(shards, "asv", pa.array(lists, pa.list_(pa.uint32())))
    with pytest.raises(InvalidDataError) as error:
        list(stream_of(changed).epoch())
    assert table["sample_id"][0].as_py() in str(error.value)


@pytest.mark.parametrize("trials", [30, pytest.param(150, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("kind", "columns"),
    [("samples-train", ("asv", "count", "branch")), ("tree", ("length",)), ("asvs", ("tokens",))],
)
def test_one_changed_byte_is_noticed_before_a_wrong_value_is_used(
    kind: str,
    columns: tuple[str, ...],
    trials: int,
    run: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shards = make_shards(run, tmp_path)
    truth = all_values(shards)
    path = next(tmp_path.glob(f"shards/{kind}*.parquet"))
    content = path.read_bytes()
    # The columns that training reads: in others a change would change nothing.
    places = [*pages(path, columns), footer(path)]
    rng = np.random.default_rng(0)
    for trial in range(trials):
        changed = bytearray(content)
        changed[rng.choice(places[trial % len(places)])] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        # No tokens that were read before the change.
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache-{trial}"))
        try:
            seen = all_values(open_shards(shards.folder))
        except AamError:
            pass  # noticed, with a message
        else:
            assert seen == truth, f"trial {trial}: a wrong value was used"


def all_values(shards: ShardSet) -> list[tuple[object, ...]]:
    """List what a model sees of the training samples."""
    return [
        (b.sample_ids, b.tokens.tolist(), b.slot.tolist(), b.count.tolist(), b.distance.tolist())
        for b in stream_of(shards).epoch()
    ]


def pages(path: Path, columns: tuple[str, ...]) -> list[range]:
    """Return the bytes of the pages of some columns, in the first row group."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    found = []
    for part in map(group.column, range(group.num_columns)):
        if part.path_in_schema.split(".")[0] in columns:
            start = part.dictionary_page_offset or part.data_page_offset
            found.append(range(start, start + part.total_compressed_size))
    return found


def footer(path: Path) -> range:
    """Return the bytes of a Parquet file's footer."""
    size = path.stat().st_size
    return range(size - 8 - int.from_bytes(path.read_bytes()[-8:-4], "little"), size)


@pytest.mark.parametrize("damage", ["absent", "changed", "version", "not json", "no checksum", "cut"])
def test_what_is_no_shard_set_is_said_so(damage: str, run: Programs, tmp_path: Path) -> None:
    folder = make_shards(run, tmp_path).folder
    manifest = folder / "manifest.json"
    if damage == "absent":
        manifest.unlink()
    elif damage == "changed":
        manifest.write_text(manifest.read_text().replace('"seed": 0', '"seed": 1'))
    elif damage == "no checksum":
        (folder / "manifest.sha256").unlink()
    elif damage == "cut":
        manifest.write_text(manifest.read_text()[:100])
    else:
        document = json.loads(manifest.read_text()) | {"format_version": 99}
        text = "[" if damage == "not json" else json.dumps(document)
        manifest.write_text(text)
        import hashlib

        (folder / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest())
    with pytest.raises(InvalidDataError):
        read_manifest(folder)
    ran = run("aammodel", "pretrain", folder, "--output", tmp_path / "run")
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert not (tmp_path / "run").exists()


def test_a_large_set_costs_no_more_at_each_batch(run: Programs, tmp_path: Path) -> None:
    stream = stream_of(make_shards(run, tmp_path))
    large = replace(stream, sample_order=Order((1000,) * 10_000, seed=0))
    tracemalloc.start()
    assert large.steps_per_epoch == large.batches_per_epoch == 2_500_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


class Hangs:
    """A stream that never gives anything."""

    def __iter__(self) -> Iterator[Batch]:
        time.sleep(600)
        yield from ()


def test_a_worker_that_hangs_is_an_error_and_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORKER_TIMEOUT_SECONDS", 3)
    before = multiprocessing.active_children()
    with pytest.raises(UsageError, match="timed out"):
        next(load_batches(Hangs(), 1, pin_memory=False))
    deadline = time.monotonic() + 30
    while set(multiprocessing.active_children()) - set(before):
        assert time.monotonic() < deadline, "the worker is left behind"
        time.sleep(0.1)
