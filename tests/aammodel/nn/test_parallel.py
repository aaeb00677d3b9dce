"""Parallel chunks give the same bits as sequential ones, in every run.

The other tests, those of padding among them, compute sequentially in one thread. Their results carry over,
since both ways give the same bits.
"""

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from aam_schemas import vocabulary
from aammodel.nn import parallel
from aammodel.nn.encoders import AsvEncoder
from aammodel.nn.model import AamModel
from aammodel.nn.parallel import ChunkTask, compute_chunks, sequential
from tests.helpers.model_cases import (
    TOLERANCE,
    Case,
    all_of,
    assert_gradients_close,
    awake,
    compact,
    every,
    gradients,
    sampled,
    some_samples,
)

BATCH = compact(some_samples(4, 12), slots=12)
THREADS = 3
DROPOUT = {"dropout": 0.3, "inner_dropout": 0.2}
MATRIX = list(
    every(
        dtype=[torch.float32, torch.float64],
        is_training=[True, False],
        bases_per_position=[1, 3],
        chunk_size=[0, 2, 5],
        checkpoint_positions=[0, 60, 10**9],
        dropout=[0.0, 0.3],
        inner_dropout=[0.0, 0.2],
    )
)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(1)


def encoders(dtype: torch.dtype = torch.float32, **options: object) -> AamModel:
    """Return a model whose ASV embeddings are computed in chunks only."""
    return awake(dtype, bases_by_position=False, **options)


def encoded(model: AamModel) -> list[Tensor]:
    """Return the outputs of the encoders. The rest of a model is not computed in chunks."""
    embedding, hidden = model.asv_encoder.encode(BATCH.tokens, BATCH.masked)
    count = BATCH.count.to(embedding)
    in_sample = model.sample_encoder.encode(embedding, BATCH.slot, count, BATCH.is_real)
    return [embedding, hidden, in_sample]


def in_one_thread(compute: Callable[[], object]) -> object:
    torch.set_num_threads(1)
    result = compute()
    torch.set_num_threads(THREADS)
    return result


def differentiate(model: AamModel) -> tuple[list[Tensor], dict[str, Tensor]]:
    torch.manual_seed(0)
    outputs = encoded(model)
    return outputs, gradients(model, all_of(*outputs))


