"""Batches of published studies and of a simulated one, for the benchmarks of speed."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from aammodel.batch import Batch
from aammodel.data.masking import Masking
from aammodel.data.shards import open_shards
from aammodel.data.stream import BatchStream, StreamConfig

from .paths import STUDIES_FOLDER

SIMULATED_SAMPLES, SIMULATED_ASVS = 400, 1000


@dataclass(frozen=True)
class Workload:
    """A study and its token limit."""

    name: str
    table: str
    token_limit: int = 512

    def shard(self, work: Path) -> Path:
        """Write the shards of the study unless they exist, and return their folder."""
        shards = work / self.name
        if not shards.exists():
            _run("shard", _table(self, work), "--token-limit", self.token_limit, "--output", shards)
        return shards


SIMULATED = Workload("simulated", "table.biom")
WORKLOADS = (
    Workload("ibd-2538", "table.biom"),
    Workload("crc-udca2", "table.qza"),
    Workload("homes-10333", "table.qza", token_limit=256),
    SIMULATED,
)


def first_batch(
    shards_folder: Path, num_samples: int, asv_encode_fraction: float, token_limit: int | None
) -> Batch:
    """Make a batch of the first training samples, in an order drawn from a fixed seed."""
    shards = open_shards(shards_folder)
    masking = Masking(asv_encode_fraction=asv_encode_fraction)
    config = StreamConfig(batch_size=num_samples, token_limit=token_limit, masking=masking)
    return next(iter(BatchStream(shards, "train", config)))


def _table(workload: Workload, work: Path) -> Path:
    if workload is not SIMULATED:
        return STUDIES_FOLDER / workload.name / workload.table
    study = work / "simulated-study"
    _run("simulate", study, "--samples", SIMULATED_SAMPLES, "--asvs", SIMULATED_ASVS)
    return study / workload.table


def _run(*arguments: object) -> None:
    subprocess.run(["aamprep", *map(str, arguments)], check=True, capture_output=True)
