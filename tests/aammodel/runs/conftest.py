"""A trained run, which the tests of a module copy."""

import shutil
from pathlib import Path

import pytest

import aammodel
import aamprep
from tests.helpers.shards import tiny_config


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run of 3 steps, in a folder with its shards."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        aamprep.simulate(folder / "study", samples=30, asvs=40)
        aamprep.shard(folder / "study" / "table.biom", token_limit=8, output=folder / "shards")
        config = tiny_config(folder, "batch_size = 4\nvalidation_samples = 4\n")
        aammodel.pretrain(folder / "shards", output=folder / "run", config=config, max_steps=3)
    return folder / "run"


@pytest.fixture
def copied(trained_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the trained run."""
    return Path(shutil.copytree(trained_once, tmp_path / "copied"))
