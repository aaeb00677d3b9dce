"""All model files and `config.json` of a run record how its samples were prepared."""

import json
from pathlib import Path

import pytest

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.preparation import Preparation
from aammodel.data.shards import ShardSet, open_shards
from aammodel.runs.load import load_preparation, load_run, token_limit_of_training
from tests.helpers.old_keys import forget_hashes, metadata_of, save_without_hash
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs


@pytest.fixture
def shards(run: Programs, tmp_path: Path) -> ShardSet:
    return make_shards(run, tmp_path, "--rarefy-depth", 50, "--min-reads", 3, "--seed", 4)


@pytest.fixture
def trained(run: Programs, tmp_path: Path, shards: ShardSet) -> Path:
    options = ("--output", tmp_path / "run", "--config", tiny_config(tmp_path), "--token-limit", 12)
    assert run("aammodel", "pretrain", shards.folder, *options, "--max-steps", 4).code == 0
    return tmp_path / "run"


def rewrite_header(path: Path, preparation: str | None) -> None:
    """Replace or remove the preparation in the header of a model file."""
    header = metadata_of(path)
    header.pop("preparation")
    save_without_hash(path, header | ({"preparation": preparation} if preparation else {}))


def test_all_files_of_a_run_have_a_preparation(trained: Path, shards: ShardSet) -> None:
    expected = Preparation.from_shards(shards.manifest, shards.tokens, 12)
    assert (expected.token_limit, expected.rarefy_depth, expected.min_reads, expected.seed) == (12, 50, 3, 4)
    assert expected.region is not None
    checkpoints = sorted((trained / "checkpoints").iterdir())
    for where in (trained, trained / "model.safetensors", *checkpoints):
        assert load_preparation(where) == expected
        assert token_limit_of_training(where) == 12
    config = json.loads((trained / "config.json").read_text())
    assert Preparation.from_dict(config["preparation"]) == expected
    assert "Preparation of the samples" in (trained / "report.html").read_text()


def test_an_older_run_without_a_preparation_loads(trained: Path, run: Programs) -> None:
    config = json.loads((trained / "config.json").read_text())
    del config["preparation"]
    (trained / "config.json").write_text(json.dumps(config))
    checkpoint = max((trained / "checkpoints").iterdir())
    forget_hashes(checkpoint)
    for folder in (trained, checkpoint):
        rewrite_header(folder / "model.safetensors", None)
        assert load_preparation(folder) is None
        assert token_limit_of_training(folder) == 12, "as config.json says"
        load_run(folder)
    options = ("--resume", trained, "--max-steps", 6, "--allow-changes")
    assert run("aammodel", "pretrain", *options).code == 0
    assert load_preparation(max((trained / "checkpoints").iterdir())) is not None
    assert "preparation" in json.loads((trained / "config.json").read_text())


def test_a_later_version_is_refused_by_name(trained: Path) -> None:
    rewrite_header(trained / "model.safetensors", '{"version": 7}')
    with pytest.raises(InvalidDataError, match="version 7, and this program reads 1"):
        load_preparation(trained)


def test_evaluation_warns_of_samples_that_were_prepared_differently(
    trained: Path, run: Programs, tmp_path: Path
) -> None:
    ran = run("aammodel", "evaluate", trained, tmp_path / "shards", "--output", tmp_path / "same")
    assert ran.code == 0
    assert "the model's" not in ran.err
    other = make_shards(run, tmp_path / "other", "--min-reads", 3).folder
    ran = run("aammodel", "evaluate", trained, other, "--output", tmp_path / "found")
    assert ran.code == 0, ran.err
    assert "samples are not rarefied; the model's were rarefied to 50 reads" in ran.err
    assert open_shards(other).manifest.choices.rarefy_depth is None
