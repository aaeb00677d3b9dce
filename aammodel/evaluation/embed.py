"""Embeddings of samples: each distinct ASV of a shard set is encoded once, however many samples share it.

What an ASV is does not depend on the sample that it is in. So its embedding is kept, on disk where all of
them are large, and only the part that brings a sample's ASVs together runs for each sample.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from aam_schemas.common.text import truncate_list
from aam_schemas.shards import SPLITS
from aammodel.data.collate import arrange_slots
from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.nn.model import AamModel, SampleEmbeddings
from aammodel.sample import Sample

SAMPLES_AT_ONCE = 32
ASVS_AT_ONCE = 4096
LARGEST_IN_MEMORY = 256 * 2**20
"""Bytes of embeddings above which they are kept in a file that is mapped into memory."""


class AsvCache:
    """The embeddings of a shard set's ASVs, by their row in asvs.parquet.

    Parameters
    ----------
    model : AamModel
        Is put in evaluation mode.
    shards : ShardSet
    asv_rows : ndarray of int, or None
        The ASVs to encode; by default all that some sample keeps.
    largest_in_memory : int
        Bytes above which the embeddings lie in a temporary file.
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
        """Row of each ASV encoded, ascending."""
        self._tokens = shards.tokens
        self.embedding = _array((len(self.asv_rows), model.config.width), largest_in_memory)
        """One vector per ASV, in that order."""
        self._encode()

    @torch.no_grad()
    def embed(self, samples: Sequence[Sample], token_limit: int) -> SampleEmbeddings:
        """Embed samples whose ASVs are here, each cut to the token limit.

        Returns
        -------
        SampleEmbeddings
            In the order of the samples, on the model's device.

        Raises
        ------
        ValueError
            If an ASV of a sample is not here.
        """
        parts = [
            self._embed_together(samples[start : start + SAMPLES_AT_ONCE], token_limit)
            for start in range(0, len(samples), SAMPLES_AT_ONCE)
        ]
        sizes, device = (self.model.num_features, self.model.config.width), self.model.device
        features, embedding = (torch.zeros((0, size), device=device) for size in sizes)
        return SampleEmbeddings(
            distance_features=torch.cat([features, *(part.distance_features for part in parts)]),
            embedding=torch.cat([embedding, *(part.embedding for part in parts)]),
        )

    @torch.no_grad()
    def _encode(self) -> None:
        for start in range(0, len(self.asv_rows), ASVS_AT_ONCE):
            here = slice(start, start + ASVS_AT_ONCE)
            tokens = torch.from_numpy(self._tokens[self.asv_rows[here]])
            self.embedding[here] = self.model.encode_asvs(tokens.to(self.model.device)).cpu().numpy()

    def _embed_together(self, samples: Sequence[Sample], token_limit: int) -> SampleEmbeddings:
        slots = arrange_slots(samples, token_limit, len(self._tokens))
        is_here = np.isin(slots.asv_row, self.asv_rows)
        if not is_here.all():
            missing = truncate_list(slots.asv_row[~is_here])
            raise ValueError(f"rows of asvs.parquet that were not encoded: {missing}")
        known = self.embedding[np.searchsorted(self.asv_rows, slots.asv_row)]
        arrays = (known, self._tokens[slots.asv_row], slots.slot, slots.count, slots.is_real)
        return self.model.embed_samples(*(torch.from_numpy(one).to(self.model.device) for one in arrays))


@dataclass(frozen=True)
class Embeddings:
    """The two vectors of each sample of a shard set, in the order of the manifest."""

    sample_ids: tuple[str, ...]
    embedding: npt.NDArray[np.float32]
    """Mean of the states of the sample's ASVs, shape (samples, D): 128 numbers by default."""
    distance_features: npt.NDArray[np.float32]
    """What distances compare, shape (samples, K). K is large: 6,784 numbers for 150 bases by default."""


def sample_embeddings(
    model: AamModel, shards: ShardSet, split: str | None = None, token_limit: int | None = None
) -> Embeddings:
    """Return the embeddings of the samples of a shard set.

    Each distinct ASV is encoded once. Memory grows with the result alone.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    split : {"train", "validation", "test"}, optional
        By default the samples of all splits.
    token_limit : int, optional
        Largest number of ASVs per sample; by default that of the shards.

    Raises
    ------
    UsageError
        If the token limit is larger than that of the shards.
    InvalidDataError
        If a file is damaged, or a sample is invalid.
    """
    limit = shards.resolve_token_limit(token_limit)
    splits = [name for name in SPLITS if split in (None, name) and shards.manifest.num_rows(name)]
    cache = AsvCache(model, shards, _asvs_of(shards, splits, limit))
    ids: list[str] = []
    # Without a sample, the arrays still have their widths.
    parts = [cache.embed([], limit)]
    for samples in _in_order(shards, splits):
        ids += [sample.sample_id for sample in samples]
        parts.append(cache.embed(samples, limit))
    return Embeddings(
        sample_ids=tuple(ids),
        embedding=np.concatenate([part.embedding.cpu().numpy() for part in parts]),
        distance_features=np.concatenate([part.distance_features.cpu().numpy() for part in parts]),
    )


def _asvs_of(shards: ShardSet, splits: Sequence[str], token_limit: int) -> npt.NDArray[np.integer]:
    """Return the rows of the ASVs that the samples of some splits keep."""
    is_used = np.zeros(shards.manifest.num_kept_asvs, dtype=np.bool_)
    for samples in _in_order(shards, splits):
        for sample in samples:
            is_used[sample.asv[:token_limit]] = True
    return np.flatnonzero(is_used)


def _in_order(shards: ShardSet, splits: Sequence[str]) -> Iterator[list[Sample]]:
    """Yield the samples of some splits, a few at a time, in the order of the manifest."""
    reader = SampleReader(shards)
    for split in splits:
        samples = reader.read_split(split, Order(shards.group_rows(split), seed=0, shuffled=False))
        while taken := list(islice(samples, SAMPLES_AT_ONCE)):
            yield taken


def _array(shape: tuple[int, int], largest_in_memory: int) -> npt.NDArray[np.float32]:
    """Make an array, in a file without a name where it is large: it goes when nobody needs the array."""
    if 4 * shape[0] * shape[1] <= largest_in_memory:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
