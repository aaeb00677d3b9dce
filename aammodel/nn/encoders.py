"""From tokens to ASV embeddings, and from a sample's ASVs to ASV embeddings that know each other.

Both encoders have a plain form, `forward`, over tensors in which padding is really there, and a frugal form
that gives the same numbers and computes no padding. Shape letters: see `batch.py`.
"""

import math
from collections.abc import Iterator
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn

from aam_schemas import vocabulary
from aammodel.config.model import ModelConfig
from aammodel.nn.chunks import Chunk, chunks_by_length
from aammodel.nn.embeddings import BasesByPosition, CountEmbedding, Stem
from aammodel.nn.parallel import ChunkTask, compute_chunks
from aammodel.nn.transformer import AttentionPooling, Transformer, zero_padding

_ENOUGH_ASVS = 256
ASVS_AT_ONCE = 1024
"""Of the network over bases by position."""


class AsvEncoder(nn.Module):
    """A transformer over the bases of each ASV with attention pooling, and a network over what is where.

    At the start the transformer has no part in the embedding: it comes in as training finds a use for it.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.chunk_size = config.chunk_size
        self.checkpoint_positions = config.checkpoint_positions
        self.stem = Stem(config)
        self.transformer = Transformer(config, config.asv_layers, (2 * config.asv_layers) ** -0.5)
        self.pooling = AttentionPooling(config.width)
        self.bases = _bases_by_position(config)
        if self.bases is not None:
            nn.init.zeros_(self.pooling.norm.weight)

    def forward(
        self,
        tokens: Integer[Tensor, "N T"],
        is_real: Bool[Tensor, "N T"] | None,
        masked: Int[Tensor, "M 2"] | None = None,
    ) -> tuple[Float[Tensor, "N P D"], Float[Tensor, "N D"]]:
        """Encode every row of tokens.

        Hidden bases are hidden from the transformer, whose vectors must guess them. The network over bases,
        from which nothing is guessed, sees them: distances are learned from whole sequences.

        Parameters
        ----------
        tokens : Tensor of int, shape (N, T)
            Token ids; T may be less than the L of the configuration.
        is_real : Tensor of bool, shape (N, T), or None
            False where a token is padding; None where no token is.
        masked : Tensor of int, shape (M, 2), or None
            Row and position of each masked base.

        Returns
        -------
        hidden : Tensor, shape (N, P, D)
            One vector per position of the stem, zero where it is padding.
        embedding : Tensor, shape (N, D)
            One vector per ASV, exactly zero where all of it is padding.
        """
        hidden, embedding = self._read(tokens if masked is None else mask_tokens(tokens, masked), is_real)
        if self.bases is not None:
            embedding = embedding + self.bases(tokens, is_real)
        if is_real is not None:
            embedding = torch.where(is_real.any(dim=1, keepdim=True), embedding, 0.0)
        return hidden, embedding

    def encode(
        self,
        tokens: Integer[Tensor, "U L"],
        masked: Int[Tensor, "M 2"],
        is_encoded: Bool[Tensor, " U"] | None = None,
    ) -> tuple[Float[Tensor, "U D"], Float[Tensor, "M D"]]:
        """Encode ASVs in chunks of like length, each trimmed to its longest.

        Beyond a budget of positions, the activations of a chunk are computed again in the backward pass.

        Parameters
        ----------
        tokens : Tensor of int, shape (U, L)
            Token ids with padding at the end of each row.
        masked : Tensor of int, shape (M, 2)
            Row and position of each masked base; none is of an ASV that is not read.
        is_encoded : Tensor of bool, shape (U,), or None
            False where the transformer is spared the ASV; None where it reads all.

        Returns
        -------
        embedding : Tensor, shape (U, D)
        masked_hidden : Tensor, shape (M, D)
            The vector of the position in which each masked base lies.
        """
        if is_encoded is None:
            pooled, hidden = self._read_in_chunks(tokens, masked)
        else:
            rows, place = is_encoded.nonzero()[:, 0], is_encoded.cumsum(dim=0) - 1
            masked = torch.stack([place[masked[:, 0]], masked[:, 1]], dim=1)
            read, hidden = self._read_in_chunks(tokens[rows], masked)
            pooled = read.new_zeros(len(tokens), read.shape[1]).index_copy(0, rows, read)
        if self.bases is None:
            return pooled, hidden
        parts = [self.bases(one, one != vocabulary.PAD) for one in tokens.split(ASVS_AT_ONCE)]
        return pooled + torch.cat(parts), hidden

    def chunks(self, tokens: Integer[Tensor, "W L"]) -> list[Chunk]:
        """Say which of the ASVs that are read are encoded together, in the order in which they are."""
        return chunks_by_length((tokens != vocabulary.PAD).sum(dim=1), self._size(tokens))

    @torch.no_grad()
    def init_from_batch(self, tokens: Integer[Tensor, "U L"]) -> None:
        """Centre the embeddings on the mean of a first batch's ASVs, or of some hundred of them.

        Otherwise all ASVs start with embeddings that are nearly alike (spread 0.14 of 1 across ASVs, 0.47
        with it), and any drift of what they share moves every distance.
        """
        tokens = tokens[:: 1 + len(tokens) // _ENOUGH_ASVS]
        is_real = tokens != vocabulary.PAD
        if len(tokens):
            hidden, _ = self(tokens, is_real)
            mean = self.pooling.mean(hidden, self.stem.position_is_real(is_real))
            self.pooling.centre.copy_(mean.mean(dim=0))
            if self.bases is not None:
                self.bases.centre.copy_(self.bases.sum(tokens, is_real).mean(dim=0))

    def _size(self, tokens: Integer[Tensor, "W L"]) -> int:
        return self.chunk_size or asvs_at_a_time(len(tokens), tokens.device)

    def _read(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> tuple[Float[Tensor, "N P D"], Float[Tensor, "N D"]]:
        """Read every row by the transformer alone."""
        position_is_real = self.stem.position_is_real(is_real)
        hidden = self.transformer(self.stem(tokens, is_real), position_is_real)
        return hidden, self.pooling(hidden, position_is_real)

    def _read_in_chunks(
        self, tokens: Integer[Tensor, "W L"], masked: Int[Tensor, "M 2"]
    ) -> tuple[Float[Tensor, "W D"], Float[Tensor, "M D"]]:
        size, chunks = self._size(tokens), self.chunks(tokens)
        place = torch.cat([chunk.rows for chunk in chunks]).argsort()
        masked_place, masked_order = place[masked[:, 0]].sort(stable=True)
        masked_here = torch.stack([masked_place % size, masked[masked_order, 1]], dim=1)
        num_masked = torch.bincount(masked_place // size, minlength=len(chunks)).tolist()
        parts = self._each_chunk(tokens, chunks, masked_here.split(num_masked))
        pooled, hidden = (torch.cat(part) for part in zip(*parts, strict=True))
        return pooled.index_select(0, place), hidden.index_select(0, masked_order.argsort())

    def _each_chunk(
        self, tokens: Integer[Tensor, "W L"], chunks: list[Chunk], masked: tuple[Int[Tensor, "_ 2"], ...]
    ) -> list[tuple[Tensor, ...]]:
        positions = [len(chunk.rows) * self.stem.num_positions(chunk.length) for chunk in chunks]
        is_kept = [so_far <= self.checkpoint_positions for so_far in accumulate(positions)]
        arguments = [
            (tokens[chunk.rows, : chunk.length], masked_here, chunk.is_even)
            for chunk, masked_here in zip(chunks, masked, strict=True)
        ]
        tasks = list(map(ChunkTask, [self._read_chunk] * len(chunks), arguments, positions, is_kept))
        return compute_chunks(self, tasks)

    def _read_chunk(
        self, tokens: Integer[Tensor, "N T"], masked: Int[Tensor, "M 2"], is_even: bool
    ) -> tuple[Float[Tensor, "N D"], Float[Tensor, "M D"]]:
        is_real = None if is_even else tokens != vocabulary.PAD
        hidden, pooled = self._read(mask_tokens(tokens, masked), is_real)
        place = masked[:, 0] * hidden.shape[1] + self.stem.position(masked[:, 1])
        return pooled, hidden.flatten(0, 1).index_select(0, place)


def mask_tokens(tokens: Integer[Tensor, "U L"], masked: Int[Tensor, "M 2"]) -> Integer[Tensor, "U L"]:
    """Write MASK over the bases that the model must guess."""
    hidden = tokens.clone()
    hidden[masked[:, 0], masked[:, 1]] = vocabulary.MASK
    return hidden


def _bases_by_position(config: ModelConfig) -> BasesByPosition | None:
    if not config.bases_by_position:
        return None
    return BasesByPosition(config.sequence_length, config.vocabulary_size, config.width, 4 * config.width)


class SampleEncoder(nn.Module):
    """A transformer over the ASVs of each sample, with their counts.

    At the start its residual branches end in zeros, so that each ASV is encoded on its own.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.count_embedding = CountEmbedding(config.width, config.count_embedding)
        self.slot_embedding = (
            nn.Embedding(config.slot_positions, config.width) if config.slot_positions else None
        )
        self.transformer = Transformer(config, config.sample_layers, branch_scale=0.0)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        count: Float[Tensor, "B S"],
        is_real: Bool[Tensor, "B S"] | None,
        position: Int[Tensor, "B S"],
    ) -> Float[Tensor, "B S D"]:
        """Encode the ASVs of each sample; padded slots come out exactly zero.

        Parameters
        ----------
        x : Tensor, shape (B, S, D)
            ASV embeddings.
        count : Tensor, shape (B, S)
            Reads of each.
        is_real : Tensor of bool, shape (B, S), or None
            False where a slot holds no ASV; None where all do.
        position : Tensor of int, shape (B, S)
            Rank of each ASV in its sample; read only by models that have slot positions.
        """
        if is_real is not None:
            count = torch.where(is_real, count, 0.0)
        x = self.count_embedding(zero_padding(x, is_real), count)
        if self.slot_embedding is not None:
            x = x + self.slot_embedding(position)
        return self.transformer(x, is_real)

    def encode(
        self,
        asv_embedding: Float[Tensor, "U D"],
        slot: Int[Tensor, "B S"],
        count: Float[Tensor, "B S"],
        is_real: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B S D"]:
        """Encode samples in groups of like size, each over its real slots alone.

        Parameters
        ----------
        asv_embedding : Tensor, shape (U, D)
            Embeddings of distinct ASVs.
        slot : Tensor of int, shape (B, S)
            Row in `asv_embedding` of the ASV in each slot.
        count : Tensor, shape (B, S)
            Reads of each.
        is_real : Tensor of bool, shape (B, S)
            True where a slot holds an ASV.
        """
        num_slots = is_real.shape[1]
        places, tasks = [], []
        for chunk, front in self.chunks(is_real):
            rows = chunk.rows[:, None]
            x = asv_embedding.index_select(0, slot[rows, front].flatten()).unflatten(0, front.shape)
            is_real_here = None if chunk.is_even else is_real[rows, front]
            arguments = (x, count[rows, front], is_real_here, front)
            # `forward` itself, since hooks on this module must run once however many chunks there are.
            tasks.append(ChunkTask(lambda *chunk: (self.forward(*chunk),), arguments, cost=front.numel()))
            places.append((rows * num_slots + front).flatten())
        parts = compute_chunks(self, tasks)
        values = torch.cat([encoded.flatten(0, 1) for (encoded,) in parts])
        empty = values.new_zeros(is_real.numel(), values.shape[1])
        return empty.index_copy(0, torch.cat(places), values).unflatten(0, is_real.shape)

    def chunks(self, is_real: Bool[Tensor, "B S"]) -> Iterator[tuple[Chunk, Int[Tensor, "_ _"]]]:
        """Say which samples are encoded together, in the order in which they are.

        Yields
        ------
        chunk : Chunk
        front : Tensor of int, shape (samples of the chunk, its length)
            Slots that are computed: the real ones first, in their order.
        """
        for chunk in chunks_by_length(is_real.sum(dim=1), *samples_at_a_time(len(is_real), is_real.device)):
            front = is_real[chunk.rows].int().argsort(dim=1, descending=True, stable=True)
            yield chunk, front[:, : chunk.length]


def asvs_at_a_time(number: int, device: torch.device) -> int:
    """Chunk size where the configuration leaves it open: of so many ASVs, as many chunks for each thread.

    At most 32 on a CPU, so that a chunk stays in a processor's cache.
    """
    if device.type != "cpu":
        return 1024
    threads = torch.get_num_threads()
    rounds = math.ceil(number / (32 * threads))
    return math.ceil(number / (rounds * threads)) if number else 1


def samples_at_a_time(number: int, device: torch.device) -> tuple[int, float]:
    """Give how many of so many samples are computed together at most, and how much larger the largest may be.

    On a CPU few, so that each thread has some, and of like size, so that there is little padding (of 16
    samples in fours, 19 % was); many where starting a kernel is dear.
    """
    if device.type != "cpu":
        return 64, math.inf
    return min(4, max(1, math.ceil(number / torch.get_num_threads()))), 0.125
