"""Embeddings with each ASV encoded once are the same as embeddings computed batch by batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aam_schemas.common.errors import UsageError
from aammodel.config.model import ModelConfig
from aammodel.data.shards import ShardSet
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.evaluation import embed as infer
from aammodel.evaluation.embed import AsvCache, sample_embeddings
from aammodel.nn.model import AamModel
from tests.helpers.model_cases import assert_close
from tests.helpers.shards import make_shards
from tests.helpers.studies import Programs


@pytest.fixture
def shards(run: Programs, tmp_path: Path) -> ShardSet:
    return make_shards(run, tmp_path, num_samples=60, num_asvs=50)


def small_model(shards: ShardSet) -> AamModel:
    torch.manual_seed(0)
    sizes = {"width": 16, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 24}
    return AamModel(ModelConfig(sequence_length=shards.manifest.sequence_length, dropout=0.1, **sizes))


def stream_of(shards: ShardSet, token_limit: int | None) -> BatchStream:
    config = StreamConfig(batch_size=5, token_limit=token_limit, masking=None, shuffle=False)
    return BatchStream(shards, "train", config)


@torch.no_grad()
def batch_by_batch(model: AamModel, shards: ShardSet, token_limit: int | None) -> list[torch.Tensor]:
    """Embed five samples at a time, with padding computed and no base masked."""
    parts = []
    for batch in stream_of(shards, token_limit).epoch():
        tokens = torch.where(batch.is_real[..., None], batch.tokens.long()[batch.slot], 0)
        output = model.eval().forward_dense(tokens, batch.count)
        parts.append((output.distance_features, output.embedding))
    return [torch.cat(part) for part in zip(*parts, strict=True)]


@pytest.mark.parametrize("token_limit", [None, 7])
def test_embeddings_are_those_of_the_dense_forward_pass(
    shards: ShardSet, token_limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sizes are so small that this study needs several chunks.
    monkeypatch.setattr(infer, "ASVS_AT_ONCE", 8)
    monkeypatch.setattr(infer, "SAMPLES_AT_ONCE", 7)
    model = small_model(shards)
    got = sample_embeddings(model, shards, "train", token_limit)
    expected = batch_by_batch(model, shards, token_limit)
    for array, reference in zip((got.distance_features, got.embedding), expected, strict=True):
        assert array.dtype == np.float32
        assert_close(torch.from_numpy(array), reference, 1e-6)


def test_each_asv_that_occurs_is_encoded_once(shards: ShardSet) -> None:
    model, seen = small_model(shards), []
    model.asv_encoder.stem.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    sample_embeddings(model, shards, "train", 3)
    kept = {int(row) for sample in stream_of(shards, 3).samples() for row in sample.asv[:3]}
    assert sum(map(len, seen)) == len(kept) < shards.manifest.num_kept_asvs


def test_large_embeddings_are_stored_on_disk(shards: ShardSet) -> None:
    model, samples = small_model(shards), list(stream_of(shards, None).samples())
    in_memory, on_disk = AsvCache(model, shards), AsvCache(model, shards, largest_in_memory=0)
    assert isinstance(on_disk.embedding, np.memmap)
    assert not isinstance(in_memory.embedding, np.memmap)
    assert len(on_disk.asv_rows) == shards.manifest.num_kept_asvs
    got, expected = on_disk.embed(samples, 512), in_memory.embed(samples, 512)
    assert torch.equal(got.distance_features, expected.distance_features)
    assert torch.equal(got.embedding, expected.embedding)


def test_asvs_that_were_not_encoded_are_refused(shards: ShardSet) -> None:
    model, samples = small_model(shards), list(stream_of(shards, None).samples())
    asvs = samples[0].asv
    cache = AsvCache(model, shards, asvs[1:])
    with pytest.raises(ValueError, match=f"not encoded: {asvs[0]}$"):
        cache.embed(samples[:1], 512)
    assert cache.embed([], 512).distance_features.shape == (0, model.num_features)


def test_a_split_without_samples_has_no_embeddings(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path, num_samples=3)
    empty = [split for split in ("validation", "test") if not shards.manifest.num_rows(split)]
    assert empty
    model = small_model(shards)
    embedded = sample_embeddings(model, shards, empty[0])
    assert embedded.distance_features.shape == (0, model.num_features)
    assert embedded.embedding.shape == (0, model.config.width)


def test_a_limit_above_that_of_the_shards_is_refused(shards: ShardSet) -> None:
    with pytest.raises(UsageError, match="token limit of 100000"):
        sample_embeddings(small_model(shards), shards, "train", 100_000)
