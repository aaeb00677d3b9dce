"""Dropout drops the right fraction, at random, and changes nothing else."""

import pytest
import torch

from aammodel.nn.dropout import Dropout
from aammodel.nn.transformer import Block
from tests.helpers.model_cases import assert_close


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_the_fraction_is_dropped_and_the_mean_stays(fraction: float) -> None:
    torch.manual_seed(0)
    number = 1_000_003
    dropped = Dropout(fraction)(torch.ones(number))
    kept = dropped > 0
    deviation = (fraction * (1 - fraction) / number) ** 0.5
    assert abs(float(kept.float().mean()) - (1 - fraction)) < 5 * deviation + 2**-16
    assert torch.allclose(
        dropped[kept], torch.tensor(1 / (1 - fraction)), rtol=1e-3 * fraction / (1 - fraction)
    )


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 8, 512])
def test_decisions_are_independent(distance: int) -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.3)(torch.ones(400_000)) > 0).double() - 0.7
    correlation = (kept[distance:] * kept[:-distance]).mean() / 0.21
    assert abs(float(correlation)) < 5 / len(kept) ** 0.5


def test_the_seed_determines_what_is_dropped_from_output_and_gradient() -> None:
    x = torch.ones(7, 11, requires_grad=True)
    torch.manual_seed(3)
    first = Dropout(0.5)(x)
    second = Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(first, Dropout(0.5)(x))
    assert not torch.equal(first, second)
    first.sum().backward()
    assert torch.equal(x.grad, first.detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_kept_numbers_keep_their_digits(dtype: torch.dtype) -> None:
    x = torch.rand(100, generator=torch.Generator().manual_seed(0)).to(dtype) + 1
    dropped = Dropout(0.5)(x)
    assert dropped.dtype == dtype
    assert torch.equal(dropped[dropped > 0], 2 * x[dropped > 0])


def test_nothing_is_dropped_in_evaluation() -> None:
    x = torch.randn(5)
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_attention_with_dropout_is_attention() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, inner_dropout=0.4)
    x, is_real = torch.randn(3, 5, 8), torch.arange(5) < torch.tensor([[5], [2], [0]])
    expected = block.eval()(x, is_real)
    block.train()
    assert not torch.allclose(block(x, is_real), expected)
    # Nothing is dropped here, but attention takes the code path with dropout.
    block.weights_dropout.eval()
    block.wide_dropout.eval()
    assert_close(block(x, is_real), expected, 1e-6)
