"""Columns of k-mers are checked against strings: equal k-mers share a column, and no others are k-mers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aam_schemas import vocabulary
from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig
from aammodel.nn.kmers import BASES, COLUMNS, STRIDE, kmer_columns, num_kmers, sum_by_column
from aammodel.nn.model import AamModel
from aammodel.training.optimizer import make_optimizer
from tests.helpers.model_cases import TINY, Sample, asv_tokens, awake, compact, gradients, some_samples
from tests.helpers.objectives import predicted

LONGEST = 40
BASE = {"A": vocabulary.A, "C": vocabulary.C, "G": vocabulary.G, "T": vocabulary.T, "N": vocabulary.N}


def tokens_of(sequences: list[str], length: int = LONGEST) -> torch.Tensor:
    rows = [[vocabulary.START, *(BASE[base] for base in sequence)] for sequence in sequences]
    padded = [row + [vocabulary.PAD] * (length - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.uint8).reshape(-1, length)


def kmer_at(sequence: str, index: int) -> str | None:
    """Return the k-mer at one position. None if it is incomplete, or has an ambiguity code."""
    kmer = sequence[STRIDE * index : STRIDE * index + BASES]
    return None if len(kmer) < BASES or "N" in kmer else kmer


@given(st.lists(st.text("ACGTN", min_size=1, max_size=LONGEST - 1), min_size=2, max_size=6))
@settings(deadline=None)
def test_equal_kmers_share_a_column(sequences: list[str]) -> None:
    columns = kmer_columns(tokens_of(sequences))
    assert columns.shape == (len(sequences), num_kmers(LONGEST))
    for index in range(num_kmers(LONGEST)):
        kmers = [kmer_at(sequence, index) for sequence in sequences]
        for column, kmer in zip(columns[:, index].tolist(), kmers, strict=True):
            assert (column == -1) == (kmer is None)
            assert -1 <= column < COLUMNS
            alike = [c for c, other in zip(columns[:, index].tolist(), kmers, strict=True) if other == kmer]
            assert set(alike) == {column}


def test_different_kmers_rarely_share_a_column() -> None:
    numbers = np.random.default_rng(0)
    drawn = torch.from_numpy(numbers.integers(vocabulary.A, vocabulary.T + 1, (2000, LONGEST)))
    drawn[:, 0] = vocabulary.START
    columns = kmer_columns(drawn)
    same = (columns[:1000] == columns[1000:]).float().mean(dim=0)
    assert same.mean() == pytest.approx(1 / COLUMNS, rel=0.1)
    # This also holds for k-mers that differ in one base.
    for index in range(1, 1 + BASES):
        other = drawn.clone()
        other[:, index] = 1 + drawn[:, index] % 4
        assert (kmer_columns(other)[:, 0] == columns[:, 0]).float().mean() < 0.03


def test_padding_has_no_kmers() -> None:
    sequences = ["ACGTACGTA", "ACGTAC", "ACGTA"]
    short, long = kmer_columns(tokens_of(sequences, 10)), kmer_columns(tokens_of(sequences, 30))
    assert torch.equal(long[:, : short.shape[1]], short)
    assert (long[:, short.shape[1] :] == -1).all()
    assert (short >= 0).tolist() == [[True, True], [True, False], [False, False]]


@pytest.mark.parametrize("length", [1, 2, 6])
def test_asvs_shorter_than_a_kmer_have_none(length: int) -> None:
    assert num_kmers(length) == 0
    assert kmer_columns(tokens_of(["ACGT"[: length - 1]], length)).shape == (1, 0)


def test_a_model_of_very_short_asvs_has_no_kmers() -> None:
    """Its tensor of k-mer weights is empty, and the optimizer accepts it."""
    config = ModelConfig(**(TINY | {"sequence_length": BASES}))
    batch = compact([Sample((number,), (1.0,)) for number in range(200) if len(asv_tokens(number)) <= BASES])
    batch = replace(
        batch, tokens=batch.tokens[:, :BASES], masked=batch.masked[:0], masked_token=batch.masked_token[:0]
    )
    model = AamModel(config)
    model.init_from_batch(batch)
    output = model(batch)
    assert output.distance_features.shape == (batch.num_samples, TINY["soft_branches"])
    optimizer = make_optimizer(model, TrainConfig())
    gradients(model, predicted(model, output).sum())
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_columns_are_summed_by_sample() -> None:
    column = torch.tensor([[3, -1], [3, 7], [5, 7]])
    total = sum_by_column(column, torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), (3, 3 * COLUMNS))
    expected = torch.zeros(3, 3 * COLUMNS)
    expected[0, 3], expected[0, COLUMNS + 7], expected[2, 5], expected[2, COLUMNS + 7] = 3.0, 2.0, 4.0, 4.0
    assert torch.equal(total, expected)


@pytest.mark.parametrize(("target", "expected"), [("unweighted_unifrac", 1.0), ("weighted_unifrac", 0.8)])
def test_asvs_of_a_sample_may_share_a_kmer(target: str, expected: float) -> None:
    model = awake(targets=(target,))
    tokens = tokens_of(["ACGTACGGG", "ACGTACTTT", "TTTTTTTTT"], 16)
    counts, slot, real = (
        torch.tensor([[3.0, 5.0, 2.0]]),
        torch.tensor([[0, 1, 2]]),
        torch.ones(1, 3, dtype=bool),
    )
    embedded = model.embed_samples(model.encode_asvs(tokens), tokens, slot, counts, real).distance_features
    shared = kmer_columns(tokens)[0, 0]
    assert embedded[0, TINY["soft_branches"] + shared].item() == pytest.approx(expected)


def test_extreme_kmer_weights_are_finite() -> None:
    model, batch = awake(), compact(some_samples(1, 4))
    for extreme in (-1e3, 1e3):
        model.distance_heads["unweighted_unifrac"].window_weight.data.fill_(extreme)
        distance = predicted(model, model(batch))
        assert distance.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients(model, distance.sum()).values())


def test_without_kmers_the_head_has_soft_branches_only() -> None:
    model, batch = awake(kmers=False), compact(some_samples(1, 4))
    assert model(batch).distance_features.shape == (4, 24)
    assert awake()(batch).distance_features.shape == (4, 24 + COLUMNS * num_kmers(batch.tokens.shape[1]))
