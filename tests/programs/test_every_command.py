"""The script that runs with the oldest and newest dependencies leaves out no command."""

import importlib
from pathlib import Path

import pytest
import typer

SCRIPT = Path(__file__).with_name("every_command.sh")


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_every_command_is_run(program: str) -> None:
    app = importlib.import_module(f"{program}.cli").app
    lines = SCRIPT.read_text().splitlines()
    for name in typer.main.get_command(app).commands:
        assert any(line.startswith(f"run {program} {name} ") for line in lines), name
