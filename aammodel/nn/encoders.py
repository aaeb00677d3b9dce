"""Encode the bases of ASVs, and the ASVs of samples.

Each encoder has two methods that return the same values. `forward` takes padded tensors. `encode` sorts
sequences by length and computes them in chunks, with little or no padding. For the shape letters, see
`batch.py`.
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

ASVS_AT_ONCE = 1024
"""Number of ASVs that the network over bases by position computes at a time, which limits its memory."""
_ENOUGH_ASVS = 256
"""Maximum number of ASVs for the initial centers. More would hardly change the means."""


class AsvEncoder(nn.Module):
    """Embed ASVs by a transformer over their bases, and by a small network over the base at each position.

    The embedding is the sum of both. The transformer's part is zero at first, and grows in training.
    Distances are then learned faster (`docs/experiments.md`).

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.chunk_size = config.chunk_size
        self.checkpoint_positions = config.checkpoint_positions
        self.stem = Stem(config)
        # Each block has two residual branches. Scaled like this, their sum keeps its spread (GPT-2).
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

        The transformer sees MASK in place of masked bases, which it must predict. The network over bases sees
        all bases, since it predicts none. So distances are learned from whole sequences.

        Parameters
        ----------
        tokens : Tensor of int, shape (N, T)
            Token ids. T may be less than the L of the configuration.
        is_real : Tensor of bool, shape (N, T), or None
            False where a token is padding. None if no token is.
        masked : Tensor of int, shape (M, 2), or None
            Row and position of each masked base.

        Returns
        -------
        hidden : Tensor, shape (N, P, D)
            One vector per position of the stem. Zero at padding.
        embedding : Tensor, shape (N, D)
            One vector per ASV. Exactly zero for a row of padding.
        """
        masked_tokens = tokens if masked is None else mask_tokens(tokens, masked)
        hidden, embedding = self._transform(masked_tokens, is_real)
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
        """Encode ASVs in chunks of similar length, each trimmed to its longest ASV.

        Activations of the first `checkpoint_positions` positions are kept. Those of further chunks are
        computed again in the backward pass.

        Parameters
        ----------
        tokens : Tensor of int, shape (U, L)
            Token ids, with padding at the end of each row.
        masked : Tensor of int, shape (M, 2)
            Row and position of each masked base. All must be in encoded ASVs.
        is_encoded : Tensor of bool, shape (U,), or None
            False where the transformer skips the ASV. None if it encodes all.

        Returns
        -------
        embedding : Tensor, shape (U, D)
        masked_hidden : Tensor, shape (M, D)
            Vector of the position of each masked base.
        """
        if is_encoded is None:
            pooled, hidden = self._transform_in_chunks(tokens, masked)
        else:
            rows, index = is_encoded.nonzero()[:, 0], is_encoded.cumsum(dim=0) - 1
            masked = torch.stack([index[masked[:, 0]], masked[:, 1]], dim=1)
            encoded, hidden = self._transform_in_chunks(tokens[rows], masked)
            pooled = encoded.new_zeros(len(tokens), encoded.shape[1]).index_copy(0, rows, encoded)
        if self.bases is None:
            return pooled, hidden
        parts = [self.bases(part, part != vocabulary.PAD) for part in tokens.split(ASVS_AT_ONCE)]
        return pooled + torch.cat(parts), hidden

    def chunks(self, tokens: Integer[Tensor, "W L"]) -> list[Chunk]:
        """Return the chunks in which encoded ASVs are computed, in this order."""
        return chunks_by_length((tokens != vocabulary.PAD).sum(dim=1), self._size(tokens))

    @torch.no_grad()
    def init_from_batch(self, tokens: Integer[Tensor, "U L"]) -> None:
        """Center the embeddings on the mean of a first batch's ASVs.

        Otherwise all ASVs have nearly the same embedding at first: across ASVs, a normalized embedding has a
        standard deviation of 0.14 without centering, and 0.47 with it. Any drift of the common part would
        then change every distance.

        Parameters
        ----------
        tokens : Tensor of int, shape (U, L)
            Token ids with masked bases. At most 256 rows are used, evenly spaced.
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
        return self.chunk_size or default_chunk_size(len(tokens), tokens.device)

    def _transform(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> tuple[Float[Tensor, "N P D"], Float[Tensor, "N D"]]:
        """Return the vectors of the transformer, and their pooled mean."""
        position_is_real = self.stem.position_is_real(is_real)
        hidden = self.transformer(self.stem(tokens, is_real), position_is_real)
        return hidden, self.pooling(hidden, position_is_real)

    def _transform_in_chunks(
        self, tokens: Integer[Tensor, "W L"], masked: Int[Tensor, "M 2"]
    ) -> tuple[Float[Tensor, "W D"], Float[Tensor, "M D"]]:
        """Return the pooled vector of each encoded ASV, and the vector of each masked base's position."""
        size, chunks = self._size(tokens), self.chunks(tokens)
        # Index of each ASV in the order of the chunks, whose masked bases must follow the same order.
        index = torch.cat([chunk.rows for chunk in chunks]).argsort()
        masked_index, masked_order = index[masked[:, 0]].sort(stable=True)
        masked_in_chunk = torch.stack([masked_index % size, masked[masked_order, 1]], dim=1)
        num_masked = torch.bincount(masked_index // size, minlength=len(chunks)).tolist()
        parts = self._compute_chunks(tokens, chunks, masked_in_chunk.split(num_masked))
        pooled, hidden = (torch.cat(part) for part in zip(*parts, strict=True))
        return pooled.index_select(0, index), hidden.index_select(0, masked_order.argsort())

    def _compute_chunks(
        self, tokens: Integer[Tensor, "W L"], chunks: list[Chunk], masked: tuple[Int[Tensor, "_ 2"], ...]
    ) -> list[tuple[Tensor, ...]]:
        positions = [len(chunk.rows) * self.stem.num_positions(chunk.length) for chunk in chunks]
        is_kept = [total <= self.checkpoint_positions for total in accumulate(positions)]
        arguments = [
            (tokens[chunk.rows, : chunk.length], masked_in_chunk, chunk.is_even)
            for chunk, masked_in_chunk in zip(chunks, masked, strict=True)
        ]
        tasks = list(map(ChunkTask, [self._transform_chunk] * len(chunks), arguments, positions, is_kept))
        return compute_chunks(self, tasks)

    def _transform_chunk(
        self, tokens: Integer[Tensor, "N T"], masked: Int[Tensor, "M 2"], is_even: bool
    ) -> tuple[Float[Tensor, "N D"], Float[Tensor, "M D"]]:
        # Without padding there is no mask, and attention can use a faster kernel.
        is_real = None if is_even else tokens != vocabulary.PAD
        hidden, pooled = self._transform(mask_tokens(tokens, masked), is_real)
        index = masked[:, 0] * hidden.shape[1] + self.stem.position(masked[:, 1])
        return pooled, hidden.flatten(0, 1).index_select(0, index)


def mask_tokens(tokens: Integer[Tensor, "U L"], masked: Int[Tensor, "M 2"]) -> Integer[Tensor, "U L"]:
    """Return a copy of tokens in which MASK replaces the masked bases.

    Parameters
    ----------
    tokens : Tensor of int, shape (U, L)
    masked : Tensor of int, shape (M, 2)
        Row and position of each masked base.
    """
    tokens = tokens.clone()
    tokens[masked[:, 0], masked[:, 1]] = vocabulary.MASK
    return tokens


def _bases_by_position(config: ModelConfig) -> BasesByPosition | None:
    if not config.bases_by_position:
        return None
    # Four times as wide as the model, the usual ratio of a feed-forward layer.
    return BasesByPosition(config.sequence_length, config.vocabulary_size, config.width, 4 * config.width)


class SampleEncoder(nn.Module):
    """Encode the ASVs of each sample, with their counts, by a transformer over ASVs.

    The last layers of its residual branches are zero at first, so that each ASV is encoded on its own. The
    model learns how ASVs of a sample matter to each other.

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
        """Encode the ASVs of each sample.

        Parameters
        ----------
        x : Tensor, shape (B, S, D)
            Embeddings of the ASVs.
        count : Tensor, shape (B, S)
            Number of reads of each ASV.
        is_real : Tensor of bool, shape (B, S), or None
            False where a slot holds no ASV. None if all hold one.
        position : Tensor of int, shape (B, S)
            Rank of each ASV in its sample. Used only by models with slot positions.

        Returns
        -------
        Tensor, shape (B, S, D)
            Exactly zero in padded slots.
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
        """Encode samples in chunks of similar size, over their real slots only.

        Parameters
        ----------
        asv_embedding : Tensor, shape (U, D)
            Embeddings of distinct ASVs.
        slot : Tensor of int, shape (B, S)
            Row in `asv_embedding` of the ASV in each slot.
        count : Tensor, shape (B, S)
            Number of reads of each ASV.
        is_real : Tensor of bool, shape (B, S)
            True where a slot holds an ASV.

        Returns
        -------
        Tensor, shape (B, S, D)
            Exactly zero in padded slots.
        """
        num_slots = is_real.shape[1]
        indices, tasks = [], []
        for chunk, front in self.chunks(is_real):
            rows = chunk.rows[:, None]
            x = asv_embedding.index_select(0, slot[rows, front].flatten()).unflatten(0, front.shape)
            is_real_in_chunk = None if chunk.is_even else is_real[rows, front]
            arguments = (x, count[rows, front], is_real_in_chunk, front)
            # Not `self(...)`: hooks on this module must run once, however many chunks there are.
            tasks.append(ChunkTask(lambda *chunk: (self.forward(*chunk),), arguments, cost=front.numel()))
            indices.append((rows * num_slots + front).flatten())
        parts = compute_chunks(self, tasks)
        values = torch.cat([encoded.flatten(0, 1) for (encoded,) in parts])
        empty = values.new_zeros(is_real.numel(), values.shape[1])
        return empty.index_copy(0, torch.cat(indices), values).unflatten(0, is_real.shape)

    def chunks(self, is_real: Bool[Tensor, "B S"]) -> Iterator[tuple[Chunk, Int[Tensor, "_ _"]]]:
        """Yield the chunks in which samples are computed, in this order.

        Yields
        ------
        chunk : Chunk
        front : Tensor of int, shape (samples of the chunk, its length)
            Slots that are computed. Real slots come first, in their order.
        """
        limits = sample_chunk_limits(len(is_real), is_real.device)
        for chunk in chunks_by_length(is_real.sum(dim=1), *limits):
            front = is_real[chunk.rows].int().argsort(dim=1, descending=True, stable=True)
            yield chunk, front[:, : chunk.length]


def default_chunk_size(number: int, device: torch.device) -> int:
    """Return the number of ASVs in a chunk, if the configuration does not set it.

    On a CPU, each thread gets the same number of chunks, of at most 32 ASVs. Smaller chunks waste time in
    overhead, and larger ones do not fit into the processor's cache (`docs/experiments.md`).

    Parameters
    ----------
    number : int
        Number of ASVs to encode.
    device : torch.device
    """
    if device.type != "cpu":
        return 1024
    threads = torch.get_num_threads()
    rounds = math.ceil(number / (32 * threads))
    return math.ceil(number / (rounds * threads)) if number else 1


def sample_chunk_limits(number: int, device: torch.device) -> tuple[int, float]:
    """Return the limits of a chunk of samples, for `chunks_by_length`.

    On a CPU, chunks are small, so that each thread has some, and hold samples of similar size. With 16
    samples in chunks of four of any size, 19 % of the slots were padding. On a GPU, chunks are large, since
    each kernel launch costs time.

    Parameters
    ----------
    number : int
        Number of samples to encode.
    device : torch.device

    Returns
    -------
    size : int
        Maximum number of samples in a chunk.
    tolerance : float
        Fraction by which the largest sample of a chunk may exceed the smallest.
    """
    if device.type != "cpu":
        return 64, math.inf
    return min(4, max(1, math.ceil(number / torch.get_num_threads()))), 0.125
