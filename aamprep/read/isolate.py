"""Reading a table in a process of its own, so that a hostile file can end that process and nothing else.

HDF5 is a large C library: a damaged file can make it abort, or ask for any amount of memory. The child has a
limit of memory and of time, writes arrays into a folder, and says what it found as JSON. It imports numpy and
h5py alone, which takes a third of a second.
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
from aamprep.read.source import Limits, Source, size_in_words
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ANSWER = "answer.json"
_OUT_OF_MEMORY = 86


def spool_isolated(source: Source, folder: Path, findings: Findings, limits: Limits) -> Spooled | None:
    """Do what `spool_table` does, in a child process.

    Returns
    -------
    Spooled or None
        None where nothing of the table can be used, or the child died; the findings say why.

    Raises
    ------
    OSError
        If the folder's disk is full.
    """
    seconds = limits.seconds + source.bytes / 1e6
    job = {"source": asdict(source) | {"path": str(source.path.absolute())}, "limits": asdict(limits)}
    try:
        child = subprocess.run(
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
        findings.add(rules.READER_CRASHED, source.name, _reason(child, limits))
        return None
    return _take_answer(folder, findings)


def _environment() -> dict[str, str]:
    """Return the user's environment, in which the child finds both packages and HDF5 loads no plugins."""
    roots = [
        str(Path(__file__).resolve().parents[2]),
        str(Path(str(aam_schemas.__file__)).resolve().parents[1]),
    ]
    paths = [*dict.fromkeys(roots), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "HDF5_PLUGIN_PRELOAD": "::",
        "OPENBLAS_NUM_THREADS": "1",  # each thread takes address space, of which the child has little
        "OMP_NUM_THREADS": "1",
    }


def _reason(child: subprocess.CompletedProcess[str], limits: Limits) -> str:
    if child.returncode == _OUT_OF_MEMORY:
        return f"more than {size_in_words(limits.memory_bytes)} of memory were needed"
    if child.returncode < 0:
        return f"the reader ended with signal {signal.Signals(-child.returncode).name}"
    last = child.stderr.strip().splitlines()[-1:] or ["without a word"]
    return f"the reader failed: {last[0]}"


def _take_answer(folder: Path, findings: Findings) -> Spooled | None:
    path = folder / _ANSWER
    answer = json.loads(path.read_text(encoding="utf-8"))
    known = rules.catalogue()
    for code, where, value in answer["findings"]:
        findings.add(known[code], where, value)
    return Spooled(**answer["spooled"]) if answer["spooled"] else None


def _limit(limits: Limits) -> None:
    """Limit this process; where the system has no such limits (Windows), the time limit is what remains."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))


def _child(folder: Path, job: dict[str, Any]) -> int:
    limits = Limits(**job["limits"])
    source = Source(**job["source"])
    source = replace(source, path=Path(source.path), kind=Kind(source.kind))
    _limit(limits)
    try:
        _answer(source, folder, limits)
    except MemoryError:
        return _OUT_OF_MEMORY
    except OSError as error:
        if is_disk_full(error):
            return error.errno or 0  # the exit code says it: there is no room for words
        raise
    return 0


def _answer(source: Source, folder: Path, limits: Limits) -> None:
    findings = Findings()
    spooled = spool_table(source, folder, findings, limits)
    answer = {
        "spooled": asdict(spooled) if spooled else None,
        "findings": [(finding.rule.code, finding.where, finding.value) for finding in findings.found],
    }
    (folder / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1]), json.load(sys.stdin)))
