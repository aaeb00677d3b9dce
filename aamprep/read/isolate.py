"""Read files in a child process, so that a damaged or malicious file cannot crash or exhaust the program.

HDF5 is a large C library, and a small compressed file can unpack to any size. So the child
(`aamprep.read.child`) has limits on memory and time. It returns arrays and texts in folders, never pickles.
"""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aam_schemas
from aam_schemas.common.errors import DISK_FULL, UsageError
from aamprep.read.child import OUT_OF_MEMORY, Answer, Job, load_answer
from aamprep.read.source import Limits, format_bytes
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_STOPPED = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU}
"""Signals that come from a person or the system, and not from a crash."""
_FIXES = {
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "close other programs: this computer has too many open files",
    errno.EAGAIN: "raise the limit on processes (`ulimit -u`), or end some of your processes",
    errno.ENOMEM: "free some memory, or raise the limit on it (`ulimit -v`)",
}


def read_isolated(jobs: list[Job], folder: Path, limits: Limits) -> Generator[Answer]:
    """Read files in a child process, one after the other.

    Parameters
    ----------
    jobs : list of Job
    folder : Path
        Empty folder for messages of the child.
    limits : Limits

    Yields
    ------
    Answer
        For each job. If a file crashes its reader or exceeds a limit, the finding says so.

    Raises
    ------
    UsageError
        If the system has too little of something to read a file: memory, processes or open files.
    OSError
        If the disk of the folder is full.
    """
    if not jobs:
        return
    messages = folder / "messages"
    request = {"limits": asdict(limits), "jobs": [asdict(job) for job in jobs]}
    with messages.open("w") as stderr, _child(stderr, jobs[0].name) as child:
        assert child.stdout is not None
        _send(child, json.dumps(request))
        for job in jobs:
            line = child.stdout.readline()
            if not line:
                raise _not_started(child.wait(), _last_line(messages), job.name)
            yield _answer(job, json.loads(line), messages)


def largest_memory(wanted: int) -> int:
    """Return a limit on memory, lowered to that of this process (`ulimit -v`)."""
    given = resource.getrlimit(resource.RLIMIT_AS)[0]
    return wanted if given == resource.RLIM_INFINITY else min(wanted, given)


@contextmanager
def _child(stderr: Any, name: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the child, and end it and its forks after the block."""
    try:
        child = subprocess.Popen(
            # -P: modules in the user's folder, such as a json.py, must not be imported.
            [sys.executable, "-P", "-m", "aamprep.read.child", str(os.getpid())],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # Ctrl-C in a terminal goes to all processes of a session. This process ends the child itself.
            start_new_session=True,
        )
    except OSError as error:
        raise _no_process(error.errno or 0, name) from error
    with child:
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def _send(child: "subprocess.Popen[str]", request: str) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(request)
        child.stdin.close()
    except BrokenPipeError:
        # The child has ended. Its exit code is reported when its first answer is missing.
        return


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
        "PYTHONWARNINGS": "ignore",
        # Every thread reserves address space, which is limited in the child.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _answer(job: Job, ended: dict[str, int], messages: Path) -> Answer:
    """Return the answer of a fork that has ended, from its exit code if it could not write one."""
    if "error" in ended:
        raise _no_process(ended["error"], job.name)
    code = ended["code"]
    if code == 0:
        return load_answer(Path(job.folder))
    if code in DISK_FULL:
        raise OSError(code, os.strerror(code))
    if code == OUT_OF_MEMORY:
        return _out_of_memory(job)
    if code == -signal.SIGALRM:
        return _crashed(job, f"not read within {job.seconds:.0f} seconds")
    if code < 0:
        return _ended_by(signal.Signals(-code), job)
    if code > 1:
        fix = _FIXES.get(code, "solve this problem of the system, then try again")
        raise UsageError(f"the file cannot be read: {os.strerror(code)}", job.name, fix)
    return _crashed(job, f"the reader failed: {_last_line(messages)}")


def _out_of_memory(job: Job) -> Answer:
    size = format_bytes(job.memory_bytes)
    if largest_memory(job.memory_bytes + 1) <= job.memory_bytes:
        what = f"reading this file needs more than the {size} of memory that this process may use"
        raise UsageError(what, job.name, "raise the limit (`ulimit -v`)")
    return _crashed(job, f"the reader needed more than {size} of memory")


def _ended_by(received: signal.Signals, job: Job) -> Answer:
    if received in _STOPPED:
        what = f"the process that reads this file was ended from outside, by {received.name}"
        fix = "free some memory if there is little left, since the system ends processes then; try again"
        raise UsageError(what, job.name, fix)
    return _crashed(job, f"the reader ended with signal {received.name}")


def _crashed(job: Job, reason: str) -> Answer:
    findings = Findings()
    findings.add(rules.READER_CRASHED, job.name, reason)
    return Answer({}, False, findings.as_json())


def _no_process(number: int, name: str) -> UsageError:
    what = f"the process that reads files cannot be started: {os.strerror(number)}"
    return UsageError(what, name, _FIXES.get(number, "check the limits of the system (`ulimit -a`)"))


def _not_started(code: int, message: str, name: str) -> UsageError:
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    what = f"the process that reads files ended {how}: {message}"
    fix = "check the free memory and the limits of the system (`ulimit -a`), or use --no-isolate"
    return UsageError(what, name, fix)


def _last_line(messages: Path) -> str:
    lines = messages.read_text(encoding="utf-8", errors="replace").strip().split("\n")
    return lines[-1] or "no message"
