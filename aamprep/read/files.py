"""Read files of any role: the processes, temporary folders and checks that all of them share."""

import shutil
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import UsageError
from aam_schemas.common.temporary import temporary_folder
from aam_schemas.manifest import InputFile
from aamprep.read.child import Answer, Job, answer
from aamprep.read.isolate import largest_memory, read_isolated
from aamprep.read.products import load_product, load_table
from aamprep.read.source import InputPath, Limits, ObjectFile, Status, status_of
from aamprep.read.types import study_name
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings


@dataclass(frozen=True)
class Opened:
    """A file that was opened, with its content if it could be read."""

    facts: dict[str, Any]
    """See `Answer`."""
    product: Any
    """Data class of its role. None if it cannot be read, or an error in it allows no use of it."""


def read_files(
    files: Sequence[tuple[str, InputPath]],
    findings: Findings,
    limits: Limits | None = None,
    isolate: bool = True,
    study: str | None = None,
) -> list[Opened]:
    """Read files, each in a process of its own.

    Parameters
    ----------
    files : sequence of (str, Path or ObjectFile)
        Role of each file, as in `read_role` or "unknown", and the file.
    findings : Findings
        Receives the problems of the files.
    limits : Limits, optional
    isolate : bool
        Whether to read in a child process. Files of Python objects are always read in this process, which
        wrote them.
    study : str, optional
        Name of the study of tables. The default is derived from the name of each.

    Returns
    -------
    list of Opened
        In the order of the files.

    Raises
    ------
    UsageError
        If a file does not exist, cannot be opened, or changes while it is read; or the system has too little
        memory or disk space.
    """
    limits = limits or Limits()
    states = [status_of(_path(file), str(file)) for _, file in files]
    opened = []
    with temporary_folder() as folder:
        jobs = [
            _job(role, file, state, folder / str(number), limits)
            for number, ((role, file), state) in enumerate(zip(files, states, strict=True))
        ]
        isolated = [isolate and not isinstance(file, ObjectFile) for _, file in files]
        with closing(_answers(jobs, isolated, folder, limits)) as answers:
            for (_, file), state, job, result in zip(files, states, jobs, answers, strict=True):
                _check_unchanged(file, state)
                opened.append(_open(result, job, findings, study or _study(file)))
                # Mapped arrays remain usable after their folder is removed.
                shutil.rmtree(job.folder)
    return opened


def _job(role: str, file: InputPath, state: Status, folder: Path, limits: Limits) -> Job:
    folder.mkdir()
    return Job(
        role=role,
        path=str(_path_for_child(file)),
        name=str(file),
        folder=str(folder),
        memory_bytes=largest_memory(limits.memory_for(state.bytes)),
        seconds=limits.seconds_for(state.bytes),
    )


def _answers(jobs: list[Job], isolated: list[bool], folder: Path, limits: Limits) -> Generator[Answer]:
    for_child = [job for job, is_isolated in zip(jobs, isolated, strict=True) if is_isolated]
    # The child must have ended before its folder is removed.
    with closing(read_isolated(for_child, folder, limits)) as from_child:
        for job, is_isolated in zip(jobs, isolated, strict=True):
            yield next(from_child) if is_isolated else answer(job, limits)


def _check_unchanged(file: InputPath, before: Status) -> None:
    """Raise if a file was changed or replaced while it was read: its hash and content may not agree."""
    if status_of(_path(file), str(file)) != before:
        fix = "wait until it is written completely, and try again"
        raise UsageError("this file changed while it was read", str(file), fix)


def _open(result: Answer, job: Job, findings: Findings, study: str) -> Opened:
    if result.error is not None:
        raise UsageError(*result.error)
    found = Findings()
    found.add_json(result.findings, rules.catalogue())
    findings.add_all(found)
    if not result.is_complete or found.refused:
        return Opened(result.facts, None)
    names = ("role", "bytes", "sha256", "uuid", "kind")
    source = InputFile(name=job.name, **{name: result.facts[name] for name in names})
    folder = Path(job.folder)
    if source.role == "table":
        return Opened(result.facts, load_table(folder, source, study))
    return Opened(result.facts, load_product(folder, source))


def _path(file: InputPath) -> Path:
    return file.path if isinstance(file, ObjectFile) else file


def _path_for_child(file: InputPath) -> Path:
    """Return an absolute path. Names such as /dev/stdin are resolved: in the child they mean another file."""
    path = _path(file).absolute()
    return path.resolve() if path.parts[1:2] in (("dev",), ("proc",)) else path


def _study(file: InputPath) -> str:
    return file.study if isinstance(file, ObjectFile) else study_name(file)
