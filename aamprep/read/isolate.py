"""Read a table in a child process, so that a damaged or malicious file cannot crash the program.

HDF5 is a large C library. A damaged file can make it abort or request any amount of memory. The child process
has limits on memory and time. It writes arrays to a folder and reports its findings as JSON. To start within
a third of a second, it imports only numpy and h5py.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import aam_schemas
from aam_schemas.common.errors import DISK_FULL, is_disk_full
from aamprep.read.biom.table import Spooled, spool_table
from aamprep.read.sniff import Kind
from aamprep.read.source import Limits, Source, format_bytes
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ANSWER = "answer.json"
_OUT_OF_MEMORY = 86
"""Exit code of the child. Any number works that is neither 1, a signal nor an error number of a full disk."""


def spool_isolated(source: Source, folder: Path, findings: Findings, limits: Limits) -> Spooled | None:
    """Call `spool_table` in a child process.

    Returns
    -------
    Spooled or None
        None if nothing in the table can be used or the child failed. The findings give the reason.

    Raises
    ------
    OSError
        If the disk of the folder is full.
    """
    seconds = limits.seconds + source.bytes / 1e6  # one second per MB
    job = {"source": asdict(source) | {"path": str(source.path.absolute())}, "limits": asdict(limits)}
    try:
        child = subprocess.run(
            # -P: modules in the user's folder, such as a json.py, must not be imported.
            [sys.executable, "-P", "-m", "aamprep.read.isolate", str(folder)],
            input=json.dumps(job),
            env=_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        findings.add(rules.READER_CRASHED, source.name, f"not read within {seconds:.0f} seconds")
        return None
    if child.returncode in DISK_FULL:
        raise OSError(child.returncode, os.strerror(child.returncode))
    if child.returncode != 0:
        findings.add(rules.READER_CRASHED, source.name, _failure(child, limits))
        return None
    return _load_answer(folder, findings)


def _environment() -> dict[str, str]:
    """Return the environment of the child: the user's, with both packages on the path and no HDF5 plugins."""
    roots = [
        str(Path(__file__).resolve().parents[2]),
        str(Path(str(aam_schemas.__file__)).resolve().parents[1]),
    ]
    paths = [*dict.fromkeys(roots), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "HDF5_PLUGIN_PRELOAD": "::",
        # Every thread reserves address space, which is limited in the child.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _failure(child: subprocess.CompletedProcess[str], limits: Limits) -> str:
    if child.returncode == _OUT_OF_MEMORY:
        return f"the reader needed more than {format_bytes(limits.memory_bytes)} of memory"
    if child.returncode < 0:
        return f"the reader ended with signal {signal.Signals(-child.returncode).name}"
    last = child.stderr.strip().splitlines()[-1:] or ["no message"]
    return f"the reader failed: {last[0]}"


def _load_answer(folder: Path, findings: Findings) -> Spooled | None:
    path = folder / _ANSWER
    answer = json.loads(path.read_text(encoding="utf-8"))
    findings.add_json(answer["findings"], rules.catalogue())
    return Spooled(**answer["spooled"]) if answer["spooled"] else None


def _limit_memory(limits: Limits) -> None:
    """Limit the memory of this process. On Windows, which has no such limits, only the time limit applies."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))


def _run_child(folder: Path, job: dict[str, Any]) -> int:
    limits = Limits(**job["limits"])
    source = Source(**job["source"])
    source = replace(source, path=Path(source.path), kind=Kind(source.kind))
    _limit_memory(limits)
    try:
        _write_answer(source, folder, limits)
    except MemoryError:
        return _OUT_OF_MEMORY
    except OSError as error:
        if is_disk_full(error):
            # The error is reported as exit code: there is no space left for a message.
            return error.errno or 0
        raise
    return 0


def _write_answer(source: Source, folder: Path, limits: Limits) -> None:
    findings = Findings()
    spooled = spool_table(source, folder, findings, limits)
    answer = {
        "spooled": asdict(spooled) if spooled else None,
        "findings": findings.as_json(),
    }
    (folder / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(_run_child(Path(sys.argv[1]), json.load(sys.stdin)))
