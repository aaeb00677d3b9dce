"""Run the programs, or Python, in a new process with the same environment on every machine."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from tests.helpers.paths import PYTHONPATH


def environment(cache: Path) -> dict[str, str]:
    """Return all environment variables: one thread, and text 100 columns wide without colors."""
    return {
        "COLUMNS": "100",
        "LANG": "C.UTF-8",
        "MKL_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": PYTHONPATH,
        "TERM": "dumb",
        "XDG_CACHE_HOME": str(cache),
    }


def run_python(*arguments: object, folder: Path) -> str:
    """Run Python in a folder, assert that it succeeds, and return its output."""
    ran = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment(folder / "cache"),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def run_program(program: str, *arguments: object, folder: Path) -> str:
    """Run `aamprep` or `aammodel` in a folder, assert that it succeeds, and return its output."""
    return run_python(*command(program)[1:], *arguments, folder=folder)


def command(program: str) -> list[str]:
    """Return the command that runs `aamprep` or `aammodel`, to which arguments can be added."""
    return [sys.executable, "-c", f"from {program}.cli import main; main()"]


def loaded_after(modules: Iterable[ModuleType], names: Iterable[str], folder: Path) -> set[str]:
    """Return which of some packages are loaded after a new interpreter has imported some modules."""
    imports = ", ".join(module.__name__ for module in modules)
    code = f"import sys, {imports}; print(*({set(names)} & sys.modules.keys()))"
    return set(run_python("-c", code, folder=folder).split())
