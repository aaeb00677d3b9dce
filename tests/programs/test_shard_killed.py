"""`aamprep shard` killed (SIGKILL) at random moments: the good name holds a whole set, the old or the new."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from aam_schemas.manifest import CHECKSUM_FILE, MANIFEST_FILE, read_manifest
from aam_schemas.shards import file_sha256
from tests.helpers.programs import command
from tests.helpers.studies import random_counts, random_newick, random_sequences, write_table

PROGRAM = [*command("aamprep"), "shard", "--overwrite"]
INPUTS = {"table.biom", "tree.nwk"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    sequences = random_sequences(300)
    write_table(folder, random_counts(200, 300), sequences)
    (folder / "tree.nwk").write_text(random_newick(sequences))
    return folder


def shard(folder: Path, token_limit: int) -> subprocess.Popen[bytes]:
    command = [*PROGRAM, "--token-limit", str(token_limit)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def leftovers(folder: Path) -> set[str]:
    return set(os.listdir(folder)) - INPUTS - {"shards"}


def kill(folder: Path, token_limit: int, seconds: float, while_writing: bool) -> None:
    """Begin to shard, and kill it some seconds after it began, or after it began to write."""
    before = leftovers(folder)
    program = shard(folder, token_limit)
    while while_writing and leftovers(folder) <= before and program.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds)
    program.kill()
    program.wait()


def complete(folder: Path, token_limit: int) -> tuple[str, float]:
    """Shard to the end; gives the set's identity and the seconds that it took."""
    start = time.monotonic()
    assert shard(folder, token_limit).wait() == 0
    identity = whole_set(folder / "shards")
    assert identity is not None
    return identity, time.monotonic() - start


def whole_set(folder: Path) -> str | None:
    """Return the identity of the set after checking every byte of it, or None if there is no set."""
    if not folder.exists():
        return None
    manifest = read_manifest(folder)
    names = {file.name for file in manifest.files}
    assert set(os.listdir(folder)) == names | {MANIFEST_FILE, CHECKSUM_FILE}
    assert {file.name: file.sha256 for file in manifest.files} == {
        name: file_sha256(folder / name) for name in names
    }
    return manifest.sha256


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.long)])
def test_killed_at_random_moments(study: Path, times: int) -> None:
    identity, seconds = {}, 0.0
    for token_limit in (4, 8):
        identity[token_limit], seconds = complete(study, token_limit)
    rng = np.random.default_rng(times)
    num_cut_short = 0
    for _ in range(times):
        if rng.random() < 1 / 3:
            shutil.rmtree(study / "shards", ignore_errors=True)
        before, token_limit = whole_set(study / "shards"), int(rng.choice([4, 8]))
        kill(study, token_limit, rng.uniform(0, seconds / 2), while_writing=bool(rng.random() < 0.7))
        assert whole_set(study / "shards") in {before, identity[token_limit]}
        num_cut_short += len(leftovers(study))
        assert len(leftovers(study)) <= 1
    assert num_cut_short > times / 4
    assert complete(study, 8)[0] == identity[8]
    assert leftovers(study) == set()
