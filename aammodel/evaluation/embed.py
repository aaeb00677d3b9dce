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

from aammodel.data.collate import arrange_slots
from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.nn.model import AamModel, SampleEmbeddings
from aammodel.sample import Sample

SAMPLES_AT_ONCE = 32
ASVS_AT_ONCE = 4096
_MOST_NAMED = 5
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
            missing = ", ".join(map(str, slots.asv_row[~is_here][:_MOST_NAMED]))
            raise ValueError(f"rows of asvs.parquet that were not encoded: {missing}")
        known = self.embedding[np.searchsorted(self.asv_rows, slots.asv_row)]
        arrays = (known, self._tokens[slots.asv_row], slots.slot, slots.count, slots.is_real)
        return self.model.embed_samples(*(torch.from_numpy(one).to(self.model.device) for one in arrays))


@dataclass(frozen=True)
class Embedded:
    """The two vectors of each sample of a split, in the order of the manifest."""

    distance_features: npt.NDArray[np.float32]
    """What distances compare, shape (samples, K). K is large: 6,784 at 150 bases by default."""
    embedding: npt.NDArray[np.float32]
    """Mean of the states of a sample's ASVs, shape (samples, D): 128 by default."""


def sample_embeddings(
    model: AamModel, shards: ShardSet, split: str, token_limit: int | None = None
) -> Embedded:
    """Embed every sample of a split.

    Memory grows with the embeddings that come out, and with nothing else.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    split : {"train", "validation", "test"}
    token_limit : int, optional
        Most ASVs of a sample; by default the shards' limit.

    Returns
    -------
    Embedded

    Raises
    ------
    UsageError
        If the token limit is larger than the shards'.
    InvalidDataError
        If a file is damaged, or a sample is one that cannot be.
    """
    limit = shards.resolve_token_limit(token_limit)
    cache = AsvCache(model, shards, _asvs_of(shards, split, limit))
    parts = [cache.embed(samples, limit) for samples in _in_order(shards, split)]
    # Arrays of no sample have their width, too.
    parts = parts or [cache.embed([], limit)]
    return Embedded(
        distance_features=np.concatenate([part.distance_features.cpu().numpy() for part in parts]),
        embedding=np.concatenate([part.embedding.cpu().numpy() for part in parts]),
    )


def _asvs_of(shards: ShardSet, split: str, token_limit: int) -> npt.NDArray[np.integer]:
    """Return the rows of the ASVs that the samples of a split keep."""
    is_used = np.zeros(shards.manifest.num_kept_asvs, dtype=np.bool_)
    for samples in _in_order(shards, split):
        for sample in samples:
            is_used[sample.asv[:token_limit]] = True
    return np.flatnonzero(is_used)


def _in_order(shards: ShardSet, split: str) -> Iterator[list[Sample]]:
    order = Order(shards.group_rows(split), seed=0, shuffled=False)
    samples = SampleReader(shards).read_split(split, order)
    return iter(lambda: list(islice(samples, SAMPLES_AT_ONCE)), [])


def _array(shape: tuple[int, int], largest_in_memory: int) -> npt.NDArray[np.float32]:
    """Make an array, in a file without a name where it is large: it goes when nobody needs the array."""
    if 4 * shape[0] * shape[1] <= largest_in_memory:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
