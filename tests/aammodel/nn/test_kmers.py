"""Windows of bases against sets of strings: which ASVs share one, and what is a window at all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aam_schemas import vocabulary
from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig
from aammodel.nn.kmers import BASES, COLUMNS, EVERY, add_by_window, num_windows, window_columns
from aammodel.nn.model import AamModel
from aammodel.training.optimizer import make_optimizer
from tests.helpers.model_cases import TINY, Sample, asv_tokens, awake, compact, gradients, some_samples
from tests.helpers.objectives import predicted

LONGEST = 40
BASE = {"A": vocabulary.A, "C": vocabulary.C, "G": vocabulary.G, "T": vocabulary.T, "N": vocabulary.N}


def tokens_of(sequences: list[str], length: int = LONGEST) -> torch.Tensor:
    rows = [[vocabulary.START, *(BASE[one] for one in sequence)] for sequence in sequences]
    padded = [row + [vocabulary.PAD] * (length - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.uint8).reshape(-1, length)


def stretch(sequence: str, window: int) -> str | None:
    """Cut out what a window holds; None where it is no window."""
    found = sequence[EVERY * window : EVERY * window + BASES]
    return None if len(found) < BASES or "N" in found else found


@given(st.lists(st.text("ACGTN", min_size=1, max_size=LONGEST - 1), min_size=2, max_size=6))
@settings(deadline=None)
def test_equal_stretches_fall_into_one_column(sequences: list[str]) -> None:
    columns = window_columns(tokens_of(sequences))
    assert columns.shape == (len(sequences), num_windows(LONGEST))
    for window in range(num_windows(LONGEST)):
        stretches = [stretch(one, window) for one in sequences]
        for column, one in zip(columns[:, window].tolist(), stretches, strict=True):
            assert (column == -1) == (one is None)
            assert -1 <= column < COLUMNS
            alike = [
                c for c, other in zip(columns[:, window].tolist(), stretches, strict=True) if other == one
            ]
            assert set(alike) == {column}


def test_different_stretches_rarely_share_a_column() -> None:
    numbers = np.random.default_rng(0)
    drawn = torch.from_numpy(numbers.integers(vocabulary.A, vocabulary.T + 1, (2000, LONGEST)))
    drawn[:, 0] = vocabulary.START
    columns = window_columns(drawn)
    same = (columns[:1000] == columns[1000:]).float().mean(dim=0)
    assert same.mean() == pytest.approx(1 / COLUMNS, rel=0.1)
    # Also those that differ in one base alone, wherever it is.
    for place in range(1, 1 + BASES):
        other = drawn.clone()
        other[:, place] = 1 + drawn[:, place] % 4
        assert (window_columns(other)[:, 0] == columns[:, 0]).float().mean() < 0.03


def test_padding_is_no_window_however_much_there_is() -> None:
    sequences = ["ACGTACGTA", "ACGTAC", "ACGTA"]
    short, long = window_columns(tokens_of(sequences, 10)), window_columns(tokens_of(sequences, 30))
    assert torch.equal(long[:, : short.shape[1]], short)
    assert (long[:, short.shape[1] :] == -1).all()
    assert (short >= 0).tolist() == [[True, True], [True, False], [False, False]]


@pytest.mark.parametrize("length", [1, 2, 6])
def test_asvs_that_are_shorter_than_a_window_have_none(length: int) -> None:
    assert num_windows(length) == 0
    assert window_columns(tokens_of(["ACGT"[: length - 1]], length)).shape == (1, 0)


def test_a_model_of_very_short_asvs_has_no_windows() -> None:
    """Its weights of windows are empty, and train like any others."""
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
    assert all(one.isfinite().all() for one in model.parameters())


def test_what_falls_into_a_column_is_added_up_by_sample() -> None:
    column = torch.tensor([[3, -1], [3, 7], [5, 7]])
    total = add_by_window(column, torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), (3, 3 * COLUMNS))
    expected = torch.zeros(3, 3 * COLUMNS)
    expected[0, 3], expected[0, COLUMNS + 7], expected[2, 5], expected[2, COLUMNS + 7] = 3.0, 2.0, 4.0, 4.0
    assert torch.equal(total, expected)


@pytest.mark.parametrize(("target", "expected"), [("unweighted_unifrac", 1.0), ("weighted_unifrac", 0.8)])
def test_asvs_of_a_sample_may_share_a_window(target: str, expected: float) -> None:
    model = awake(targets=(target,))
    tokens = tokens_of(["ACGTACGGG", "ACGTACTTT", "TTTTTTTTT"], 16)
    counts, slot, real = (
        torch.tensor([[3.0, 5.0, 2.0]]),
        torch.tensor([[0, 1, 2]]),
        torch.ones(1, 3, dtype=bool),
    )
    embedded = model.embed_samples(model.encode_asvs(tokens), tokens, slot, counts, real).distance_features
    shared = window_columns(tokens)[0, 0]
    assert embedded[0, TINY["soft_branches"] + shared].item() == pytest.approx(expected)


def test_weights_of_windows_stay_finite_however_long_they_grow() -> None:
    model, batch = awake(), compact(some_samples(1, 4))
    for far in (-1e3, 1e3):
        model.distance_heads["unweighted_unifrac"].window_weight.data.fill_(far)
        distance = predicted(model, model(batch))
        assert distance.isfinite().all()
        assert all(one.isfinite().all() for one in gradients(model, distance.sum()).values())


def test_without_windows_the_head_has_soft_branches_alone() -> None:
    model, batch = awake(kmers=False), compact(some_samples(1, 4))
    assert model(batch).distance_features.shape == (4, 24)
    assert awake()(batch).distance_features.shape == (4, 24 + COLUMNS * num_windows(batch.tokens.shape[1]))
