"""Killed programs (SIGKILL, at random moments) leave nothing partial and no process. The next run sweeps.

`AAM_KILLS=200 python -m pytest tests/programs/test_killed.py -m long -s` kills each 200 times, and counts.
"""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from aam_schemas.common.owner import owner_of
from aammodel.runs.metrics_log import read_metrics
from aamprep.api import verify
from tests.helpers.programs import command
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table

KILLS = int(os.environ.get("AAM_KILLS", "2"))
SECONDS_TO_END = 20
"""Time in which the children of a killed program must have ended."""


def processes_of(temporary: Path) -> list[str]:
    """Return the commands of the living processes that were started with this TMPDIR."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(temporary) in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


def wait_until_none_is_left(temporary: Path) -> None:
    end = time.monotonic() + SECONDS_TO_END
    while processes_of(temporary) and time.monotonic() < end:
        time.sleep(0.05)
    assert processes_of(temporary) == []


def is_sound_set(path: Path) -> bool:
    return verify(path).is_valid


def is_sound_run(path: Path) -> bool:
    assert owner_of(path) is None
    steps = [row["step"] for row in read_metrics(path) if "loss" in row]
    return (path / "config.json").stat().st_size > 0 and steps == sorted(set(steps))


def is_sound_pair(path: Path) -> bool:
    ids = path.with_suffix(".ids.txt")
    return np.load(path).shape[0] == (len(ids.read_text().splitlines()) if ids.exists() else 40)


CALLS: dict[str, tuple[list[str], str, Callable[[Path], bool]]] = {
    "shard": (["aamprep", "shard", "table.biom"], "out", is_sound_set),
    "merge": (["aamprep", "merge", "shards", "second"], "out", is_sound_set),
    "pretrain": (
        ["aammodel", "pretrain", "shards", "--config", "tiny.toml", "--max-steps", "6"], "out", is_sound_run
    ),
    "distances": (["aammodel", "distances", "shards", "--metric", "braycurtis"], "out.npy", is_sound_pair),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", CALLS)
def test_killed_at_random_moments(run: Programs, tmp_path: Path, name: str) -> None:
    make_shards(run, tmp_path)
    tiny_config(tmp_path)
    (tmp_path / "more").mkdir()
    ids = [f"T{number}" for number in range(20)]
    table = write_table(tmp_path / "more", random_counts(20, 30), random_sequences(30), ids)
    assert run("aamprep", "shard", table, "--output", tmp_path / "second").code == 0
    (program, *arguments), output, is_sound = CALLS[name]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    call = [*command(program), *arguments, "--output", output, "--overwrite"]
    environment = os.environ | {"TMPDIR": str(temporary)}

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(call, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert start().wait() == 0
    seconds = time.monotonic() - began
    before, rng, num_killed = set(os.listdir(tmp_path)), np.random.default_rng(KILLS), 0
    for _ in range(KILLS):
        process = start()
        time.sleep(rng.uniform(0, seconds))
        process.kill()
        num_killed += process.wait() != 0
        wait_until_none_is_left(temporary)
        assert is_sound(tmp_path / output)
    assert start().wait() == 0
    assert set(os.listdir(tmp_path)) == before
    # Torch makes an empty cache folder there.
    assert [name for name in os.listdir(temporary) if not name.startswith("torchinductor")] == []
    assert is_sound(tmp_path / output)
    print(f"{name}: {num_killed} of {KILLS} killed before the end, 0 partial, nothing left, no orphan")
