"""Our model with the weights of a published checkpoint computes the same outputs as the original."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.preparation import Preparation
from aammodel.data.shards import open_shards
from aammodel.nn.model import AamModel
from aammodel.runs.load import check_fits, load_preparation, load_run
from tests.helpers.model_cases import awake, compact, some_samples
from tests.helpers.paths import STUDIES
from tests.helpers.published_checkpoints import (
    Expected,
    Sizes,
    by_published,
    imported,
    predictor,
    random_inputs,
    random_state,
    write,
    written,
)
from tests.helpers.reference_model import Weights
from tests.helpers.shards import make_shards
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "vocabulary-6": Sizes(vocabulary=6, width=24, heads=3, layers=(1, 2, 1)),
    "one-head-film": Sizes(heads=1, count="film", layers=(2, 1, 1), feed_forward=2),
    "eight-heads-concat": Sizes(vocabulary=6, heads=8, count="concat", layers=(1, 1, 2), bases=20),
    "add": Sizes(width=8, heads=2, count="add", token_limit=9),
}


@pytest.fixture
def upstream() -> Path:
    """Return the folder of published checkpoints and their outputs. Skip the test if there is none."""
    folder = STUDIES.parent / "upstream"
    if not folder.is_dir():
        pytest.skip(f"no published checkpoints at {folder}: put them beside the folder of AAM_REAL_DATA")
    return folder


def assert_equal_to(model: AamModel, tokens: Tensor, counts: Tensor, expected: list[Expected]) -> None:
    """Compare all outputs at all real positions, as `forward_dense` and `embed_samples` compute them."""
    with torch.no_grad():
        got = model.forward_dense(tokens, counts)
        asvs, slot = tokens.flatten(0, 1).unique(dim=0, return_inverse=True)
        is_real, slot = tokens.any(dim=2), slot.view(counts.shape)
        frugal = model.embed_samples(model.encode_asvs(asvs), asvs, slot, counts, is_real).distance_features
    for row, value in enumerate(expected):
        assert_near(got.distance_features[row], value.embedding)
        assert_near(frugal[row], value.embedding)
        assert_near(got.asv_in_sample[row, value.slots], value.asvs)
        for slot_number, logits in zip(value.slots, value.logits, strict=True):
            assert_near(got.nucleotide_logits[row, slot_number, : len(logits)], logits)


def assert_near(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert float((got.double() - expected).abs().max()) < 1e-5


@pytest.mark.real
@pytest.mark.parametrize("name", ["encoder-vocab7", "encoder-vocab7-film"])
def test_published_outputs_are_reproduced(upstream: Path, run: Programs, tmp_path: Path, name: str) -> None:
    checkpoint, output = upstream / f"{name}.pt", tmp_path / "run"
    assert run("aammodel", "import", checkpoint, "--output", output).code == 0
    model = load_run(output)
    given = {key: torch.from_numpy(value) for key, value in np.load(upstream / f"{name}-io.npz").items()}
    tokens, counts = given["tokens"], given["counts"][:, :, 0]
    with torch.no_grad():
        got = model.forward_dense(tokens, counts)
    assert_near(got.distance_features, given["embeddings"].double())
    assert_near(got.asv_in_sample, given["sample_embeddings"].double())
    is_real = tokens != 0
    assert_near(got.nucleotide_logits[is_real], given["nucleotide_logits"][is_real].double())
    # The reference that other tests use must also match the published outputs.
    state = torch.load(checkpoint, weights_only=True)["model_state_dict"]
    first = by_published(state, 4, tokens[:1], counts[:1])[0]
    assert_near(given["embeddings"][0], first.embedding)
    assert_near(given["sample_embeddings"][0, first.slots], first.asvs)


@pytest.mark.parametrize("name", SIZES)
def test_other_sizes_match_the_reference(tmp_path: Path, name: str) -> None:
    sizes = SIZES[name]
    model = imported(written(tmp_path, sizes), sizes.heads)
    tokens, counts = random_inputs(sizes)
    expected = by_published(random_state(sizes), sizes.heads, tokens, counts)
    assert_equal_to(model, tokens, counts, expected)
    with torch.no_grad():
        distance = model.forward_dense(tokens, counts).distance[0]
    for row, a in enumerate(expected):
        for column, b in enumerate(expected):
            euclidean = math.dist(a.embedding.tolist(), b.embedding.tolist())
            assert abs(float(distance[row, column]) - math.tanh(euclidean / 10)) < 1e-5


def test_the_model_has_the_given_number_of_heads(tmp_path: Path) -> None:
    sizes = Sizes()
    tokens, counts = random_inputs(sizes)
    with torch.no_grad():
        of_two = imported(written(tmp_path), 2).forward_dense(tokens, counts).distance_features
        of_four = imported(written(tmp_path), 4).forward_dense(tokens, counts).distance_features
    assert float((of_two - of_four).abs().max()) > 1e-3


WRAPPED: dict[str, tuple[Callable[[Weights], object], list[str]]] = {
    "predictor": (predictor, ["count_encoder", "output_scale", "target_head", "target_pooling"]),
    "compiled": (lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}, []),
    "parallel": (lambda state: {f"module.{name}": value for name, value in state.items()}, []),
    "faith-head": (lambda state: state | {"output_head.weight": torch.randn(1, 16)}, ["output_head"]),
    "float64": (lambda state: {name: value.double() for name, value in state.items()}, []),
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_an_encoder_is_found_beside_other_tensors_and_in_wrappers(
    run: Programs, tmp_path: Path, wrapping: str
) -> None:
    wrap, left_out = WRAPPED[wrapping]
    state = random_state(Sizes())
    path = write(tmp_path / "published.pt", wrap(state))
    ran = run("aammodel", "import", path, "--output", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert (f": {', '.join(left_out)}\n" in ran.err) if left_out else not ran.err
    tokens, counts = random_inputs(Sizes())
    assert_equal_to(load_run(tmp_path / "run"), tokens, counts, by_published(state, 4, tokens, counts))
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_a_bare_state_dict_is_a_checkpoint(tmp_path: Path) -> None:
    state = random_state(Sizes())
    torch.save(state, tmp_path / "state.pt")
    tokens, counts = random_inputs(Sizes())
    assert_equal_to(imported(tmp_path / "state.pt"), tokens, counts, by_published(state, 4, tokens, counts))


def test_without_a_head_for_bases_all_bases_are_equally_likely(run: Programs, tmp_path: Path) -> None:
    state = random_state(Sizes())
    kept = {name: value for name, value in state.items() if "nucleotide_head" not in name}
    path = write(tmp_path / "published.pt", kept)
    ran = run("aammodel", "import", path, "--output", tmp_path / "run")
    assert ran.code == 0
    assert "no head for masked bases" in ran.err
    tokens, counts = random_inputs(Sizes())
    with torch.no_grad():
        got = load_run(tmp_path / "run").forward_dense(tokens, counts)
    assert not got.nucleotide_logits.any()
    for row, value in enumerate(by_published(state, 4, tokens, counts)):
        assert_near(got.distance_features[row], value.embedding)


def test_the_run_records_its_origin(run: Programs, tmp_path: Path) -> None:
    path = written(tmp_path)
    options = ("--heads", 2, "--target", "weighted_unifrac")
    ran = run("aammodel", "import", path, "--output", tmp_path / "run", *options)
    assert ran.code == 0
    assert "2 heads" in ran.out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    preparation = Preparation.from_dict(config["preparation"])
    assert preparation == load_preparation(tmp_path / "run")
    assert preparation.sequence_length == config["model"]["sequence_length"]
    assert len(preparation.vocabulary) == config["model"]["vocabulary_size"]
    assert (preparation.rarefy_depth, preparation.is_rarefied, preparation.region) == (None, None, None)
    assert config["imported"]["file"] == "published.pt"
    assert config["imported"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert config["model"]["attention_heads"] == 2
    assert config["model"]["targets"] == ["weighted_unifrac"]
    assert load_run(tmp_path / "run").config.sequence_length == 13
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("vocabulary", [6, 7])
def test_a_model_of_six_tokens_is_evaluated_on_distances_only(
    run: Programs, tmp_path: Path, vocabulary: int
) -> None:
    shards = make_shards(run, tmp_path, "--token-limit", 16)
    path = written(tmp_path, Sizes(vocabulary=vocabulary, bases=59, token_limit=11))
    assert run("aammodel", "import", path, "--output", tmp_path / "run").code == 0
    ran = run("aammodel", "evaluate", tmp_path / "run", shards.folder, "--output", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "unweighted UniFrac" in ran.out
    assert ("masked bases" in ran.out) == (vocabulary == 7)


def test_a_model_without_a_mask_token_refuses_masked_bases() -> None:
    model = awake(vocabulary_size=6)
    batch = compact(some_samples(1, 3))
    for use in (model, model.init_from_batch):
        with pytest.raises(UsageError, match="vocabulary of 6 has no token for a masked base"):
            use(batch)


def test_shards_that_do_not_fit_an_imported_model_are_refused(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path, "--token-limit", 16)
    for vocabulary in (6, 7):
        model = imported(written(tmp_path, Sizes(vocabulary=vocabulary, bases=59, token_limit=11)))
        check_fits(model, shards)
    few = AamModel(replace(model.config, slot_positions=15))
    with pytest.raises(UsageError, match="up to 16 ASVs, and the model has positions for 15"):
        check_fits(few, shards)
    check_fits(few, shards, token_limit=15)


def test_an_ambiguity_code_is_refused_with_the_name_of_its_asv(run: Programs, tmp_path: Path) -> None:
    sequences = random_sequences(6, bases=40)
    strange = sequences[3][:10] + "N" + sequences[3][11:]
    sequences[3] = strange
    table = write_table(tmp_path, random_counts(8, 6, density=0.9), sequences)
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards", "--token-limit", 6)
    assert ran.code == 0, ran.err
    shards = open_shards(tmp_path / "shards")
    model = imported(written(tmp_path, Sizes(vocabulary=6, bases=40)))
    with pytest.raises(InvalidDataError, match=f"{strange}: this ASV has an ambiguity code.*vocabulary of 6"):
        check_fits(model, shards)
    check_fits(AamModel(replace(model.config, vocabulary_size=8)), shards)
