"""A child process of `infer.py`: it prepares one way of embedding samples, and embeds whenever it is told to.

`python embeds.py WAY SHARDS THREADS` prints one JSON object when it is ready, and one for each line that it
reads. With one thread time is that of the processor, which other programs on the machine change little.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from plain import PlainModel, pad

from aammodel.batch import Batch
from aammodel.config import ModelConfig
from aammodel.infer import sample_embeddings
from aammodel.model import AamModel
from aammodel.shards import ShardSet, open_shards
from aammodel.stream import Masks, split_order, stream_split

SPLITS = ("train", "validation", "test")
USUAL = {"bases_per_position": 1, "bases_by_position": False}
SAMPLES_AT_ONCE = 8
PART_BATCHES = 2
"""The usual way embeds 16 samples of the study; it knows no ASV again, so its time follows the real slots."""


def main() -> None:
    """Prepare, then embed for each line read."""
    way, folder, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    clock = time.process_time if threads == "1" else time.perf_counter
    shards = open_shards(Path(folder))
    work = iter(
        _plain(shards, clock) if way == "plain" else _ours(shards, {} if way == "ours" else USUAL, clock)
    )
    for _ in _once_and(sys.stdin):
        print(json.dumps(next(work)), flush=True)


def _ours(
    shards: ShardSet, options: dict[str, object], clock: Callable[[], float]
) -> Iterator[dict[str, object]]:
    model = _model(shards, options)
    yield _facts(shards)
    while True:
        start = clock()
        for split in SPLITS:
            sample_embeddings(model, shards, split)
        yield {"seconds": clock() - start, "peak_bytes": _peak_bytes()}


@torch.no_grad()
def _plain(shards: ShardSet, clock: Callable[[], float]) -> Iterator[dict[str, object]]:
    model = PlainModel(_model(shards, USUAL), dropout=0.1).eval()
    batches = list(_batches(shards, "train", PART_BATCHES))
    facts = _facts(shards)
    model(pad(next(_batches(shards, "train", 1, token_limit=4))))
    yield facts
    while True:
        start = clock()
        for batch in batches:
            model(pad(batch))
        seconds = clock() - start
        share = sum(int(one.is_real.sum()) for one in batches) / facts["real"]
        yield {"seconds": seconds / share, "share": share, "peak_bytes": _peak_bytes()}


def _model(shards: ShardSet, options: dict[str, object]) -> AamModel:
    torch.manual_seed(0)
    return AamModel(ModelConfig(sequence_length=shards.manifest.sequence_length, **options)).eval()


def _batches(shards: ShardSet, split: str, number: int, token_limit: int | None = None) -> Iterator[Batch]:
    order = split_order(shards, split, seed=0, shuffled=True)
    stream = stream_split(shards, split, order, Masks(), SAMPLES_AT_ONCE, token_limit)
    for batch, _ in zip(stream.epoch(), range(number), strict=False):
        yield batch


def _facts(shards: ShardSet) -> dict[str, int]:
    """Count the real slots of all samples."""
    real = 0
    for split in SPLITS:
        stream = stream_split(
            shards, split, split_order(shards, split, 0, False), None, SAMPLES_AT_ONCE, None
        )
        real += sum(min(len(sample.asv), stream.token_limit) for sample in stream.samples())
    samples = sum(shards.manifest.num_rows(split) for split in SPLITS)
    return {"samples": samples, "real": real, "distinct": shards.manifest.num_kept_asvs}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _once_and(lines: Iterator[str]) -> Iterator[str]:
    yield ""
    yield from lines


if __name__ == "__main__":
    main()
