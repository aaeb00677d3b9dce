"""Padding changes nothing (P1), everywhere (P4): a sample alone, and the same one beside others and padding.

The whole matrix has over two thousand cells; `make test` runs a fixed sample of them.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from aammodel.batch import Batch
from aammodel.model import AamModel
from tests.model.cases import (
    LENGTH,
    TOLERANCE,
    Case,
    Sample,
    all_of,
    assert_close,
    assert_gradients_close,
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

TARGET = random_sample(77, 6)

MATRIX = every(
    way=["compact", "dense"],
    dtype=[torch.float64, torch.float32, torch.bfloat16, torch.float16],
    mode=["train", "train-no-grad", "eval", "eval-no-grad"],
    chunk_size=[1, 3, 1000],
    checkpoint_positions=[0, 10**9],
    token_limit=[64, 256, 512, 1024],
    batch_size=[1, 2, 6],
    head=["soft-branch", "euclidean"],
    bases_per_position=[1, 3],
)


def matters(case: Case) -> bool:
    """Tell whether a cell is of its own: chunks and checkpoints are of the compact way alone."""
    return case["way"] == "compact" or (case["chunk_size"], case["checkpoint_positions"]) == (1, 0)


def compact_outputs(model: AamModel, batch: Batch, row: int) -> list[Tensor]:
    """Take what the model says about one sample of a batch, its ASVs and their hidden bases."""
    output = model(batch)
    asvs = batch.slot[row][batch.is_real[row]].sort().values
    is_of_asv = (batch.masked[:, :1] == asvs).any(dim=1)
    embedding = output.sample_embedding[row]
    return [output.asv_embedding[asvs], embedding, output.nucleotide_logits[is_of_asv]]


def dense_outputs(model: AamModel, tokens: Tensor, count: Tensor, row: int, num_asvs: int) -> list[Tensor]:
    """Take the same from the dense view, and more."""
    output = model.forward_dense(tokens, count)
    real = tokens[row, :num_asvs] > 0
    return [
        output.asv_embedding[row, :num_asvs],
        output.asv_in_sample[row, :num_asvs],
        output.sample_embedding[row],
        output.nucleotide_logits[row, :num_asvs][:, : real.shape[1]][real],
    ]


def outputs(model: AamModel, way: str, samples: list[Sample], row: int, **padding: int) -> list[Tensor]:
    num_asvs = len(samples[row].asvs)
    device = next(model.parameters()).device
    if way == "compact":
        return compact_outputs(model, compact(samples, **padding).to(device), row)
    tokens, count = dense(samples, **padding)
    return dense_outputs(model, tokens.to(device), count.to(device), row, num_asvs)


def check(case: Case, device: str = "cpu", prepare: Callable[[AamModel], None] = lambda model: None) -> None:
    """Compare the target alone with the target among others, outputs and gradients."""
    dtype, way, token_limit = case["dtype"], case["way"], case["token_limit"]
    options = {
        name: case[name] for name in ("chunk_size", "checkpoint_positions", "head", "bases_per_position")
    }
    model = awake(dtype, **options).to(device).train(case["mode"].startswith("train"))
    prepare(model)
    others = [*some_samples(9, case["batch_size"] - 1)]
    among = [*others[:1], TARGET, *others[1:]]
    has_gradient = not case["mode"].endswith("no-grad")
    with torch.set_grad_enabled(has_gradient), under(dtype, device):
        alone = outputs(model, way, [TARGET], 0, length=12)
        together = outputs(model, way, among, among.index(TARGET), slots=token_limit, length=LENGTH)
        for one, other in zip(alone, together, strict=True):
            assert_close(other, one, TOLERANCE[dtype])
        values = (all_of(*alone), all_of(*together)) if has_gradient else None
    if values:
        expected = gradients(model, values[0])
        assert_gradients_close(gradients(model, values[1]), expected, TOLERANCE[dtype])


@pytest.mark.parametrize("case", sampled(filter(matters, MATRIX), 50))
def test_padding_changes_nothing(case: Case) -> None:
    check(case)


def test_one_real_asv_among_1023_padded() -> None:
    model = awake(torch.float64)
    lonely = random_sample(5, 1)
    samples = [lonely, Sample((), ())]
    tokens, count = dense(samples, slots=1024)
    alone = outputs(model, "dense", [lonely], 0)
    for one, other in zip(alone, dense_outputs(model, tokens, count, 0, 1), strict=True):
        assert_close(other, one, 1e-12)


@pytest.mark.parametrize(("budget", "again"), [(10**9, 0), (0, 4), (10, 2)])
def test_only_what_exceeds_the_budget_is_computed_again(budget: int, again: int) -> None:
    model = awake(chunk_size=1, checkpoint_positions=budget)
    batch = compact([Sample((3, 10, 17, 22), (1.0, 1.0, 1.0, 1.0))])
    assert (batch.tokens > 0).sum(dim=1).tolist() == [10] * 4
    times = 0

    def count(*_: object) -> None:
        nonlocal times
        times += 1

    model.asv_encoder.transformer.register_forward_hook(count)
    all_of(model(batch).sample_embedding).backward()
    assert times == len(batch.tokens) + again


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], ids=lambda one: one.name)
@pytest.mark.parametrize("way", ["compact", "dense"])
def test_every_attention_kernel(way: str, backend: SDPBackend) -> None:
    with sdpa_kernel(backend):
        check(cell(way=way))


@pytest.mark.parametrize("way", ["compact", "dense"])
def test_order_of_asvs_is_of_no_account(way: str) -> None:
    model = awake(torch.float64)
    order = torch.randperm(len(TARGET.asvs), generator=torch.Generator().manual_seed(0)).tolist()
    turned = Sample(tuple(TARGET.asvs[i] for i in order), tuple(TARGET.counts[i] for i in order))
    embedded = -2 if way == "dense" else 1
    expected = outputs(model, way, [TARGET], 0)[embedded]
    assert_close(outputs(model, way, [turned], 0)[embedded], expected, 1e-12)


@pytest.mark.parametrize("way", ["compact", "dense"])
def test_slots_may_be_padded_anywhere(way: str) -> None:
    model = awake(torch.float64)
    batch = compact([TARGET], slots=9)
    spread = torch.tensor([8, 0, 7, 1, 2, 6, 3, 4, 5])
    tokens, count = dense([TARGET], slots=9)
    if way == "dense":
        expected = model.forward_dense(tokens, count).sample_embedding
        got = model.forward_dense(tokens[:, spread], count[:, spread]).sample_embedding
    else:
        embedding = model.encode_asvs(batch.tokens)
        expected = model.embed_samples(embedding, batch.slot, batch.count, batch.is_real)
        moved = (one[:, spread] for one in (batch.slot, batch.count, batch.is_real))
        got = model.embed_samples(embedding, *moved)
    assert_close(got, expected, 1e-12)


def cell(**values: object) -> Case:
    """Take one cell of the matrix, the rest of it as is usual."""
    usual = {
        "way": "compact",
        "dtype": torch.float32,
        "mode": "train",
        "chunk_size": 3,
        "checkpoint_positions": 0,
        "bases_per_position": 3,
    }
    return usual | {"token_limit": 64, "batch_size": 3, "head": "soft-branch"} | values


@pytest.mark.long
# The compiler of torch warns of itself.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["train", "eval-no-grad"])
@pytest.mark.parametrize("way", ["compact", "dense"])
def test_compiled(way: str, mode: str) -> None:
    torch.compiler.reset()
    check(cell(way=way, mode=mode), prepare=compile_stacks)


def compile_stacks(model: AamModel) -> None:
    """Compile the transformers, in which the time goes, for any shape; what cuts chunks stays as it is."""
    model.asv_encoder.transformer.compile(dynamic=True)
    model.sample_encoder.transformer.compile(dynamic=True)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("way", ["compact", "dense"])
def test_on_a_gpu(way: str, dtype: torch.dtype) -> None:
    check(cell(way=way, dtype=dtype, chunk_size=0), device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "backend",
    [SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION],
    ids=lambda one: one.name,
)
def test_every_attention_kernel_of_a_gpu_that_takes_masks(backend: SDPBackend) -> None:
    with sdpa_kernel(backend):
        check(cell(way="dense", dtype=torch.float16), device="cuda")
