"""`aammodel trace` finds the origin of a non-finite value: module, ASV, sample and direction."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from aam_schemas import vocabulary
from aam_schemas.common.errors import NonFiniteError
from aammodel.batch import Batch
from aammodel.config.train import TrainConfig
from aammodel.diagnostics.batch_checks import check_batch
from aammodel.diagnostics.nonfinite import NonFiniteOrigin, run_instrumented
from aammodel.diagnostics.stop import stop_at_non_finite
from aammodel.diagnostics.trace import trace
from aammodel.distributed.ranks import Ranks
from aammodel.nn.encoders import mask_tokens
from aammodel.nn.model import AamModel
from aammodel.objectives.registry import make_objectives
from aammodel.runs.config_file import CONFIG_FILE
from aammodel.runs.metrics_log import read_metrics
from aammodel.runs.saved_step import SavedStep, save_step
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.setup import compile_transformers
from aammodel.training.step import Stepper, seed_step
from aammodel.workflows.replay import from_batch
from tests.helpers.model_cases import Case, Sample, awake, compact, every, random_sample, sampled
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLES = [
    random_sample(1, 6),
    random_sample(2, 3),
    Sample((3, 10, 17), (7.0, 11.0, 5.0)),
    random_sample(3, 8),
]
BAD_SAMPLE, BAD_ASV = 2, 17
BAD_COUNT = 5.0
OBJECTIVES = make_objectives(TrainConfig())


def step_of(model: AamModel, precision: str = "float32") -> Stepper:
    config = TrainConfig(precision=precision)
    optimizer, scaling = make_optimizer(model, config), Precision(precision, torch.device("cpu"))
    return Stepper(model, optimizer, scaling, config, OBJECTIVES)


def origin_of(model: AamModel, batch: Batch, precision: str = "float32") -> NonFiniteOrigin | None:
    return run_instrumented(step_of(model, precision), [batch]).origin


@dataclass
class Spoiler:
    """Replace a module's output for one ASV, or the gradient of the output, by a non-finite value."""

    value: float
    is_backward: bool
    where: Callable[[Tensor], Tensor]
    """Return a mask of an output that is True for the ASV."""

    def hook(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        is_bad = self.where(output)
        if not self.is_backward:
            return output.masked_fill(is_bad, self.value)
        output.register_hook(lambda gradient: gradient.masked_fill(is_bad, self.value))
        return None


def of_rows(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(*rows.shape, *[1] * (like.dim() - rows.dim())).expand(like.shape)


def spoil_reading(model: AamModel, batch: Batch, name: str, spoiler: Spoiler) -> None:
    """Spoil a module of the transformer over bases. It recognizes the ASV by the stem's input."""
    row = batch.asv_row.tolist().index(BAD_ASV)
    tokens = mask_tokens(batch.tokens, batch.masked)[row]
    seen: list[Tensor] = []
    model.asv_encoder.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    def where(output: Tensor) -> Tensor:
        here = seen[-1]
        return of_rows((here == tokens[: here.shape[1]]).all(dim=1), output)

    spoiler.where = where
    model.get_submodule(name).register_forward_hook(spoiler.hook)


def spoil_sample(model: AamModel, batch: Batch, name: str, spoiler: Spoiler) -> None:
    """Spoil a module of the transformer over ASVs. The ASV is recognized by its count."""
    seen: list[Tensor] = []
    counts = model.sample_encoder.count_embedding
    counts.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))

    def where(output: Tensor) -> Tensor:
        is_bad = seen[-1] == BAD_COUNT
        # Attention weights have the shape (samples, heads, querying slots, attended slots).
        return of_rows(is_bad[:, None, :] if output.dim() == 4 else is_bad, output)

    spoiler.where = where
    model.get_submodule(name).register_forward_hook(spoiler.hook)


