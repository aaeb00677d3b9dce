"""The process that reads input files: one fork per file, with limits on memory and time.

The program starts `python -m aamprep.read.child` once for all files of a study. This process opens no file.
It imports the parsers, then forks for each file, so that a file that crashes its reader or exceeds a limit
affects no other file. A fork takes milliseconds, a new interpreter a third of a second.

No process outlives its parent, even if that is killed.
"""

import errno
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import UsageError
from aamprep.read.foreign import refuse_foreign
from aamprep.read.identify import identify
from aamprep.read.roles import read_role
from aamprep.read.source import Limits, RefusedError, open_source
from aamprep.rules.findings import Findings

ANSWER_FILE = "answer.json"
OUT_OF_MEMORY = 86
"""Exit code of a fork. Any number works that is neither 1, a signal nor an error number of a full disk."""

_PR_SET_PDEATHSIG = 1
_SPARE_DESCRIPTORS = 8
"""Number of files that a reader has open at a time, at most."""


@dataclass(frozen=True)
class Job:
    """A file to read. All values can be stored as JSON."""

    role: str
    """See `read_role`."""
    path: str
    """Absolute path."""
    name: str
    """Path as given by the user, for messages."""
    folder: str
    """Empty folder for the content and the answer."""
    memory_bytes: int
    """Maximum address space."""
    seconds: float
    """Maximum time."""


@dataclass(frozen=True)
class Answer:
    """Description of a file that was read, or could not be read. All values can be stored as JSON."""

    facts: dict[str, Any]
    """`kind`, `bytes` and `sha256`, if it could be opened; `uuid`; `role` and `header` of an unknown file."""
    is_complete: bool
    """Whether its content is in the folder."""
    findings: Any
    error: tuple[str, str, str] | None = None
    """Parts of a UsageError: what, where and fix."""


def answer(job: Job, limits: Limits) -> Answer:
    """Read a file into the folder of its job. Invalid content is reported in the answer."""
    findings, folder = Findings(), Path(job.folder)
    facts: dict[str, Any] = {"role": job.role}
    try:
        source = open_source(Path(job.path), job.name, limits)
        facts |= {"kind": str(source.kind), "bytes": source.bytes, "sha256": source.sha256}
        refuse_foreign(source)
        if job.role == "unknown":
            facts["role"], facts["header"] = identify(source, limits)
        if facts["role"]:
            facts["kind"], facts["uuid"] = read_role(source, facts["role"], folder, findings, limits)
    except RefusedError as refused:
        refused.report(findings)
    except UsageError as error:
        return Answer(facts, False, findings.as_json(), (error.what, error.where, error.fix))
    return Answer(facts, "uuid" in facts, findings.as_json())


def load_answer(folder: Path) -> Answer:
    """Return the answer that a fork stored in the folder of its job."""
    return Answer(**json.loads((folder / ANSWER_FILE).read_text(encoding="utf-8")))


def main(parent: int) -> None:
    """Read the limits and jobs on stdin, and write a line for each job: its exit code, or an error number."""
    _die_with(parent)
    request = json.load(sys.stdin)
    limits = Limits(**request["limits"])
    for job in request["jobs"]:
        sys.stdout.write(json.dumps(_run(Job(**job), limits)) + "\n")
        sys.stdout.flush()


def _run(job: Job, limits: Limits) -> dict[str, int]:
    """Run a job in a fork and return its exit code, negative for a signal; or why it cannot be started."""
    this_process = os.getpid()
    try:
        fork = os.fork()
    except OSError as error:
        return {"error": error.errno or 0}
    if fork == 0:
        # A fork must never return to the loop of its parent.
        try:
            code = _run_in_fork(job, limits, this_process)
        except BaseException:  # noqa: BLE001 - the last line of stderr is reported
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)
    return {"code": os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])}


def _run_in_fork(job: Job, limits: Limits, parent: int) -> int:
    _die_with(parent)
    try:
        _set_limits(job)
        _check_descriptors()
        result = answer(job, limits)
        (Path(job.folder) / ANSWER_FILE).write_text(json.dumps(asdict(result)), encoding="utf-8")
    except MemoryError:
        return OUT_OF_MEMORY
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return OUT_OF_MEMORY
        # Readers report what is wrong with a file as findings. What is left are faults of the system. The
        # error number is the exit code: a full disk has no space for a message.
        if (error.errno or 1) > 1:
            return error.errno or 1
        raise
    return 0


def _die_with(parent: int) -> None:
    """End this process when its parent ends. Other systems than Linux can only tell whether it has ended."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the call.
    if os.getppid() != parent:
        os._exit(1)


def _set_limits(job: Job) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A system that cannot limit memory, such as macOS, is no reason to leave a file unread.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (job.memory_bytes, job.memory_bytes))
    # The default action of this signal ends the process, also within native code.
    signal.setitimer(signal.ITIMER_REAL, job.seconds)


def _check_descriptors() -> None:
    """Raise OSError if too few files can be opened: a reader would take that for damage of its file."""
    for descriptor in [os.dup(0) for _ in range(_SPARE_DESCRIPTORS)]:
        os.close(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]))
