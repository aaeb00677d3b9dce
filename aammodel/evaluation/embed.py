"""Embed the samples of a shard set. Each distinct ASV is encoded once, even if many samples share it.

The embedding of an ASV does not depend on the sample. So the embeddings of all ASVs are stored, on disk if
they are large, and only the sample encoder runs for each sample.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from aam_schemas.common.text import truncate_list
from aam_schemas.shards import SPLITS
from aammodel.data.collate import Slots, arrange_slots
from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.nn.model import AamModel, SampleEmbeddings
from aammodel.sample import Sample

SAMPLES_AT_ONCE = 32
"""Number of samples that are embedded together."""
ASVS_AT_ONCE = 4096
"""Number of ASVs that are encoded together."""
LARGEST_IN_MEMORY = 256 * 2**20
"""Size in bytes above which the embeddings of ASVs are stored in a memory-mapped file."""


class AsvCache:
    """Embeddings of the ASVs of a shard set, by their row in asvs.parquet.

    Parameters
    ----------
    model : AamModel
        The model. It is put into evaluation mode.
    shards : ShardSet
    asv_rows : ndarray of int, or None
        Rows of the ASVs to encode. By default, all ASVs that a sample keeps are encoded.
    largest_in_memory : int
        Size in bytes above which the embeddings are stored in a temporary file.
    """

    def __init__(
        self,
        model: AamModel,
        shards: ShardSet,
        asv_rows: npt.NDArray[np.integer] | None = None,
        largest_in_memory: int = LARGEST_IN_MEMORY,
    ) -> None:
        self.model = model.eval()
        self.asv_rows = np.arange(len(shards.tokens)) if asv_rows is None else np.unique(asv_rows)
        """Rows of the encoded ASVs in asvs.parquet, in ascending order."""
        self._tokens = shards.tokens
        self.embedding = _array((len(self.asv_rows), model.config.width), largest_in_memory)
        """Embeddings of the ASVs in that order, shape (ASVs, D)."""
        self._encode()

    @torch.no_grad()
    def embed(self, samples: Sequence[Sample], token_limit: int) -> SampleEmbeddings:
        """Return the embeddings of samples, each truncated to the token limit.

        Parameters
        ----------
        samples : sequence of Sample
        token_limit : int
            Maximum number of ASVs per sample.

        Returns
        -------
        SampleEmbeddings
            Embeddings in the order of the samples, on the model's device.

        Raises
        ------
        ValueError
            If an ASV of a sample is not in the cache.
        """
        parts = [
            self._embed_together(samples[start : start + SAMPLES_AT_ONCE], token_limit)
            for start in range(0, len(samples), SAMPLES_AT_ONCE)
        ]
        # Without samples, the result is empty but has the right widths.
        sizes, device = (self.model.num_features, self.model.config.width), self.model.device
        features, embedding = (torch.zeros((0, size), device=device) for size in sizes)
        return SampleEmbeddings(
            distance_features=torch.cat([features, *(part.distance_features for part in parts)]),
            embedding=torch.cat([embedding, *(part.embedding for part in parts)]),
        )

    @torch.no_grad()
    def embed_in_samples(self, samples: Sequence[Sample], token_limit: int) -> npt.NDArray[np.float32]:
        """Return the embedding of each ASV of each sample, after the sample transformer.

        Parameters
        ----------
        samples : sequence of Sample
            A few samples: they are computed together.
        token_limit : int
            Maximum number of ASVs per sample.

        Returns
        -------
        ndarray of float32, shape (ASVs of all samples, D)
            The ASVs of the first sample in its order, then those of the second, and so on.
        """
        slots = arrange_slots(samples, token_limit, len(self._tokens))
        on_device = self._on_device(self._embedding_of(slots), slots.slot, slots.count, slots.is_real)
        in_sample = self.model.sample_encoder.encode(*on_device).cpu().numpy()
        return np.asarray(in_sample[slots.is_real], dtype=np.float32)

    @torch.no_grad()
    def _encode(self) -> None:
        for start in range(0, len(self.asv_rows), ASVS_AT_ONCE):
            chunk = slice(start, start + ASVS_AT_ONCE)
            self.embedding[chunk] = asv_embeddings(self.model, self._tokens[self.asv_rows[chunk]])

    def _embed_together(self, samples: Sequence[Sample], token_limit: int) -> SampleEmbeddings:
        slots = arrange_slots(samples, token_limit, len(self._tokens))
        arrays = (self._tokens[slots.asv_row], slots.slot, slots.count, slots.is_real)
        return self.model.embed_samples(*self._on_device(self._embedding_of(slots), *arrays))

    def _embedding_of(self, slots: Slots) -> npt.NDArray[np.float32]:
        is_encoded = np.isin(slots.asv_row, self.asv_rows)
        if not is_encoded.all():
            missing = truncate_list(slots.asv_row[~is_encoded])
            raise ValueError(f"rows of asvs.parquet that were not encoded: {missing}")
        return self.embedding[np.searchsorted(self.asv_rows, slots.asv_row)]

    def _on_device(self, *arrays: npt.NDArray[Any]) -> list[torch.Tensor]:
        return [torch.from_numpy(array).to(self.model.device) for array in arrays]


@torch.no_grad()
def asv_embeddings(model: AamModel, tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the embedding of each ASV on its own, which is the same in every sample.

    Parameters
    ----------
    model : AamModel
        In evaluation mode.
    tokens : ndarray of uint8, shape (U, L)
        Token ids of the ASVs, `ASVS_AT_ONCE` at most.

    Returns
    -------
    ndarray of float32, shape (U, D)
    """
    embedding = model.encode_asvs(torch.from_numpy(tokens).to(model.device))
    return np.asarray(embedding.cpu().numpy(), dtype=np.float32)


