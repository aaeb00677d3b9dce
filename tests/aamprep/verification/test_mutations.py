"""`aamprep verify` refuses a random change of a shard set by file, or the change is harmless.

The changes are those of `tests/helpers/mutations.py`: all sizes and hashes agree.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aam_schemas.footer import expected_schema
from aam_schemas.manifest import read_manifest
from aamprep.rules.findings import Findings
from aamprep.verification.verify import verify_shards
from tests.helpers.mutations import mutate, sound_shards

FREE_COLUMNS = {
    "asv_id", "aliases", "age", "subject", "id", "study", "rule", "reason", "sample_id",
    "depth_before_rarefaction", "length",
}  # fmt: skip
"""Columns whose values are data like any other: with another value, it is another sound set."""
FREE_CHOICES = {"seed", "split_by", "missing_from_tree", "min_prevalence", "min_reads", "select"}
NUMBERS = ("sequence_length", "num_samples", "num_asvs", "num_kept_asvs", "num_branches", "vocabulary")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound_shards(tmp_path_factory.mktemp("sound"))


def content(folder: Path) -> dict[str, Any]:
    """Return what is not free in a set, with pyarrow's own reader."""
    manifest = read_manifest(folder)
    choices = {name: value for name, value in asdict(manifest.choices).items() if name not in FREE_CHOICES}
    found: dict[str, Any] = {"choices": choices} | {name: getattr(manifest, name) for name in NUMBERS}
    for file in manifest.files:
        path = folder / file.name
        if path.suffix == ".npy":
            # Half precision is a valid type of a matrix.
            found[file.name] = np.load(path).round(2).astype(str).tolist()
        else:
            names = [name for name in expected_schema(manifest, file).names if name not in FREE_COLUMNS]
            table = pq.read_table(path)
            found[file.name] = {name: table[name].to_pylist() for name in names}
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_changed_set_is_refused_or_means_the_same(seed: int, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    change = mutate(folder, np.random.default_rng(seed))
    findings = Findings()
    verify_shards(folder, findings)
    if findings.valid:
        assert content(folder) == content(sound), change
    else:
        assert all(str(folder) in finding.where for finding in findings.found), change
