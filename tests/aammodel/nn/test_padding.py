"""Padding changes nothing (P1), everywhere (P4): a sample alone equals the same sample in a padded batch.

The whole matrix has over two thousand cells. `make test` runs a fixed sample of them.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from aammodel.batch import Batch
from aammodel.nn.model import AamModel
from aammodel.training.setup import compile_transformers
from tests.helpers.model_cases import (
    LENGTH,
    TOLERANCE,
    Case,
    Sample,
    all_of,
    assert_close,
    assert_gradients_close,
    asv_tokens,
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

MATRIX = list(
    every(
        way=["compact", "dense"],
        dtype=[torch.float64, torch.float32, torch.bfloat16, torch.float16],
        mode=["train", "train-no-grad", "eval", "eval-no-grad"],
        chunk_size=[1, 3, 1000],
        checkpoint_positions=[0, 10**9],
        token_limit=[64, 256, 512, 1024],
        batch_size=[1, 2, 6],
        distance_head=["soft-branch", "euclidean"],
        bases_per_position=[1, 3],
    )
)


OF_THE_BATCH = ("way", "dtype", "mode", "token_limit", "batch_size")


def is_distinct(case: Case) -> bool:
    """Return whether a cell differs from all others: only the compact way has chunks and checkpoints."""
    return case["way"] == "compact" or (case["chunk_size"], case["checkpoint_positions"]) == (1, 0)


def compact_outputs(model: AamModel, batch: Batch, row: int) -> list[Tensor]:
    """Return the outputs for one sample of a batch, its ASVs and their masked bases."""
    output = model(batch)
    asvs = batch.slot[row][batch.is_real[row]].sort().values
    is_of_asv = (batch.masked[:, :1] == asvs).any(dim=1)
    features, embedding = output.distance_features[row], output.embedding[row]
    return [output.asv_embedding[asvs], features, embedding, output.nucleotide_logits[is_of_asv]]


def dense_outputs(model: AamModel, tokens: Tensor, count: Tensor, row: int, num_asvs: int) -> list[Tensor]:
    """Return the same outputs, and more, of the dense computation."""
    output = model.forward_dense(tokens, count)
    real = tokens[row, :num_asvs] > 0
    return [
        output.asv_embedding[row, :num_asvs],
        output.asv_in_sample[row, :num_asvs],
        output.distance_features[row],
        output.embedding[row],
        output.nucleotide_logits[row, :num_asvs][:, : real.shape[1]][real],
    ]


def outputs(model: AamModel, way: str, samples: list[Sample], row: int, **padding: object) -> list[Tensor]:
    num_asvs = len(samples[row].asvs)
    device = next(model.parameters()).device
    if way == "compact":
        return compact_outputs(model, compact(samples, **padding).to(device), row)
    tokens, count = dense(samples, **padding)
    return dense_outputs(model, tokens.to(device), count.to(device), row, num_asvs)


def check(
    case: Case,
    device: str = "cpu",
    prepare: Callable[[AamModel], None] = lambda model: None,
    others: list[Sample] | None = None,
    target: Sample = TARGET,
    **made: object,
) -> None:
    """Check that a sample alone and in a batch with others has the same outputs and gradients.

    By default, the others are drawn at random. `made` is passed on to the functions that make batches.
    """
    dtype, way, token_limit = case["dtype"], case["way"], case["token_limit"]
    options = {name: value for name, value in case.items() if name not in OF_THE_BATCH}
    model = awake(dtype, **options).to(device).train(case["mode"].startswith("train"))
    prepare(model)
    others = others or some_samples(9, case["batch_size"] - 1)
    among = [*others[:1], target, *others[1:]]
    has_gradient = not case["mode"].endswith("no-grad")
    with torch.set_grad_enabled(has_gradient), under(dtype, device):
        alone = outputs(model, way, [target], 0, length=12, **made)
        together = outputs(model, way, among, among.index(target), slots=token_limit, length=LENGTH, **made)
        for expected, value in zip(alone, together, strict=True):
            assert_close(value, expected, TOLERANCE[dtype])
        values = (all_of(*alone), all_of(*together)) if has_gradient else None
    if values:
        expected = gradients(model, values[0])
        assert_gradients_close(gradients(model, values[1]), expected, TOLERANCE[dtype])


@pytest.mark.parametrize("case", sampled(filter(is_distinct, MATRIX), 50))
def test_padding_changes_nothing(case: Case) -> None:
    check(case)


CHOICES: dict[str, Case] = {
    "concat": {"count_embedding": "concat"},
    "film": {"count_embedding": "film"},
    "no counts": {"count_embedding": "none"},
    "no bases by position": {"bases_by_position": False},
    "no k-mers": {"kmers": False},
    "no sample transformer": {"sample_layers": 0},
    "two targets": {"targets": ("weighted_unifrac", "unweighted_unifrac")},
    "as published": {
        "distance_head": "tanh-euclidean",
        "distance_head_layers": 1,
        "slot_positions": 1024,
        "bases_by_position": False,
        "bases_per_position": 1,
    },
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("way", ["compact", "dense"])
def test_every_choice_of_model(way: str, choice: str) -> None:
    for dtype in (torch.float64, torch.float32):
        check(cell(way=way, dtype=dtype, **CHOICES[choice]))


@pytest.mark.parametrize("asv_encode_fraction", [0.7, 0.4])
def test_which_asvs_are_encoded_depends_on_no_other_sample(asv_encode_fraction: float) -> None:
    for dtype in (torch.float64, torch.float32):
        check(cell(dtype=dtype, batch_size=6, token_limit=256), asv_encode_fraction=asv_encode_fraction)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("way", ["compact", "dense"])
def test_beside_empty_samples_and_asvs_of_one_base(way: str, dtype: torch.dtype) -> None:
    one_base = [asv for asv in range(200) if len(asv_tokens(asv)) == 2][:2]
    others = [Sample((), ()), Sample((one_base[0],), (1.0,)), Sample(tuple(one_base), (2.0, 1e6))]
    check(cell(way=way, dtype=dtype), others=others)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mode", ["train", "train-no-grad", "eval", "eval-no-grad"])
def test_beside_samples_of_similar_size(mode: str, dtype: torch.dtype) -> None:
    """Samples of similar size share a chunk, which is padded. Others have chunks of their own."""
    target, *others = (random_sample(60 + number, number) for number in (24, 25, 26, 27))
    is_real = compact([target, *others]).is_real
    (chunk,) = [chunk for chunk, _ in awake().sample_encoder.chunks(is_real)]
    assert not chunk.is_even
    check(cell(dtype=dtype, mode=mode), others=others, target=target)


@pytest.mark.parametrize("mode", ["train", "eval-no-grad"])
@pytest.mark.parametrize("way", ["compact", "dense"])
@pytest.mark.parametrize("num_bases", [1, 11])
def test_one_real_asv_among_1023_padded(num_bases: int, way: str, mode: str) -> None:
    asv = next(asv for asv in range(200) if len(asv_tokens(asv)) == 1 + num_bases)
    lonely = Sample((asv,), (7.0,))
    for samples in ([lonely], [lonely, Sample((), ())], [lonely, random_sample(3, 9)]):
        model = awake(torch.float64).train(mode == "train")
        with torch.set_grad_enabled(mode == "train"):
            alone = outputs(model, way, [lonely], 0)
            among = outputs(model, way, samples, 0, slots=1024)
        for expected_value, value in zip(alone, among, strict=True):
            assert_close(value, expected_value, 1e-12)
        if mode == "train":
            expected = gradients(model, all_of(*alone))
            assert_gradients_close(gradients(model, all_of(*among)), expected, 1e-12)


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
    all_of(model(batch).distance_features).backward()
    assert times == len(batch.tokens) + again


KERNELS = every(
    backend=[SDPBackend.MATH, SDPBackend.FLASH_ATTENTION],
    way=["compact", "dense"],
    dtype=[torch.float32, torch.bfloat16, torch.float16],
    mode=["train", "train-no-grad", "eval", "eval-no-grad"],
    distance_head=["soft-branch", "euclidean"],
    distance_head_layers=[0, 1],
)


@pytest.mark.parametrize("case", sampled(KERNELS, 12))
def test_every_attention_kernel(case: Case) -> None:
    with sdpa_kernel(case["backend"]):
        check(cell(**{name: value for name, value in case.items() if name != "backend"}))


def test_a_sample_without_reads_is_finite() -> None:
    model = awake(torch.float64, targets=("weighted_unifrac", "unweighted_unifrac"))
    tokens, count = dense([TARGET])
    output = model.forward_dense(tokens, torch.zeros_like(count))
    assert output.distance_features.isfinite().all()
    assert output.embedding.isfinite().all()
    by_name = gradients(model, output.distance_features.sum())
    assert all(gradient.isfinite().all() for gradient in by_name.values())


@pytest.mark.parametrize("way", ["compact", "dense"])
def test_the_order_of_asvs_has_no_effect(way: str) -> None:
    model = awake(torch.float64)
    order = torch.randperm(len(TARGET.asvs), generator=torch.Generator().manual_seed(0)).tolist()
    permuted = Sample(tuple(TARGET.asvs[i] for i in order), tuple(TARGET.counts[i] for i in order))
    # The two vectors of the sample are before the logits.
    expected, got = outputs(model, way, [TARGET], 0)[-3:-1], outputs(model, way, [permuted], 0)[-3:-1]
    for value, expected_value in zip(got, expected, strict=True):
        assert_close(value, expected_value, 1e-12)


@pytest.mark.parametrize("way", ["compact", "dense"])
def test_slots_may_be_padded_anywhere(way: str) -> None:
    model = awake(torch.float64)
    batch = compact([TARGET], slots=9)
    spread = torch.tensor([8, 0, 7, 1, 2, 6, 3, 4, 5])
    tokens, count = dense([TARGET], slots=9)
    if way == "dense":
        expected = model.forward_dense(tokens, count)
        got = model.forward_dense(tokens[:, spread], count[:, spread])
    else:
        embedding = model.encode_asvs(batch.tokens)
        expected = model.embed_samples(embedding, batch.tokens, batch.slot, batch.count, batch.is_real)
        moved = (tensor[:, spread] for tensor in (batch.slot, batch.count, batch.is_real))
        got = model.embed_samples(embedding, batch.tokens, *moved)
    assert_close(got.distance_features, expected.distance_features, 1e-12)
    assert_close(got.embedding, expected.embedding, 1e-12)


def cell(**values: object) -> Case:
    """Return a cell of the matrix, with usual values for those not given."""
    usual = {
        "way": "compact",
        "dtype": torch.float32,
        "mode": "train",
        "chunk_size": 3,
        "checkpoint_positions": 0,
        "bases_per_position": 3,
    }
    return usual | {"token_limit": 64, "batch_size": 3, "distance_head": "soft-branch"} | values


COMPILED = [
    case
    for case in every(
        way=["compact", "dense"],
        dtype=[torch.float32, torch.bfloat16, torch.float16],
        mode=["train", "train-no-grad", "eval", "eval-no-grad"],
        checkpoint_positions=[0, 10**9],
    )
    # The dense computation keeps all activations.
    if case["way"] == "compact" or not case["checkpoint_positions"]
]


def check_compiled(case: Case, device: str = "cpu") -> None:
    torch.compiler.reset()
    check(case, device, compile_transformers)


# The compiler of torch raises warnings about its own code.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_compiled_and_activations_computed_again(without_shape_checks: None) -> None:
    check_compiled(cell(checkpoint_positions=0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", sampled(COMPILED, 0))
def test_compiled(case: Case, without_shape_checks: None) -> None:
    check_compiled(cell(**case))


@pytest.mark.gpu
@pytest.mark.parametrize("case", sampled(filter(is_distinct, MATRIX), 50))
def test_on_a_gpu(case: Case) -> None:
    check(case, device="cuda")


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", sampled(COMPILED, len(COMPILED)))
def test_compiled_on_a_gpu(case: Case, without_shape_checks: None) -> None:
    check_compiled(cell(**case, chunk_size=0), "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "backend",
    [SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION],
    ids=lambda backend: backend.name,
)
def test_every_attention_kernel_of_a_gpu_that_takes_masks(backend: SDPBackend) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        with sdpa_kernel(backend):
            check(cell(way="dense", dtype=dtype), device="cuda")