def threads_of_chunks(compute: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the name of the thread in which each chunk of ASVs is computed."""
    seen, read = [], AsvEncoder._transform_chunk

    def noting(self: AsvEncoder, *arguments: object) -> tuple[Tensor, ...]:
        seen.append(threading.current_thread().name)
        return read(self, *arguments)

    monkeypatch.setattr(AsvEncoder, "_transform_chunk", noting)
    compute()
    return seen


@pytest.mark.parametrize("case", sampled(MATRIX, 16))
def test_parallel_chunks_equal_sequential_ones(case: Case) -> None:
    dtype, is_training = case["dtype"], case["is_training"]
    options = {name: value for name, value in case.items() if name not in ("dtype", "is_training")}
    # With 0, the chunk size depends on the number of threads, which would change the last bit.
    size = case["chunk_size"] or math.ceil(len(BATCH.tokens) / THREADS)
    model = encoders(dtype, **options).train(is_training)
    same = encoders(dtype, **options | {"chunk_size": size}).train(is_training)
    outputs, gradient = differentiate(model)
    expected, expected_gradient = in_one_thread(lambda: differentiate(same))
    for output, expected_output in zip(outputs, expected, strict=True):
        assert torch.equal(output, expected_output)
    assert_gradients_close(gradient, expected_gradient, TOLERANCE[dtype])
    with torch.no_grad():
        torch.manual_seed(0)
        assert all(map(torch.equal, encoded(model), expected))


@pytest.mark.parametrize("options", [{}, DROPOUT], ids=["plain", "dropout"])
def test_every_run_gives_the_same_numbers(options: dict[str, float]) -> None:
    model = encoders(chunk_size=2, **options)
    outputs, gradient = differentiate(model)
    for _ in range(3):
        outputs_again, again = differentiate(model)
        assert all(map(torch.equal, outputs, outputs_again))
        assert all(torch.equal(again[name], value) for name, value in gradient.items())


@pytest.mark.parametrize("options", [{}, DROPOUT], ids=["plain", "dropout"])
def test_activations_computed_again_change_no_bit(options: dict[str, float]) -> None:
    kept, again = (
        differentiate(encoders(chunk_size=2, checkpoint_positions=size, **options)) for size in (10**9, 0)
    )
    assert all(map(torch.equal, kept[0], again[0]))
    assert all(torch.equal(kept[1][name], again[1][name]) for name in kept[1])


@pytest.mark.parametrize("name", DROPOUT)
def test_dropout_is_drawn_for_each_chunk_anew(name: str) -> None:
    tokens = torch.full((6, 12), vocabulary.A)
    torch.manual_seed(0)
    model = encoders(chunk_size=1, **{name: 0.3})
    none = torch.zeros((0, 2), dtype=torch.int64)
    embedding = model.asv_encoder.encode(tokens, none)[0]
    assert len(embedding.unique(dim=0)) == len(tokens)
    assert not torch.equal(embedding, model.asv_encoder.encode(tokens, none)[0])
    assert len(model.eval().asv_encoder.encode(tokens, none)[0].unique(dim=0)) == 1


@pytest.mark.parametrize("again", range(4))
def test_only_chunks_beyond_the_budget_are_computed_again(
    again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = torch.full((9, 12), vocabulary.A)
    model = encoders(chunk_size=3, checkpoint_positions=(3 - again) * 3 * 4)

    def compute() -> None:
        model.asv_encoder.encode(tokens, torch.zeros((0, 2), dtype=torch.int64))[0].sum().backward()

    assert len(threads_of_chunks(compute, monkeypatch)) == 3 + again


ASV_MODULES = ["asv_encoder.stem", "asv_encoder.transformer", "asv_encoder.pooling"]


@pytest.mark.parametrize(
    "frozen",
    [["asv_encoder"], ASV_MODULES[1:2], ["sample_encoder.transformer"], ASV_MODULES[:2], ASV_MODULES],
    ids=", ".join,
)
def test_frozen_weights_get_no_gradient(frozen: list[str]) -> None:
    model = awake(chunk_size=2)
    expected = differentiate(model)[1]
    for part in frozen:
        model.get_submodule(part).requires_grad_(False)
    differentiate(model)
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(f"{part}." for part in frozen)):
            assert parameter.grad is None
        elif expected[name].any():
            assert torch.equal(parameter.grad, expected[name])


def test_threads_get_similar_numbers_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = threads_of_chunks(lambda: encoded(encoders(chunk_size=1)), monkeypatch)
    counts = [seen.count(name) for name in set(seen)]
    assert len(counts) == THREADS
    assert max(counts) - min(counts) <= len(seen) // 3


HOOKS: dict[str, Callable[[AsvEncoder], object]] = {
    "forward": lambda part: part.pooling.register_forward_hook(lambda *_: None),
    "before": lambda part: part.pooling.register_forward_pre_hook(lambda *_: None),
    "backward": lambda part: part.transformer.register_full_backward_hook(lambda *_: None),
    "before backward": lambda part: part.transformer.register_full_backward_pre_hook(lambda *_: None),
    "of a weight": lambda part: part.pooling.query.weight.register_hook(lambda gradient: gradient / 2),
}


@pytest.mark.parametrize("way", ["autocast", "compiled", "sequential", *HOOKS])
def test_unsafe_modules_are_computed_sequentially(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoders(chunk_size=4)
    if way == "compiled":
        model.asv_encoder.transformer.compile(disable=True)
    if way in HOOKS:
        HOOKS[way](model.asv_encoder)
    context = sequential() if way == "sequential" else nullcontext()
    with context, torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        seen = threads_of_chunks(lambda: encoded(model), monkeypatch)
    assert set(seen) == {threading.current_thread().name}


def test_torch_keeps_its_threads() -> None:
    parallel._thread_pool.cache_clear()
    encoded(encoders(chunk_size=1))
    assert torch.get_num_threads() == THREADS
    with ThreadPoolExecutor(1) as another:
        assert another.submit(torch.get_num_threads).result() == THREADS


def test_gradients_of_gradients_are_refused() -> None:
    layer = nn.Linear(2, 2)
    tasks = [ChunkTask(lambda x: (layer(x) ** 2,), (torch.ones(1, 2),), cost=1) for _ in range(3)]
    value = torch.cat([tensor for (tensor,) in compute_chunks(layer, tasks)]).sum()
    with pytest.raises(RuntimeError, match="sequential"):
        torch.autograd.grad(value, layer.weight, create_graph=True)


def test_evaluation_draws_nothing() -> None:
    model, before = encoders(chunk_size=2, **DROPOUT).eval(), torch.get_rng_state()
    encoded(model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("backward", [False, True])
def test_an_error_in_a_thread_is_raised(backward: bool) -> None:
    layer = nn.Linear(2, 2)

    def compute(x: Tensor, index: int) -> tuple[Tensor]:
        y = layer(x)
        if index == 3:
            if not backward:
                raise MemoryError("too much")
            y.register_hook(_refuse)
        return (y,)

    tasks = [ChunkTask(compute, (torch.ones(1, 2), index), cost=1) for index in range(5)]
    with pytest.raises(MemoryError, match="too much"):
        torch.cat([value for (value,) in compute_chunks(layer, tasks)]).sum().backward()


def _refuse(_: Tensor) -> None:
    raise MemoryError("too much")


def test_inputs_get_their_gradients() -> None:
    layer = nn.Linear(3, 2, dtype=torch.float64)
    inputs = [torch.randn(4, 3, dtype=torch.float64, requires_grad=index != 2) for index in range(7)]
    factors = [torch.randn(4, 2, dtype=torch.float64) for _ in inputs]
    tasks = [ChunkTask(lambda x: (layer(x) ** 2,), (x,), cost=index % 3) for index, x in enumerate(inputs)]
    parts = compute_chunks(layer, tasks)
    sum((value * factor).sum() for (value,), factor in zip(parts, factors, strict=True)).backward()
    for index, (x, factor) in enumerate(zip(inputs, factors, strict=True)):
        if index == 2:
            assert x.grad is None
            continue
        expected = (2 * factor * layer(x).detach()) @ layer.weight.detach()
        assert torch.allclose(x.grad, expected, rtol=1e-12)