def spoil_listed(model: AamModel, batch: Batch, name: str, spoiler: Spoiler) -> None:
    """Spoil a module whose output has one row per ASV, masked base or real slot."""
    row = batch.asv_row.tolist().index(BAD_ASV)
    rows = {
        "asv_encoder.bases": batch.asv_row == BAD_ASV,
        "nucleotide_head": batch.masked[:, 0] == row,
        "distance_heads.unweighted_unifrac.logits": batch.count[batch.is_real] == BAD_COUNT,
    }
    spoiler.where = lambda output: of_rows(rows[name], output)
    model.get_submodule(name).register_forward_hook(spoiler.hook)


ALL_WITH_THE_ASV, ONE = "all", "one"
MODULES = {
    "asv_encoder.stem": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.stem.token_embedding": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer.blocks.0.attention_norm": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer.blocks.1.qkv": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer.blocks.1": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer.blocks.1.weights_dropout": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer.blocks.1.attention_dropout": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer.blocks.0.wide_dropout": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer.blocks.0.feed_forward_dropout": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.transformer": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.pooling.query": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.pooling": (spoil_reading, ALL_WITH_THE_ASV),
    "asv_encoder.bases": (spoil_listed, ALL_WITH_THE_ASV),
    "sample_encoder.count_embedding.of_count": (spoil_sample, ONE),
    "sample_encoder.transformer.blocks.0.expand": (spoil_sample, ONE),
    "sample_encoder.transformer.blocks.1.attention_out": (spoil_sample, ONE),
    "sample_encoder.transformer.blocks.1.weights_dropout": (spoil_sample, ONE),
    "sample_encoder.transformer.blocks.1.attention_dropout": (spoil_sample, ONE),
    "sample_encoder.transformer.blocks.0.wide_dropout": (spoil_sample, ONE),
    "sample_encoder.transformer.blocks.0.feed_forward_dropout": (spoil_sample, ONE),
    "nucleotide_head": (spoil_listed, ALL_WITH_THE_ASV),
    "distance_heads.unweighted_unifrac.logits": (spoil_listed, ONE),
}


def the_batch(asv_encode_fraction: float = 1.0) -> Batch:
    return compact([*SAMPLES, Sample((17, 4), (2.0, 9.0))], slots=12, asv_encode_fraction=asv_encode_fraction)


CELLS = [
    *every(name=list(MODULES), direction=["forward", "backward"], kept=[True]),
    # Activation checkpointing: activations are recomputed in the backward pass.
    *every(name=["asv_encoder.transformer.blocks.1.qkv"], direction=["forward", "backward"], kept=[False]),
]


@pytest.mark.parametrize("case", sampled(CELLS, 24))
def test_an_injected_value_is_found(case: Case) -> None:
    name, direction, checkpoint_positions = case["name"], case["direction"], 10**9 * case["kept"]
    dropout = {"dropout": 0.2, "inner_dropout": 0.2} if name.endswith("dropout") else {}
    model, batch = awake(chunk_size=8, checkpoint_positions=checkpoint_positions, **dropout), the_batch()
    spoil, affected = MODULES[name]
    value = math.nan if direction == "forward" else math.inf
    spoil(model, batch, name, Spoiler(value, direction == "backward", lambda output: output))
    origin = origin_of(model, batch)
    assert origin is not None
    assert (origin.module, origin.direction) == (name, direction)
    assert [asv.row for asv in origin.asvs] == [BAD_ASV]
    bases = batch.tokens[batch.asv_row == BAD_ASV].numpy()
    assert origin.asvs[0].sequence == vocabulary.decode(bases)[0]
    assert origin.samples == (("sample-2", "sample-4") if affected == ALL_WITH_THE_ASV else ("sample-2",))


def test_asvs_that_are_not_encoded_do_not_confuse_the_rows() -> None:
    model, batch = awake(chunk_size=2), the_batch(asv_encode_fraction=0.5)
    row = batch.asv_row.tolist().index(BAD_ASV)
    assert batch.is_encoded[row]
    assert not batch.is_encoded[:row].all()
    spoil_reading(model, batch, "asv_encoder.transformer", Spoiler(math.nan, False, lambda output: output))
    origin = origin_of(model, batch)
    assert origin is not None
    assert [asv.row for asv in origin.asvs] == [BAD_ASV]


