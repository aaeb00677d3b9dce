"""Programs start fast and load only the libraries that a command needs."""

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import aammodel.cli
import aamprep.cli
from aam_schemas import manifest, shards
from aam_schemas.common import publish
from aammodel.data import stream
from aammodel.training import trainer
from aammodel.workflows import pretrain
from tests.helpers.programs import command, loaded_after, run_python
from tests.helpers.studies import processor_seconds

HEAVY = {"torch", "polars", "pandera", "biom", "skbio"}


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        ([manifest, shards, publish], set()),
        ([aamprep.cli], set()),
        ([aammodel.cli], set()),
        ([pretrain, trainer, stream], {"torch"}),
    ],
)
def test_imports_load_no_heavy_package(modules: list[ModuleType], allowed: set[str], tmp_path: Path) -> None:
    assert loaded_after(modules, HEAVY, tmp_path) <= allowed


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_help_answers_at_once(program: str) -> None:
    seconds = []
    for _ in range(3):
        started = processor_seconds()
        ran = subprocess.run([*command(program), "--help"], capture_output=True, text=True, check=True)
        seconds.append(processor_seconds() - started)
    assert "Usage" in ran.stdout
    # The aim is 0.5 s. The bound is looser because other tests may run at the same time.
    assert min(seconds) < 1.0


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_help_loads_no_heavy_package(program: str, tmp_path: Path) -> None:
    code = f"import sys; sys.argv = ['{program}', '--help']\nfrom {program}.cli import main\n"
    code += f"try: main()\nexcept SystemExit: print('loaded', *({HEAVY} & sys.modules.keys()))"
    assert run_python("-c", code, folder=tmp_path).split()[-1] == "loaded"
