"""Run a program within limits of the system, as a shell or a scheduler sets them."""

import os
import resource
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.helpers.paths import PYTHONPATH
from tests.helpers.programs import command


def run_limited(
    *arguments: object, folder: Path, limits: dict[int, int] | None = None, temporary: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `aamprep` in a folder with limits by `resource.RLIMIT_...`, and return the completed process."""

    def set_limits() -> None:
        for limit, number in (limits or {}).items():
            resource.setrlimit(limit, (number, number))

    return subprocess.run(
        [*command("aamprep"), *map(str, arguments)],
        cwd=folder,
        env=environment(temporary or folder),
        capture_output=True,
        text=True,
        preexec_fn=set_limits,
        timeout=120,
        check=False,
    )


def environment(temporary: Path) -> dict[str, str]:
    """Return the variables of this process, with a folder for temporary files."""
    return os.environ | {"PYTHONPATH": PYTHONPATH, "TMPDIR": str(temporary), "COLUMNS": "200"}


def start_aamprep(*arguments: object, folder: Path, temporary: Path) -> "subprocess.Popen[bytes]":
    """Start `aamprep` in a folder, without waiting for its end."""
    return subprocess.Popen(
        [*command("aamprep"), *map(str, arguments)],
        cwd=folder,
        env=environment(temporary),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def descendants(process: int) -> set[int]:
    """Return the running processes below a process (Linux)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name of the program, in parentheses, may contain blanks.
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    frontier = {process}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return found


def is_running(process: int) -> bool:
    """Return whether a process runs: it exists and is no zombie (Linux)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end_with(process: "subprocess.Popen[bytes]", number: signal.Signals) -> set[int]:
    """Send a signal to a process, and return those of its descendants that still run 10 seconds later."""
    below = descendants(process.pid)
    process.send_signal(number)
    process.wait(60)
    deadline = time.monotonic() + 10
    while any(map(is_running, below)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return set(filter(is_running, below))
