"""The walls between the layers, and how fast the programs start."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "polars", "pandera", "biom", "skbio")


def imported_names(path: Path) -> set[str]:
    """List the packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("schemas/aam_schemas", {"aamprep", "aammodel", "torch", "biom", "skbio"}),
        ("aamprep", {"aammodel", "torch"}),
        ("aammodel", {"aamprep", "biom", "skbio", "polars", "pandera"}),
    ],
)
def test_a_package_imports_only_what_lies_below_it(package: str, forbidden: set[str]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not imported_names(path) & forbidden, path


def test_nothing_is_pickled() -> None:
    for package in ("schemas", "aamprep", "aammodel"):
        for path in (ROOT / package).rglob("*.py"):
            assert not imported_names(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}, path
            assert "torch.load(" not in path.read_text() or "weights_only=True" in path.read_text(), path


def loaded_after(code: str) -> set[str]:
    """List the heavy packages that a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint(*[one for one in {HEAVY} if one in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split()[-len(HEAVY) :]) & set(HEAVY)


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import schemas, aam_schemas.manifest, aam_schemas.shards, aam_schemas.common.publish", set()),
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
        started = time.perf_counter()
        ran = subprocess.run(call, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert "Usage" in ran.stdout
    # The promise is 0.5 s; a machine that is busy with other tests gets some leave.
    assert min(seconds) < 1.0


def test_help_loads_nothing_heavy() -> None:
    for program in ("aamprep", "aammodel"):
        code = f"import sys; sys.argv = ['{program}', '--help']\nfrom {program}.cli import main\n"
        code += "try: main()\nexcept SystemExit: pass"
        assert loaded_after(code) == set()
