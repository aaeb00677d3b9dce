"""The cost of a command: its time, and the memory of all its processes. Linux only, since it reads /proc."""

import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.02


@dataclass(frozen=True)
class Cost:
    """What one run of a command took."""

    seconds: float
    cpu_seconds: float
    """Of all its processes: hardly changed by what else the machine does."""
    peak_bytes: int
    """Largest sum, over all processes of the command at one moment, of resident memory."""
    output: str


def run(command: Sequence[str], folder: Path) -> Cost:
    """Run a command in a folder and measure it.

    Raises
    ------
    RuntimeError
        If it fails; what it said is in the message.
    """
    with tempfile.TemporaryFile("w+") as output:
        start, cpu_before, peak = time.perf_counter(), _cpu_of_children(), 0
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, sum(_resident_bytes(pid) for pid in _family(process.pid)))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        seconds = time.perf_counter() - start
        output.seek(0)
        said = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Cost(seconds, _cpu_of_children() - cpu_before, peak, said)


def _cpu_of_children() -> float:
    """Count the processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(pid: int) -> list[int]:
    """List a process and all processes under it; those that are gone have no children."""
    family = [pid]
    for one in family:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            family.extend(int(child) for child in _read(children).split())
    return family


def _resident_bytes(pid: int) -> int:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _read(path: Path) -> str:
    """Read a file of /proc; empty where the process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
