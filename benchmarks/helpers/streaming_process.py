"""Stream a shard set in a process of its own, and print how fast it was.

    python benchmarks/helpers/streaming_process.py SHARDS BATCHES [TARGET]

With a target, each batch has its distances by it. The output is JSON: seconds to open the set and to the
first batch, samples per second, memory and its growth.
"""

import json
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from aammodel.data.masking import Masking
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.stream import BatchStream, StreamConfig

BATCH_SIZE = 32
BATCHES_PER_LOOK = 50
WARM_UP = 500
"""Batches after which memory is looked at: until then buffers grow to their size."""


def make_stream(shards: ShardSet, masking: Masking | None, targets: tuple[str, ...]) -> BatchStream:
    """Make the stream of the training samples."""
    return BatchStream(shards, "train", StreamConfig(batch_size=BATCH_SIZE, masking=masking, targets=targets))


def main() -> None:
    """Open, stream, and print what it took."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    stream = make_stream(open_shards(Path(sys.argv[1])), None, tuple(sys.argv[3:]))
    opened = time.perf_counter() - started
    batches = iter(stream)
    next(batches)
    first, begun, looks, num_samples = time.perf_counter() - started, time.perf_counter(), [], 0
    for number, batch in enumerate(islice(batches, int(sys.argv[2]))):
        num_samples += batch.num_samples
        if number >= WARM_UP and number % BATCHES_PER_LOOK == 0:
            looks.append((number, _own_megabytes()))
    seconds = time.perf_counter() - begun
    number, megabytes = np.array(looks).T
    print(
        json.dumps({
            "open_seconds": opened,
            "first_batch_seconds": first,
            "samples_per_second": num_samples / seconds,
            "megabytes": float(np.median(megabytes)),
            "megabytes_per_1000_batches": 1000 * float(np.polyfit(number, megabytes, 1)[0]),
        })
    )  # fmt: skip


def _own_megabytes() -> float:
    """Resident memory of this process alone; pages of mapped files belong to the system's cache."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    main()
