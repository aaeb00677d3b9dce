"""Help texts are shown as they are written."""

import importlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer

from aammodel.config.train import TrainConfig
from tests.helpers.programs import run_python

FRAME = re.compile(r"[│╭╮╰╯─]")


def words_of(text: str | None) -> list[str]:
    """Return the words of a text, whichever way its lines are broken."""
    return FRAME.sub(" ", text or "").split()


def help_of(each: Any) -> str:
    """Return the help of an option or an argument as the source has it."""
    return str(getattr(each, "help", None) or "")


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_every_word_of_every_help_text_is_shown(program: str, tmp_path: Path) -> None:
    shown = json.loads(run_python("-m", "tests.helpers.show_help", program, folder=tmp_path))
    group: Any = typer.main.get_command(importlib.import_module(f"{program}.cli").app)
    commands = {program: group} | {f"{program} {name}": each for name, each in group.commands.items()}
    assert shown.keys() == commands.keys()
    for call, command in commands.items():
        remaining = words_of(shown[call])
        for text in [command.help, *map(help_of, command.params)]:
            for word in words_of(text):
                assert word in remaining, f"{call}: {word} of {text!r} is not shown"
                remaining.remove(word)


def test_defaults_in_help_texts_are_those_of_the_configuration() -> None:
    """The commands cannot import the configuration for their help, which has to be fast."""
    defaults = asdict(TrainConfig())
    group: Any = typer.main.get_command(importlib.import_module("aammodel.cli").app)
    compared = set()
    for name in ("pretrain", "plan"):
        for each in group.commands[name].params:
            match = re.search(r"Default: (\S+)\.$", help_of(each))
            if match and each.name in defaults:
                assert match[1] == str(defaults[each.name]), (name, each.name)
                compared.add(each.name)
    expected = {"epochs", "batch_size", "accumulate", "seed", "precision", "checkpoint_every", "best_metric"}
    assert compared == expected
