"""All-padding is zero, not NaN (P2). Values in padded positions affect nothing (P3), with dropout too."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aammodel.config.model import ModelConfig
from aammodel.nn.encoders import SampleEncoder
from aammodel.nn.heads.base import Contents
from aammodel.nn.heads.registry import make_distance_head
from aammodel.nn.kmers import COLUMNS
from aammodel.nn.transformer import AttentionPooling, Block, Transformer, attendable, zero_padding
from tests.helpers.model_cases import (
    TINY,
    Case,
    all_of,
    awake,
    compact,
    dense,
    every,
    gradients,
    random_sample,
    sampled,
    some_samples,
    under,
)
from tests.helpers.objectives import predicted

POISONS = [math.nan, math.inf, -math.inf, 1e30]
NUM_REAL = [7, 1, 0, 4]
"""Number of real positions of each sequence."""


class SampleEncoding(nn.Module):
    """A sample encoder whose counts are padded with the same poison as its input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = SampleEncoder(config)

    def forward(self, x: Tensor, is_real: Tensor) -> Tensor:
        position = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        return self.encoder(x, x[..., 0].abs(), is_real, position)


class Pooling(nn.Module):
    """The pooling of a distance head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head = make_distance_head(config, config.targets[0])

    def forward(self, x: Tensor, is_real: Tensor) -> Tensor:
        kmers = torch.arange(2 * int(is_real.sum()), device=x.device).reshape(-1, 2) % COLUMNS
        return self.head.pool(Contents(x, kmers, x[..., 0].abs(), is_real))


BLOCKS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "block": lambda config: Block(
        config.width, config.attention_heads, 4, config.dropout, config.inner_dropout
    ),
    "transformer": lambda config: Transformer(config, layers=2),
    "attention pooling": lambda config: AttentionPooling(config.width),
    "sample encoder": SampleEncoding,
    "sample encoder, film": lambda config: SampleEncoding(ModelConfig(**TINY, count_embedding="film")),
    "sample encoder, concat": lambda config: SampleEncoding(ModelConfig(**TINY, count_embedding="concat")),
    "soft-branch head": Pooling,
    "soft-abundance head": lambda config: Pooling(ModelConfig(**TINY, targets=("weighted_unifrac",))),
    "euclidean head": lambda config: Pooling(
        ModelConfig(**TINY, distance_head="euclidean", distance_head_layers=1)
    ),
}


def make_module(name: str, dropout: float) -> nn.Module:
    """Return a module in which no weight is zero."""
    torch.manual_seed(0)
    module = BLOCKS[name](ModelConfig(**TINY, dropout=dropout, inner_dropout=dropout))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return module


def padded(poison: float) -> tuple[Tensor, Tensor]:
    """Return sequences whose padded positions contain a poison, and which positions are real."""
    is_real = torch.arange(9) < torch.tensor(NUM_REAL)[:, None]
    x = torch.randn(4, 9, TINY["width"], generator=torch.Generator().manual_seed(0))
    return torch.where(is_real[..., None], x, poison).requires_grad_(), is_real


MATRIX = list(
    every(
        name=list(BLOCKS),
        poison=POISONS,
        mode=["train", "eval", "eval-no-grad"],
        dtype=[torch.float32, torch.bfloat16, torch.float16],
        dropout=[0.0, 0.3],
    )
)


@pytest.mark.parametrize("case", sampled(MATRIX, 120))
def test_poison_has_no_effect(case: Case) -> None:
    check_poison(case, "cpu")


COMPILED = [
    case
    for case in MATRIX
    if case["name"] == "transformer" and math.isnan(case["poison"]) and case["mode"] != "eval"
]


# The compiler of torch raises warnings about its own code.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", sampled(COMPILED, 0))
def test_poison_has_no_effect_compiled(case: Case, without_shape_checks: None) -> None:
    torch.compiler.reset()
    check_poison(case, "cpu", is_compiled=True)


@pytest.mark.gpu
@pytest.mark.parametrize("case", sampled(MATRIX, 60))
def test_poison_has_no_effect_on_a_gpu(case: Case) -> None:
    check_poison(case, "cuda")


def check_poison(case: Case, device: str, is_compiled: bool = False) -> None:
    """Check that poisoned padding gives the same bits as padding of zeros."""
    mode, dtype = case["mode"], case["dtype"]
    module = make_module(case["name"], case["dropout"]).train(mode == "train").to(device)
    if is_compiled:
        module.compile(dynamic=True)

    def run(value: float) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        torch.manual_seed(1)
        x, is_real = (tensor.detach().to(device) for tensor in padded(value))
        x.requires_grad_()
        with torch.set_grad_enabled(not mode.endswith("no-grad")), under(dtype, device):
            output = module(x, is_real)
        if not output.requires_grad:
            return output, {}, None
        return output, gradients(module, all_of(output)), x.grad

    clean, clean_gradients, _ = run(0.0)
    poisoned, poisoned_gradients, gradient_of_x = run(case["poison"])
    assert poisoned.isfinite().all()
    assert torch.equal(poisoned, clean)
    for key, gradient in clean_gradients.items():
        assert gradient.isfinite().all(), key
        assert torch.equal(poisoned_gradients[key], gradient), key
    if gradient_of_x is not None:
        is_real = padded(0.0)[1].to(device)
        assert gradient_of_x.isfinite().all()
        assert not gradient_of_x[~is_real].any()


@pytest.mark.parametrize("name", ["block", "transformer", "sample encoder"])
def test_padded_positions_are_exactly_zero(name: str) -> None:
    x, is_real = padded(math.nan)
    assert not make_module(name, 0.0)(x, is_real)[~is_real].any()


def test_a_sequence_of_padding_is_pooled_evenly_over_zeros() -> None:
    pooling = make_module("attention pooling", 0.0)
    x, is_real = padded(5.0)
    assert torch.equal(pooling.mean(x, is_real)[2], torch.zeros(TINY["width"]))
    # In a sequence without real positions, attention sees all positions, and all are zero.
    assert attendable(is_real)[2].all()
    assert torch.equal(attendable(is_real)[[0, 1, 3]], is_real[[0, 1, 3]])
    assert not zero_padding(x, is_real)[2].any()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("head", ["soft-branch", "euclidean"])
def test_padded_slots_are_zero_and_give_no_gradient(head: str, mode: str, dropout: float) -> None:
    model = awake(distance_head=head, dropout=dropout, inner_dropout=dropout).train(mode == "train")
    samples = [*some_samples(3, 2), random_sample(0, 0)]
    tokens, count = dense(samples, slots=12)
    is_real = (tokens > 0).any(dim=-1)
    output = model.forward_dense(tokens, count)
    assert all(tensor.isfinite().all() for tensor in vars(output).values())
    assert not output.asv_embedding[~is_real].any()
    assert not output.asv_in_sample[~is_real].any()
    value = all_of(output.asv_embedding[~is_real], output.asv_in_sample[~is_real])
    assert not any(gradient.any() for gradient in gradients(model, value).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("poison", POISONS)
def test_poisoned_counts_and_distances(poison: float, dtype: torch.dtype) -> None:
    model = awake()
    batch = compact(some_samples(3, 6), slots=12)
    tokens, count = dense(some_samples(3, 6), slots=12)
    dirty = torch.where(batch.is_real, count, poison)
    with under(dtype):
        for clean, poisoned in (
            (model.forward_dense(tokens, count), model.forward_dense(tokens, dirty)),
            (model(batch), model(type(batch)(**(vars(batch) | {"count": dirty})))),
        ):
            assert torch.equal(clean.embedding, poisoned.embedding)
            for expected, actual in zip(vars(clean).values(), vars(poisoned).values(), strict=True):
                assert torch.equal(expected, actual)
            value = all_of(poisoned.distance_features, predicted(model, poisoned), poisoned.embedding)
            assert all(gradient.isfinite().all() for gradient in gradients(model, value).values())


@pytest.mark.parametrize("head", ["soft-branch", "euclidean", "tanh-euclidean"])
def test_equal_embeddings_have_a_finite_gradient(head: str) -> None:
    model = awake(distance_head=head)
    batch = compact([random_sample(1, 5)] * 3 + [random_sample(0, 0)] * 2)
    value = all_of(predicted(model, model(batch)))
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(model, value).values())


@pytest.mark.gpu
@pytest.mark.parametrize("length", [64, 192, 320])
def test_gradients_where_cudnn_attention_gives_nan(length: int) -> None:
    block = make_module("block", 0.0).to("cuda")
    is_real = torch.arange(length, device="cuda") < torch.tensor([length, 5, 0], device="cuda")[:, None]
    x = 100 * torch.randn(3, length, TINY["width"], device="cuda")
    with under(torch.bfloat16, "cuda"):
        value = all_of(block(x, is_real))
    assert all(gradient.isfinite().all() for gradient in gradients(block, value).values())