@pytest.mark.parametrize(
    "name", ["sample_encoder.transformer.blocks.0", "asv_encoder.transformer.blocks.1.expand"]
)
def test_a_backward_hook_from_outside_is_found(name: str) -> None:
    model = awake()
    model.get_submodule(name).register_full_backward_hook(
        lambda module, inputs, outputs: tuple(
            tensor * math.nan if tensor is not None and tensor.is_floating_point() else tensor
            for tensor in inputs
        )
    )
    origin = origin_of(model, the_batch())
    assert origin is not None
    assert (origin.module, origin.direction) == (name, "backward")


@pytest.mark.parametrize("head", ["soft-branch", "euclidean"])
def test_a_sample_that_is_spoilt_whole_is_named(head: str) -> None:
    model, batch = awake(distance_head=head), the_batch()

    def spoil(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output.index_fill(0, torch.tensor([1]), math.inf)

    name = "distance_heads.unweighted_unifrac." + ("affine" if head == "soft-branch" else "pooling")
    model.get_submodule(name).register_forward_hook(spoil)
    origin = origin_of(model, batch)
    assert origin is not None
    assert (origin.module, origin.samples) == (name, ("sample-1",))


def test_an_overflow_between_modules_is_attributed_to_the_module_around_them() -> None:
    model = awake()
    with torch.no_grad():  # products of queries and keys beyond the largest float32
        model.asv_encoder.transformer.blocks[1].qkv.weight.mul_(1e30)
    origin = origin_of(model, the_batch())
    assert origin is not None
    assert origin.module == "asv_encoder.transformer.blocks.1"
    assert "between asv_encoder.transformer.blocks.1.qkv and" in origin.what


def test_a_non_finite_weight_is_named() -> None:
    model = awake()
    with torch.no_grad():
        model.sample_encoder.transformer.blocks[0].contract.bias[3] = math.inf
    origin = origin_of(model, the_batch())
    assert origin is not None
    assert origin.module == "sample_encoder.transformer.blocks.0.contract"
    assert "its bias is non-finite (float32 16, " in origin.what
    assert "1 infinite)" in origin.what


def test_the_loss_itself_may_overflow() -> None:
    model, head = awake(), "unweighted_unifrac"
    with torch.no_grad():
        model.distance_heads[head].affine.scale.fill_(1e25)
    origin = origin_of(model, the_batch())
    assert origin is not None
    assert (origin.module, origin.direction) == ("the loss", "forward")
    model = awake()
    model.distance_heads[head].spread.zero_()  # a division by zero
    origin = origin_of(model, the_batch())
    assert origin is not None
    assert (origin.module, origin.direction) == ("the loss", "backward")
    assert origin.what.startswith(f"the gradient of the output of distance_heads.{head}.affine")


def test_an_overflow_of_float16_is_found() -> None:
    model = awake()
    with torch.no_grad():
        model.asv_encoder.transformer.blocks[0].expand.weight.mul_(1e5)
    assert origin_of(model, the_batch()) is None
    origin = origin_of(model, the_batch(), "fp16")
    assert origin is not None
    assert origin.module == "asv_encoder.transformer.blocks.0.expand"


@pytest.mark.parametrize("checkpoint_positions", [0, 10**9])
def test_recording_changes_nothing(checkpoint_positions: int) -> None:
    model, batches = awake(checkpoint_positions=checkpoint_positions), [the_batch(), the_batch(0.5)]
    stepper = step_of(model)
    losses, norm = stepper.backward(batches)
    expected = [None if weight.grad is None else weight.grad.clone() for weight in model.parameters()]
    result = run_instrumented(stepper, batches)
    assert result.origin is None
    assert result.losses.numbers() == losses.numbers()
    assert result.gradient_norm == pytest.approx(norm, rel=1e-6)
    for weight, gradient in zip(model.parameters(), expected, strict=True):
        assert (weight.grad is None) == (gradient is None)
        assert gradient is None or torch.allclose(weight.grad, gradient, rtol=1e-5, atol=1e-7)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_figures_of_a_module_are_those_of_its_tensors() -> None:
    model, batch = awake(chunk_size=4), the_batch()
    kept: list[Tensor] = []
    name = "sample_encoder.transformer.blocks.0.expand"
    handle = model.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: (output.retain_grad(), kept.append(output))[0]
    )
    step_of(model).backward([batch])
    handle.remove()
    weight = model.get_submodule(name).weight.grad
    result = run_instrumented(step_of(model), [batch])
    record = next(record for record in result.modules if record.name == name)
    assert record.num_calls == len(kept) > 1
    assert record.outputs[0].mean == pytest.approx(kept[0].double().mean().item())
    gradient = torch.cat([part.grad.flatten() for part in kept]).norm().item()
    assert math.sqrt(record.gradient_square) == pytest.approx(gradient, rel=1e-5)
    bias = model.get_submodule(name).bias.grad
    own = torch.cat([weight.flatten(), bias]).norm().item()
    clipped = min(1.0, 1.0 / (result.gradient_norm + 1e-6))
    assert math.sqrt(record.weight_gradient_square) * clipped == pytest.approx(own, rel=1e-4)


