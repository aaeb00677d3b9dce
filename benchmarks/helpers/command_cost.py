"""The cost of a command: its time, and the memory of all its processes. Linux only, since it reads /proc."""

import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_BETWEEN_SAMPLES = 0.02


@dataclass(frozen=True)
class Cost:
    """Time and memory of a run of a command."""

    seconds: float
    cpu_seconds: float
    """Processor time of all its processes. Other programs on the machine change it little."""
    peak_bytes: int
    """Largest sum, over all processes of the command at one moment, of resident memory."""
    output: str


def run(command: Sequence[str], folder: Path) -> Cost:
    """Run a command in a folder and measure it.

    Raises
    ------
    RuntimeError
        If it fails; the message has its output.
    """
    with tempfile.TemporaryFile("w+") as output:
        start, cpu_before, peak = time.perf_counter(), _cpu_of_children(), 0
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, sum(_resident_bytes(pid) for pid in _family(process.pid)))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    return Cost(seconds, _cpu_of_children() - cpu_before, peak, text)


def _cpu_of_children() -> float:
    """Return the processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    family = [pid]
    for process in family:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            family.extend(int(child) for child in _read(children).split())
    return family


def _resident_bytes(pid: int) -> int:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _read(path: Path) -> str:
    """Read a file of /proc; it is empty if the process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
