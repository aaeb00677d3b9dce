"""Methods of embedding a study for `infer.py`, each in a child process of its own.

With one thread, time is processor time, which other programs on the machine change little.
"""

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.evaluation.embed import sample_embeddings
from aammodel.nn.model import AamModel

from .child_processes import Answer
from .plain_transformer import PlainModel, pad

SPLITS = ("train", "validation", "test")
PLAIN_ARCHITECTURE = {"bases_per_position": 1, "bases_by_position": False, "kmers": False}
SAMPLES_AT_ONCE = 8
PART_BATCHES = 2
"""The plain transformer embeds 16 samples; its time is scaled up by the number of real slots."""


def embeddings(name: str, folder: Path, threads: int) -> Iterator[Answer]:
    """Prepare a method; then embed the study for each answer."""
    torch.set_num_threads(threads)
    clock, shards = time.process_time if threads == 1 else time.perf_counter, open_shards(folder)
    if name == "plain":
        return _plain(shards, clock)
    return _ours(shards, {} if name == "ours" else PLAIN_ARCHITECTURE, clock)


def _ours(shards: ShardSet, options: dict[str, object], clock: Callable[[], float]) -> Iterator[Answer]:
    model = _model(shards, options)
    yield _facts(shards)
    while True:
        start = clock()
        for split in SPLITS:
            sample_embeddings(model, shards, split)
        yield {"seconds": clock() - start, "peak_bytes": _peak_bytes()}


@torch.no_grad()
def _plain(shards: ShardSet, clock: Callable[[], float]) -> Iterator[Answer]:
    model = PlainModel(_model(shards, PLAIN_ARCHITECTURE), dropout=0.1).eval()
    batches = list(_batches(shards, "train", PART_BATCHES))
    facts = _facts(shards)
    model(pad(next(_batches(shards, "train", 1, token_limit=4))))
    yield facts
    while True:
        start = clock()
        for batch in batches:
            model(pad(batch))
        seconds = clock() - start
        fraction = sum(int(batch.is_real.sum()) for batch in batches) / facts["real"]
        yield {"seconds": seconds / fraction, "fraction": fraction, "peak_bytes": _peak_bytes()}


def _model(shards: ShardSet, options: dict[str, object]) -> AamModel:
    torch.manual_seed(0)
    return AamModel(ModelConfig(sequence_length=shards.manifest.sequence_length, **options)).eval()


def _batches(shards: ShardSet, split: str, number: int, token_limit: int | None = None) -> Iterator[Batch]:
    config = StreamConfig(batch_size=SAMPLES_AT_ONCE, token_limit=token_limit)
    for batch, _ in zip(BatchStream(shards, split, config).epoch(), range(number), strict=False):
        yield batch


def _facts(shards: ShardSet) -> dict[str, int]:
    """Count the real slots of all samples."""
    real = 0
    for split in SPLITS:
        samples = SampleReader(shards).read_split(split, Order(shards.group_rows(split), 0, shuffled=False))
        real += sum(len(sample.asv) for sample in samples)
    num_samples = sum(shards.manifest.num_rows(split) for split in SPLITS)
    return {"samples": num_samples, "real": real, "distinct": shards.manifest.num_kept_asvs}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
