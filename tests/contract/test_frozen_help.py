"""The help of both programs and of all their commands is frozen, at a width of 100 columns.

`tests/helpers/frozen.py` explains how to regenerate the assets. The layout depends on the versions of typer
and rich, so the texts are compared only if the versions match.
"""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.helpers.frozen import IS_UPDATE, kept, kept_text
from tests.helpers.paths import ASSETS
from tests.helpers.programs import run_python


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_help_is_that_of_before(program: str, tmp_path: Path) -> None:
    versions = {name: version(name) for name in ("click", "rich", "typer")}
    if kept("help/versions.json", versions) != versions:
        pytest.skip("the help was kept with other versions of click, rich or typer")
    texts = json.loads(run_python("-m", "tests.helpers.show_help", program, folder=tmp_path))
    found = {f"{call.replace(' ', '_')}.txt": text for call, text in texts.items()}
    for path in (ASSETS / "help").glob(f"{program}*.txt"):
        if IS_UPDATE and path.name not in found:
            path.unlink()
    for name, text in found.items():
        assert text == kept_text(f"help/{name}", text), name
    assert {path.name for path in (ASSETS / "help").glob(f"{program}*.txt")} == found.keys()
