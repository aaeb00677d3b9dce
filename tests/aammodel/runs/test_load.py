"""A trained model loads from its run folder, from a checkpoint, or from its file alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aam_schemas.common.errors import InvalidDataError, UsageError
from aammodel.nn.model import AamModel
from aammodel.runs.load import check_fits, load_run
from tests.helpers.old_keys import give_old_keys_to_model, metadata_of, save_without_hash
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs


def test_a_run_loads_its_best_weights(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    options = ("--output", tmp_path / "run", "--config", tiny_config(tmp_path), "--max-steps", 2)
    assert run("aammodel", "pretrain", shards.folder, *options).code == 0
    model_file = tmp_path / "run" / "model.safetensors"
    shutil.copy(model_file, tmp_path / "alone.safetensors")
    expected = load_file(model_file)
    for where in (tmp_path / "run", tmp_path / "alone.safetensors"):
        model = load_run(where)
        assert not model.training
        assert model.config.width == 16
        assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    check_fits(load_run(tmp_path / "run"), shards)
    few = replace(load_run(tmp_path / "run").config, slot_positions=3)
    with pytest.raises(UsageError, match="add --token-limit 3"):
        check_fits(AamModel(few), shards)
    check_fits(AamModel(few), shards, token_limit=3)
    with pytest.raises(UsageError, match="up to 59 bases, and the model has positions for 58"):
        check_fits(AamModel(replace(load_run(tmp_path / "run").config, sequence_length=59)), shards)


def test_a_model_of_an_earlier_version_is_the_same_model(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    options = ("--output", tmp_path / "run", "--config", tiny_config(tmp_path), "--max-steps", 2)
    assert run("aammodel", "pretrain", shards.folder, *options).code == 0
    expected = load_run(tmp_path / "run")
    give_old_keys_to_model(tmp_path / "run" / "model.safetensors")
    model = load_run(tmp_path / "run")
    assert model.config == expected.config
    weights = expected.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_loads_from_any_folder(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    options = ("--output", tmp_path / "run", "--config", tiny_config(tmp_path), "--max-steps", 4)
    assert run("aammodel", "pretrain", shards, *options).code == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000003"
    shutil.copytree(checkpoint, tmp_path / "kept")
    model = load_run(tmp_path / "kept")
    expected = load_file(checkpoint / "model.safetensors")
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    ran = run("aammodel", "evaluate", checkpoint, shards, "--output", tmp_path / "evaluation")
    assert ran.code == 0, ran.err


def test_a_shard_set_instead_of_a_run_is_reported(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    ran = run("aammodel", "evaluate", shards, tmp_path / "run", "--output", tmp_path / "evaluation")
    assert (ran.code, "`aammodel evaluate RUN SHARDS`" in ran.err) == (2, True)


def test_other_folders_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trained model"):
        load_run(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x07\0\0\0\0\0\0\0{}     ")
    with pytest.raises(InvalidDataError, match="has no model_config"):
        load_run(tmp_path)


def test_a_model_from_before_kmers_loads(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    config = tiny_config(tmp_path)
    config.write_text(config.read_text().replace("[model]", "[model]\nkmers = false"))
    options = ("--output", tmp_path / "run", "--config", config, "--max-steps", 2)
    assert run("aammodel", "pretrain", shards.folder, *options).code == 0
    path = tmp_path / "run" / "model.safetensors"
    metadata = metadata_of(path)
    stored = json.loads(metadata["model_config"])
    del stored["kmers"]
    save_without_hash(path, metadata | {"model_config": json.dumps(stored)})
    assert not load_run(tmp_path / "run").config.kmers
