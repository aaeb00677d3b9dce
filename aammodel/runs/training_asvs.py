"""A hash of each ASV that a run was trained on, so that you learn which ASVs of another table are new to it.

`training-asvs.safetensors` holds the 64-bit hashes of the ASVs of the training samples, sorted as unsigned
numbers and stored as int64 with the same bits, and the median depth of these samples. It takes 8 bytes per
ASV. The probability that two of a million ASVs have the same hash is 3e-8.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from aam_schemas.common.hashing import splitmix64_in_place
from aam_schemas.vocabulary import PAD
from aammodel.config.train import TrainConfig
from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.runs.checkpoint import CHECKPOINTS
from aammodel.runs.tensor_file import Kind, TensorFile, read_header, read_tensors, tensor_file

TRAINING_ASVS_FILE = "training-asvs.safetensors"
_HASH, _DEPTH = "hash", "median_depth"
_ASVS_AT_ONCE = 1 << 16
_FIX = "copy the run again, or remove this file: the model does not need it"

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TrainingAsvs:
    """Record of the training samples in a run: hashes of their ASVs, and their median depth."""

    hashes: Hashes
    """Hashes of their ASVs, in ascending order."""
    median_depth: float
    """Median number of reads of a sample, after rarefaction, also in ASVs beyond the token limit."""

    def are_seen(self, tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which ASVs, given by their tokens (U, L), a training sample had, shape (U,)."""
        return np.isin(hash_asvs(tokens), self.hashes)

    def with_others(self, others: "TrainingAsvs") -> "TrainingAsvs":
        """Return the ASVs of both, with the depth of the others."""
        return TrainingAsvs(np.union1d(self.hashes, others.hashes), others.median_depth)

    def file(self) -> TensorFile:
        """Return the content of the file."""
        tensors = {
            _HASH: torch.from_numpy(self.hashes.view(np.int64)),
            _DEPTH: torch.tensor([self.median_depth], dtype=torch.float64),
        }
        return tensor_file(tensors, {})


def hash_asvs(tokens: npt.NDArray[np.uint8]) -> Hashes:
    """Return a hash of the bases of each ASV, which does not depend on padding.

    Parameters
    ----------
    tokens : ndarray of uint8, shape (U, L)

    Returns
    -------
    ndarray of uint64, shape (U,)
    """
    hashes = np.zeros(len(tokens), dtype=np.uint64)
    for start in range(0, len(tokens), _ASVS_AT_ONCE):
        columns = np.ascontiguousarray(tokens[start : start + _ASVS_AT_ONCE].T)
        part = hashes[start : start + _ASVS_AT_ONCE]
        for column in columns:
            mixed = part ^ column
            splitmix64_in_place(mixed)
            np.copyto(part, mixed, where=column != PAD)
    return hashes


def find_training_asvs(shards: ShardSet, train: TrainConfig) -> TrainingAsvs:
    """Return the ASVs that the model may see in training, and the depth of the training samples.

    Parameters
    ----------
    shards : ShardSet
    train : TrainConfig
    """
    # Rarefaction removes ASVs, and ASVs beyond the token limit take their places.
    limit = train.token_limit if train.rarefy_fraction == 1 else None
    is_seen, depths = np.zeros(len(shards.tokens), dtype=np.bool_), []
    order = Order(shards.group_rows("train"), seed=0, shuffled=False)
    for sample in SampleReader(shards, ("dropped_count",)).read_split("train", order):
        is_seen[sample.asv[:limit]] = True
        depths.append(sample.count.sum() + sample.dropped_count.sum())
    return TrainingAsvs(np.unique(hash_asvs(shards.tokens[is_seen])), float(np.median(depths)))


def read_training_asvs(run: Path) -> TrainingAsvs | None:
    """Read the training ASVs of a run. None if it has none: it was imported, or an earlier version wrote it.

    Parameters
    ----------
    run : Path
        Folder of the run or of one of its checkpoints, or a model file in one of them.

    Raises
    ------
    InvalidDataError
        If the file is damaged.
    """
    folder = run.absolute() if run.is_dir() else run.absolute().parent
    path = (folder.parents[1] if folder.parent.name == CHECKPOINTS else folder) / TRAINING_ASVS_FILE
    if not path.exists():
        return None
    header = read_header(path, (), _FIX)
    if header.sha256 is None:
        raise header.refuse("its header has no sha256")
    number = header.kinds[_HASH].shape[:1] if _HASH in header.kinds else (0,)
    header.require({_HASH: Kind(torch.int64, number), _DEPTH: Kind(torch.float64, (1,))})
    tensors = read_tensors(header)
    return TrainingAsvs(tensors[_HASH].numpy().view(np.uint64), float(tensors[_DEPTH]))
