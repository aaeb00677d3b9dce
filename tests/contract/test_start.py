"""What the programs load when they start, and how fast they answer."""

import subprocess
import sys

import pytest

from tests.helpers.studies import processor_seconds

HEAVY = ("torch", "polars", "pandera", "biom", "skbio")


def loaded_after(code: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split()[-len(HEAVY) :]) & set(HEAVY)


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import aam_schemas.manifest, aam_schemas.shards, aam_schemas.common.publish", set()),
        ("import aamprep.cli", set()),
        ("import aammodel.cli", set()),
        ("import aammodel.workflows.pretrain, aammodel.training.trainer, aammodel.data.stream", {"torch"}),
    ],
)
def test_imports_stay_light(code: str, allowed: set[str]) -> None:
    assert loaded_after(code) <= allowed


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_help_answers_at_once(program: str) -> None:
    call = [sys.executable, "-c", f"from {program}.cli import main; main()", "--help"]
    seconds = []
    for _ in range(3):
        started = processor_seconds()
        ran = subprocess.run(call, capture_output=True, text=True, check=True)
        seconds.append(processor_seconds() - started)
    assert "Usage" in ran.stdout
    # The aim is 0.5 s. A machine that is busy with other tests gets more time.
    assert min(seconds) < 1.0


def test_help_loads_nothing_heavy() -> None:
    for program in ("aamprep", "aammodel"):
        code = f"import sys; sys.argv = ['{program}', '--help']\nfrom {program}.cli import main\n"
        code += "try: main()\nexcept SystemExit: pass"
        assert loaded_after(code) == set()
