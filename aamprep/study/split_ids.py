"""Lists of sample ids, one for each split: which samples are for training, validation and test."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.json_files import read_bounded
from aam_schemas.common.text import shorten
from aam_schemas.manifest import InputFile
from aam_schemas.shards import SPLITS
from aamprep.errors import ParameterError
from aamprep.read.lines import filled_lines
from aamprep.read.metadata import is_id_header
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.study.id_mismatches import mismatch_hint

MOST_BYTES = 1 << 28
"""Largest size of a list, in bytes."""
_PARAMETER = "split_ids"

SplitIdsLike: TypeAlias = "Mapping[str, str | os.PathLike[str] | Sequence[str]]"


@dataclass(frozen=True)
class SplitList:
    """Ids of the samples of one split."""

    split: str
    name: str
    """Name of the file, or of the argument."""
    lines: Mapping[str, int]
    """Line of each id, counted from 1. Ids of an argument are counted alike."""
    input: InputFile | None = None


def read_split_lists(given: SplitIdsLike) -> list[SplitList]:
    """Read the list of each split. An id that a list has twice counts once.

    Parameters
    ----------
    given : mapping of str to path or sequence of str
        For each split, a text file with one sample id per line, or the ids. A first line with a name that
        QIIME 2 accepts for the id column is left out.

    Raises
    ------
    UsageError
        If there is no such split or file.
    InvalidDataError
        If a file is no list, or an id is in the lists of two splits.
    """
    for split in given:
        if split not in SPLITS:
            what, known = f"there is no split {shorten(split, 80)!r}", ", ".join(SPLITS)
            raise ParameterError(what, _PARAMETER, f"choose among: {known}")
    lists = [_read(split, ids) for split, ids in given.items()]
    list_of: dict[str, SplitList] = {}
    for each in lists:
        twice = next((sample_id for sample_id in each.lines if sample_id in list_of), None)
        if twice is not None:
            other = list_of[twice]
            raise InvalidDataError(
                f"sample {shorten(twice, 80)} is in the lists of {other.split} and {each.split}",
                f"{other.name}, line {other.lines[twice]}, and {each.name}, line {each.lines[twice]}",
                "remove it from one of the lists",
            )
        list_of |= dict.fromkeys(each.lines, each)
    return lists


def assign_splits(
    lists: Sequence[SplitList],
    samples: Iterable[tuple[str, str]],
    name_of: Callable[[str, str], str],
    findings: Findings,
) -> dict[str, str]:
    """Return the split of each listed sample, by the id under which the sample is written.

    Parameters
    ----------
    lists : sequence of SplitList
    samples : iterable of (str, str)
        Study and id of each sample.
    name_of : callable
        Returns the id under which a sample is written, from its study and id. Lists may have this id or that
        of the table.
    findings : Findings
        Receives a warning for each list with ids that no sample has.

    Raises
    ------
    InvalidDataError
        If no sample is in a list.
    """
    split_of = {sample_id: each.split for each in lists for sample_id in each.lines}
    assigned, unlisted, used = {}, [], set()
    for study, sample_id in samples:
        name = name_of(study, sample_id)
        listed = next((i for i in (name, sample_id) if i in split_of), None)
        if listed is None:
            unlisted.append(sample_id)
            continue
        used.add(listed)
        assigned[name] = split_of[listed]
    hint = mismatch_hint(unlisted, [i for i in split_of if i not in used])
    if not assigned:
        raise InvalidDataError(
            "no sample of the tables is in a list" + (f"; {hint}" if hint else ""),
            ", ".join(each.name for each in lists),
            "spell the ids in the lists as in the tables; `aamprep inspect` shows those of a table",
        )
    for each in lists:
        unknown = [sample_id for sample_id in each.lines if sample_id not in used]
        if unknown:
            value = f"{len(unknown):,} of {len(each.lines):,} ids, such as {shorten(unknown[0], 80)}"
            findings.add(rules.SPLIT_ID_UNKNOWN, each.name, f"{value}; {hint}" if hint else value)
    return assigned


def parse_split_options(options: Iterable[str]) -> dict[str, str]:
    """Return the file of each split, from options such as `train=train.txt`.

    Raises
    ------
    ParameterError
        If an option does not name a split and a file, or a split has two files.
    """
    files: dict[str, str] = {}
    for option in options:
        split, has_file, file = option.partition("=")
        if not has_file or split not in SPLITS or not file:
            raise ParameterError(
                f"{shorten(option, 80)!r} does not name a split and a file",
                _PARAMETER,
                f"write SPLIT=FILE, such as train=train.txt; SPLIT is one of: {', '.join(SPLITS)}",
            )
        if split in files:
            raise ParameterError(f"{split} has two lists", _PARAMETER, "put all ids into one file")
        files[split] = file
    return files


def _read(split: str, ids: "str | os.PathLike[str] | Sequence[str]") -> SplitList:
    if not isinstance(ids, str | os.PathLike):
        return SplitList(split, f"{_PARAMETER}[{split!r}]", _first_lines(enumerate(map(str, ids), 1)))
    path = Path(ids)
    if not path.exists():
        raise UsageError("there is no such file", str(path), "give a text file with one sample id per line")
    content = read_bounded(path, MOST_BYTES)
    source = InputFile(
        role="split-ids",
        name=str(path),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        kind=f"list of samples for {split}",
    )
    return SplitList(split, str(path), _first_lines(_lines(content, str(path))), source)


def _lines(content: bytes, name: str) -> list[tuple[int, str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content.count(b"\n", 0, error.start)
        raise _no_list(name, before + 1, "this is not text in UTF-8") from None
    try:
        lines = [(number, line.strip()) for number, line in filled_lines(text, name)]
    except RefusedError as refused:
        raise InvalidDataError(f"there are {refused.value}", name, "give the list of a split") from None
    for number, line in lines:
        if "\t" in line or "\0" in line:
            what = f"this line has {line.count(chr(9)) + 1} columns" if "\t" in line else "this is not text"
            raise _no_list(name, number, what)
    return lines[1:] if lines and is_id_header(lines[0][1]) else lines


def _no_list(name: str, line: int, what: str) -> InvalidDataError:
    fix = "give a text file with one sample id per line; `cut -f 1` takes the first column of a table"
    return InvalidDataError(what, f"{name}, line {line}", fix)


def _first_lines(lines: Iterable[tuple[int, str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, sample_id in lines:
        found.setdefault(sample_id, number)
    return found
