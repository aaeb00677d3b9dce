"""Check a file that a command is to write, before the work that takes long."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from aam_schemas.common.errors import UsageError
from aam_schemas.common.folders import read_start
from aam_schemas.common.publish import refuse_within

_START_BYTES = 1 << 16


def check_output_file(
    path: Path, overwrite: bool, inputs: Iterable[Path], is_ours: Callable[[Path], bool], command: str
) -> None:
    """Refuse an output file that cannot be written, or that exists already and may not be replaced.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Whether a file that the command wrote may be replaced.
    inputs : iterable of Path
        Files and folders that are read. Nothing is written into them.
    is_ours : callable
        Returns whether the content of a file shows that the command wrote it.
    command : str
        The command, for messages.

    Raises
    ------
    UsageError
    """
    if not path.absolute().parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "create it, or choose another --output")
    refuse_within(path, inputs)
    if path.is_dir():
        raise UsageError("this output is a folder, not a file", str(path), "choose another with --output")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise UsageError("this file exists already", str(path), "choose another --output, or add --overwrite")
    if not is_ours(path):
        raise UsageError(
            f"this file is not replaced: its content does not show that `{command}` wrote it",
            str(path),
            "choose another --output, or remove it yourself",
        )


def start_of(path: Path) -> bytes:
    """Return the first 64 KiB of a regular file. Empty if it is none, or cannot be read."""
    try:
        return read_start(path, _START_BYTES)
    except OSError:
        return b""