def poison(batch: Batch, name: str, index: tuple[int, ...], value: float) -> Batch:
    tensor = getattr(batch, name).clone()
    tensor[index] = value
    return replace(batch, **{name: tensor})


POISONED = {
    "no START": ("START", ("tokens", (1, 0), vocabulary.A)),
    "another START": ("START", ("tokens", (1, 1), vocabulary.START)),
    "no token": ("token range", ("tokens", (1, 1), 9)),
    "MASK": ("token range", ("tokens", (1, 1), vocabulary.MASK)),
    "a hole": ("padding at the end", ("tokens", (0, 15), vocabulary.A)),
    "a slot that points nowhere": ("slots", ("slot", (2, 1), 99)),
    "the same ASV twice": ("distinct ASVs", ("asv_row", (1,), 0)),
    "NaN reads": ("counts", ("count", (2, 1), math.nan)),
    "infinite reads": ("counts", ("count", (2, 1), math.inf)),
    "negative reads": ("counts", ("count", (2, 1), -1.0)),
    "reads of padding": ("padded slots", ("count", (2, 11), 3.0)),
    "an infinite distance": ("distances", ("distance", (0, 1, 2), math.inf)),
    "a distance above 1": ("distances", ("distance", (0, 1, 2), 1.5)),
    "a negative distance": ("distances", ("distance", (0, 1, 2), -0.5)),
    "an unknown distance": ("distances", ("distance", (0, 1, 2), math.nan)),
    "an asymmetric distance": ("symmetry", ("distance", (0, 1, 2), 0.0)),
    "a distance to itself": ("symmetry", ("distance", (0, 2, 2), 0.5)),
    "a masked START": ("masked bases", ("masked", (0, 1), 0)),
    "a masked base of no ASV": ("masked bases", ("masked", (0, 0), 77)),
    "another masked base": ("masked bases", ("masked_token", (0,), vocabulary.N)),
}


@pytest.mark.parametrize("case", POISONED)
def test_a_poisoned_batch_is_named(case: str) -> None:
    rule, (name, index, value) = POISONED[case]
    model, batch = awake(), compact(SAMPLES, slots=12)
    batch = replace(batch, asv_row=torch.arange(len(batch.tokens)))
    assert check_batch(batch, model.config, OBJECTIVES).failed == ()
    failed = check_batch(poison(batch, name, index, value), model.config, OBJECTIVES).failed
    assert rule in [check.name for check in failed]
    broken = next(check for check in failed if check.name == rule)
    named = {"count": "sample-2", "slot": "sample-2", "distance": "sample-2", "tokens": f"ASV {index[0]}"}
    assert named.get(name, "") in str(broken)


def test_a_sample_without_reads_is_named() -> None:
    model, batch = awake(), compact([*SAMPLES, Sample((), ()), Sample((3,), (0.0,))])
    checked = check_batch(batch, model.config, OBJECTIVES)
    assert [check.broken for check in checked.failed] == [("sample sample-4", "sample sample-5")]
    assert checked.figures.num_zero_counts == 1
    assert checked.figures.sample_padding == (2 / 8, 5 / 8, 5 / 8, 0.0, 1.0, 7 / 8)
    lengths = (batch.tokens > 0).sum(dim=1)
    assert checked.figures.asv_padding == pytest.approx((1 - lengths / 16).tolist())


