"""Published studies with samples held out from training, for the benchmarks of quality."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from aamprep.read import read_table
from aamprep.rules.findings import Findings

from .paths import STUDIES_FOLDER

NUM_HELD_OUT = 200
HELD_OUT = ("chosen-on", "fresh")
"""Samples on which settings were chosen, and as many on which none was chosen."""


@dataclass(frozen=True)
class Study:
    """A published study and how it is rarefied."""

    name: str
    table: str
    depth: int

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return STUDIES_FOLDER / self.name


STUDIES = (Study("crc-udca2", "table.qza", 5000), Study("ibd-2538", "table.biom", 2000))


@dataclass(frozen=True)
class HeldOut:
    """Shards of the samples to train on, and of those held out."""

    train: Path
    unseen: Path


def hold_out(study: Study, which: str, work: Path) -> HeldOut:
    """Shard a study as samples to train on and 200 that training never sees.

    The ids of the samples with enough reads are shuffled (numpy's `default_rng(0)`): the first 200 are
    "chosen-on". The rest are shuffled by another seed, and the first 200 of them are "fresh".
    """
    work.mkdir(parents=True, exist_ok=True)
    unseen = set(_ids(study)[which])
    sets_file = work / f"{which}.tsv"
    # Called "train" and not by another name: `--split-by` puts all of them into the split train.
    lines = [f"{name}\t{'unseen' if name in unseen else 'train'}" for name in _ids(study)["all"]]
    sets_file.write_text("\n".join(["sample-id\tset", *lines]) + "\n", encoding="utf-8")
    found = HeldOut(work / f"{which}-train", work / f"{which}-unseen")
    for folder, name in ((found.train, "train"), (found.unseen, "unseen")):
        if not folder.exists():
            _shard(study, sets_file, name, folder)
    return found


@cache
def _ids(study: Study) -> dict[str, list[str]]:
    table = read_table(study.folder / study.table, Findings())
    if table is None:
        raise SystemExit(f"{study.folder / study.table} cannot be read")
    reads = np.array([part.sum() for part in np.split(table.count, table.indptr[1:-1])])
    ids = [name for name, depth in zip(table.sample_ids, reads, strict=True) if depth >= study.depth]
    np.random.default_rng(0).shuffle(ids)
    rest = ids[NUM_HELD_OUT:]
    np.random.default_rng(1).shuffle(rest)
    return {"all": ids, "chosen-on": ids[:NUM_HELD_OUT], "fresh": rest[:NUM_HELD_OUT]}


def _shard(study: Study, sets_file: Path, name: str, folder: Path) -> None:
    command = ["aamprep", "shard", str(study.folder / study.table), "--output", str(folder)]
    command += ["--rarefy-depth", str(study.depth), "--metadata", str(sets_file)]
    command += ["--where", f"set={name}", "--split-by", "set"]
    subprocess.run(command, check=True, capture_output=True)
