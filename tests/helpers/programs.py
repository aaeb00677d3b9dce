"""The programs in a process of their own, whose environment is the same everywhere."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import PYTHONPATH


def environment(cache: Path) -> dict[str, str]:
    """Return the whole environment: one thread, text 100 columns wide without colours."""
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
    """Run Python with arguments in a folder, which must end well, and return what it printed."""
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
    """Run `aamprep` or `aammodel` in a folder, which must end well, and return what it printed."""
    return run_python("-c", f"from {program}.cli import main; main()", *arguments, folder=folder)