def test_samples_that_are_not_in_the_tree_have_no_distance() -> None:
    model, batch = awake(), compact(SAMPLES)
    distance = batch.distance.clone()
    distance[:, 1, :] = distance[:, :, 1] = math.nan
    checked = check_batch(replace(batch, distance=distance), model.config, OBJECTIVES)
    assert checked.failed == ()
    assert checked.figures.denominators["unweighted_unifrac"] == 3


def test_a_clean_trace_gives_the_losses_of_training(run: Programs, tmp_path: Path) -> None:
    shards, config = make_shards(run, tmp_path), tiny_config(tmp_path, "batch_size = 8\naccumulate = 3\n")
    traced = run("aammodel", "trace", shards.folder, "--config", config, "--json")
    assert traced.code == 0, traced.err
    options = ("--config", config, "--output", tmp_path / "run", "--max-steps", 4)
    assert run("aammodel", "pretrain", shards.folder, *options).code == 0
    rows = {row["step"]: row for row in read_metrics(tmp_path / "run") if "loss" in row}
    document = json.loads(traced.out)
    assert document["finite"] is True
    assert document["fault"] is None
    assert document["losses"]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-5)
    assert document["gradient_norm"] == pytest.approx(rows[1]["gradient_norm"], rel=1e-4)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000003"
    traced = run("aammodel", "trace", "--run", checkpoint, "--json")
    assert traced.code == 0, traced.err
    document = json.loads(traced.out)
    assert document["step"] == 3
    assert document["losses"]["loss"] == pytest.approx(rows[4]["loss"], rel=1e-5)
    assert run("aammodel", "trace", "--run", tmp_path / "run").code == 0
    assert run("aammodel", "trace", shards.folder, "--run", tmp_path / "run" / "model.safetensors").code == 0


def test_training_that_diverges_is_traced_from_the_batch_it_kept(run: Programs, tmp_path: Path) -> None:
    shards, config = make_shards(run, tmp_path), tiny_config(tmp_path, "warmup_steps = 0\nclip_norm = 1e30\n")
    config.write_text(config.read_text().replace("learning_rate = 0.003", "learning_rate = 1e20"))
    options = ("--config", config, "--output", tmp_path / "run", "--max-steps", 9)
    ran = run("aammodel", "pretrain", shards.folder, *options)
    assert ran.code == 3
    kept = next((tmp_path / "run").glob("offending-batch-step-*.safetensors"))
    assert f"aammodel trace --batch {kept}" in ran.err
    traced = run("aammodel", "trace", "--batch", kept, "--json")
    assert traced.code == 1
    document = json.loads(traced.out)
    assert document["fault"]["module"] in ran.err
    assert document["fault"]["samples"]
    assert document["losses"]["loss"] is None or math.isfinite(document["losses"]["loss"])
    assert document["step"] == int(kept.stem.rpartition("-")[2])
    assert run("aammodel", "trace", "--batch", kept, "--config", config).code == 0


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_demonstration(direction: str, run: Programs, tmp_path: Path) -> None:
    shards, config = make_shards(run, tmp_path), tiny_config(tmp_path)
    call = ("trace", shards.folder, "--config", config, "--direction", direction)
    name = "asv_encoder.transformer.blocks.0.attention_out"
    ran = run("aammodel", *call, "--inject", name)
    assert ran.code == 1
    assert f"Non-finite, first {direction} in {name} (Linear)" in ran.out
    assert "ASV: row " in ran.out
    assert "sample: S" in ran.out
    ran = run("aammodel", *call, "--inject", "blocks.0.atention_out")
    assert ran.code == 2
    assert name in ran.err
    assert run("aammodel", *call, "--inject", "asv_encoder").code == 2