@dataclass(frozen=True)
class Embeddings:
    """Embedding and distance features of samples, in the order of the shards' manifest or of the table."""

    sample_ids: tuple[str, ...]
    embedding: npt.NDArray[np.float32]
    """Mean of the states of the sample's ASVs, shape (samples, D). D is 128 by default."""
    distance_features: npt.NDArray[np.float32]
    """Vectors that the distance head compares, shape (samples, K). K is large: 6,784 by default, for 150
    bases."""

    def in_order(self, sample_ids: Sequence[str]) -> "Embeddings":
        """Return the rows of some samples, in the order of their ids."""
        row_of = {sample_id: row for row, sample_id in enumerate(self.sample_ids)}
        rows = [row_of[sample_id] for sample_id in sample_ids]
        return Embeddings(tuple(sample_ids), self.embedding[rows], self.distance_features[rows])


def sample_embeddings(
    model: AamModel,
    shards: ShardSet,
    split: str | None = None,
    token_limit: int | None = None,
    with_features: bool = True,
) -> Embeddings:
    """Return the embeddings of the samples of a shard set.

    Each distinct ASV is encoded once. Only the result grows in memory with the number of samples.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    split : {"train", "validation", "test"}, optional
        Split of the samples. By default, the samples of all splits are embedded.
    token_limit : int, optional
        Maximum number of ASVs per sample. By default, it is that of the shards.
    with_features : bool
        Whether to keep the distance features, which take 50 times as much memory as the embedding. Without
        them, `distance_features` has no column.

    Returns
    -------
    Embeddings

    Raises
    ------
    UsageError
        If the token limit is larger than that of the shards.
    InvalidDataError
        If a file is damaged, or a sample is invalid.
    """
    limit = shards.resolve_token_limit(token_limit)
    splits = filled_splits(shards, split)
    cache = AsvCache(model, shards, asvs_of(shards, splits, limit))
    ids: list[str] = []
    # Without samples, the arrays are empty but have the right widths.
    num_features = model.num_features if with_features else 0
    embeddings = [np.zeros((0, model.config.width), np.float32)]
    features = [np.zeros((0, num_features), np.float32)]
    for samples in samples_in_order(shards, splits):
        ids += [sample.sample_id for sample in samples]
        part = cache.embed(samples, limit)
        embeddings.append(part.embedding.cpu().numpy())
        features.append(part.distance_features[:, :num_features].cpu().numpy())
    return Embeddings(tuple(ids), np.concatenate(embeddings), np.concatenate(features))


def filled_splits(shards: ShardSet, split: str | None) -> list[str]:
    """Return the splits that have samples: all of them, or the given one."""
    return [name for name in SPLITS if split in (None, name) and shards.manifest.num_rows(name)]


def asvs_of(shards: ShardSet, splits: Sequence[str], token_limit: int) -> npt.NDArray[np.integer]:
    """Return the rows of the ASVs that the samples of some splits keep."""
    is_used = np.zeros(shards.manifest.num_kept_asvs, dtype=np.bool_)
    for samples in samples_in_order(shards, splits):
        for sample in samples:
            is_used[sample.asv[:token_limit]] = True
    return np.flatnonzero(is_used)


def samples_in_order(
    shards: ShardSet, splits: Sequence[str], columns: tuple[str, ...] = ()
) -> Iterator[list[Sample]]:
    """Yield the samples of some splits, `SAMPLES_AT_ONCE` at most, in the order of the manifest.

    Parameters
    ----------
    shards : ShardSet
    splits : sequence of str
    columns : tuple of str
        Columns to read, as for `SampleReader`.
    """
    reader = SampleReader(shards, columns)
    for split in splits:
        samples = reader.read_split(split, Order(shards.group_rows(split), seed=0, shuffled=False))
        while batch := list(islice(samples, SAMPLES_AT_ONCE)):
            yield batch


def _array(shape: tuple[int, int], largest_in_memory: int) -> npt.NDArray[np.float32]:
    """Return an uninitialized array. If it is large, it is stored in an unnamed temporary file."""
    if 4 * shape[0] * shape[1] <= largest_in_memory:
        return np.empty(shape, dtype=np.float32)
    # The system deletes the file when the array is no longer used.
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