def test_a_batch_that_no_model_can_read_is_reported(run: Programs, tmp_path: Path) -> None:
    batch = compact(SAMPLES, slots=12)
    save_step(SavedStep([poison(batch, "tokens", (1, 1), 9)]), tmp_path / "batch.safetensors")
    ran = run("aammodel", "trace", "--batch", tmp_path / "batch.safetensors")
    assert ran.code == 1
    assert "BROKEN token range" in ran.out
    assert "cannot read this batch" in ran.out
    save_step(SavedStep([poison(batch, "count", (1, 1), math.inf)]), tmp_path / "batch.safetensors")
    ran = run("aammodel", "trace", "--batch", tmp_path / "batch.safetensors")
    assert "BROKEN counts" in ran.out
    assert "first forward in sample_encoder.count_embedding.of_count" in ran.out
    for content in (b"no", save({"0.tokens": torch.ones(1)}), save({}, {"sample_ids": "[]"})):
        (tmp_path / "batch.safetensors").write_bytes(content)
        assert run("aammodel", "trace", "--batch", tmp_path / "batch.safetensors").code == 1
    assert run("aammodel", "trace", "--batch", tmp_path / "none").code == 2
    assert run("aammodel", "trace").code == 2


def test_a_batch_of_several_targets_asks_for_a_model_of_as_many(run: Programs, tmp_path: Path) -> None:
    batch = compact(SAMPLES, slots=12)
    two = replace(batch, distance=batch.distance.repeat(2, 1, 1))
    save_step(SavedStep([two]), tmp_path / "batch.safetensors")
    call = ("aammodel", "trace", "--batch", tmp_path / "batch.safetensors")
    ran = run(*call)
    assert ran.code == 1
    assert "BROKEN targets" in ran.out
    assert "2 metrics for unweighted_unifrac" in ran.out
    targets = "[train.targets]\nunweighted_unifrac = 1.0\njaccard = 2.0\n"
    ran = run(*call, "--config", tiny_config(tmp_path, targets))
    assert ran.code == 0, ran.out + ran.err
    assert "jaccard_loss" in ran.out
    (tmp_path / "wrong.toml").write_text("[model]\nwidth = 16\nattention_heads = 3\n")
    ran = run(*call, "--config", tmp_path / "wrong.toml")
    assert ran.code == 2
    assert "attention_heads must divide width (16), and is 3" in ran.err


@pytest.mark.parametrize("rank", [0, 1])
def test_a_saved_step_is_repeated_to_the_last_bit(rank: int, tmp_path: Path) -> None:
    model = awake(dropout=0.3, inner_dropout=0.2)
    config = TrainConfig(precision="fp16")
    stepper = replace(step_of(model, "fp16"), ranks=Ranks(rank), config=config)
    stepper.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**7)
    batches = [the_batch(), the_batch(0.5)]
    seed_step(config.seed, 21, rank)
    losses, norm = stepper.backward(batches)
    content = {"model": asdict(model.config), "train": asdict(config), "versions": {}}
    content["shards"] = {"folder": "shards", "manifest_sha256": "0" * 64}
    (tmp_path / CONFIG_FILE).write_text(json.dumps(content))
    with pytest.raises(NonFiniteError):
        stop_at_non_finite(stepper, batches, 21, tmp_path)
    inputs = from_batch(tmp_path / "offending-batch-step-000021.safetensors", None, None)
    assert inputs.stepper.precision.state()["scale"] == 2.0**7
    result = trace(inputs).result
    assert result is not None
    assert result.losses.numbers() == losses.numbers()
    assert result.gradient_norm == pytest.approx(norm, rel=1e-6)


@pytest.mark.long
# torch.compile itself raises warnings.
@pytest.mark.filterwarnings("ignore")
def test_the_modules_of_a_compiled_model_are_recorded() -> None:
    model = awake()
    compile_transformers(model)
    model.asv_encoder.transformer.blocks[0].qkv.register_forward_hook(
        lambda _, inputs, output: output * math.inf
    )
    origin = origin_of(model, the_batch())
    assert origin is not None
    assert origin.module == "asv_encoder.transformer.blocks.0.qkv"
    assert model.asv_encoder.transformer._compiled_call_impl is not None
