"""Ten times the input takes at most fifteen times the time and memory of a command, in every dimension."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import aamprep
from aammodel.data.samples import SampleReader
from aammodel.data.shards import open_shards
from tests.helpers.growth import Growing, Task, check_growth, parameters, sequence_of
from tests.helpers.growth_inputs import entries, write, write_metadata
from tests.helpers.newick import balanced
from tests.helpers.shards import divide_samples


def validates(*tables: Path, code: str = "", **options: Any) -> Task:
    """Return what validates a study, and asserts that a fault is found."""

    def task() -> None:
        report = aamprep.validate(tables, isolate=False, **options)
        assert code in report.counts if code else report.is_valid, report.counts

    return task


def tree(folder: Path, tips: int) -> Path:
    (folder / "t.nwk").write_text(balanced(tips, sequence_of))
    return folder / "t.nwk"


def of_samples(size: int, folder: Path) -> Task:
    return validates(write(folder, entries(size, 500)))


def of_rarefied(size: int, folder: Path) -> Task:
    return validates(write(folder, entries(size, 500)), rarefy_depth=1000)


def of_asvs(size: int, folder: Path) -> Task:
    return validates(write(folder, entries(50, size, size // 50)))


def of_columns(size: int, folder: Path) -> Task:
    return validates(write(folder, entries(20, 20)), metadata=write_metadata(folder, 20, size))


def of_words(size: int, folder: Path) -> Task:
    return validates(write(folder, entries(20, 20)), metadata=write_metadata(folder, 20, size, cell="w{}"))


def of_asvs_in_a_tree(size: int, folder: Path) -> Task:
    return validates(write(folder, entries(50, size, size // 50)), tree=tree(folder, size))


def of_samples_with_a_tree(size: int, folder: Path) -> Task:
    return validates(write(folder, entries(size, 200)), tree=tree(folder, 200))


def of_empty_samples(size: int, folder: Path) -> Task:
    counts = entries(size, 20)
    counts.data[:-3] = 0
    return validates(write(folder, counts), code="sample-empty")


def of_bad_counts(size: int, folder: Path) -> Task:
    counts = entries(size, 20)
    counts.data[:-3] = -1
    return validates(write(folder, counts), code="count-negative")


def of_tables(size: int, folder: Path) -> Task:
    return validates(*(write(folder, entries(10, 20), f"t{n}", 10 * n, 10 * n) for n in range(size)))


def of_samples_in_two_tables(size: int, folder: Path) -> Task:
    tables = [write(folder, entries(size, 20), name) for name in ("a", "b")]
    return validates(*tables, code="sample-in-two-tables")


def shard(folder: Path, table: Path | Sequence[Path], name: str = "shards", **options: Any) -> Path:
    aamprep.shard(table, output=folder / name, isolate=False, **options)
    return folder / name


def verifies(shards: Path) -> Task:
    def task() -> None:
        report = aamprep.verify(shards)
        assert report.is_valid, report

    return task


def verified_samples(size: int, folder: Path) -> Task:
    return verifies(shard(folder, write(folder, entries(size, 200)), tree=tree(folder, 200)))


def verified_asvs(size: int, folder: Path) -> Task:
    return verifies(shard(folder, write(folder, entries(50, size, size // 50)), tree=tree(folder, size)))


def verified_columns(size: int, folder: Path) -> Task:
    metadata = write_metadata(folder, 20, size)
    return verifies(shard(folder, write(folder, entries(20, 20)), metadata=metadata))


def many_files(size: int, folder: Path) -> Path:
    """Write a shard set with a file for every four samples or fewer."""
    return divide_samples(shard(folder, write(folder, entries(4 * size, 20))), 4)


def merges(size: int, folder: Path) -> Task:
    """Return what merges a number of sets with ASVs, columns and samples of their own."""
    sets = []
    for n in range(max(size, 2)):
        of_set = folder / str(n)
        of_set.mkdir()
        table = write(of_set, entries(10, 30), "t", 10 * n, 30 * n)
        sets.append(shard(of_set, table))
    return lambda: aamprep.merge(sets, output=folder / "merged", overwrite=True)


def merged_samples(size: int, folder: Path) -> Task:
    tables = [write(folder, entries(size, 500), name, first) for name, first in (("a", 0), ("b", size))]
    sets = [shard(folder, table, f"shards-{table.stem}") for table in tables]
    return lambda: aamprep.merge(sets, output=folder / "merged", overwrite=True)


def merged_studies(size: int, folder: Path) -> Task:
    """Return what merges two sets with a number of studies."""
    sets = []
    for first in (0, size):
        tables = [write(folder, entries(10, 20), f"t{n}", 10 * n, 10 * n) for n in range(first, first + size)]
        sets.append(shard(folder, tables, f"shards-{first}"))
    return lambda: aamprep.merge(sets, output=folder / "merged", overwrite=True)


def opens(shards: Path) -> Task:
    def task() -> None:
        torch.set_num_threads(1)
        opened = open_shards(shards)
        reader = SampleReader(opened, ("dropped_asv", "dropped_count"))
        for split in ("train", "validation", "test"):
            for group in opened.row_groups_of(split):
                reader.read([group])
        assert len(opened.tokens) == opened.manifest.num_kept_asvs

    return task


COMMANDS = [
    Growing("validate: samples", 20000, of_samples),
    Growing("validate: rarefied samples", 10000, of_rarefied),
    Growing("validate: ASVs", 20000, of_asvs),
    Growing("validate: metadata columns", 500, of_columns),
    Growing("validate: metadata columns of words", 500, of_words),
    Growing("validate: ASVs in a tree", 10000, of_asvs_in_a_tree),
    Growing("validate: samples with a tree", 15000, of_samples_with_a_tree),
    Growing("validate: empty samples", 20000, of_empty_samples),
    Growing("validate: invalid counts", 15000, of_bad_counts),
    Growing("validate: tables", 10, of_tables),
    Growing("validate: samples that two tables have", 30000, of_samples_in_two_tables),
    Growing("verify: samples", 25000, verified_samples),
    Growing("verify: ASVs", 10000, verified_asvs),
    Growing("verify: metadata columns", 500, verified_columns),
    Growing("verify: sample files", 30, lambda n, folder: verifies(many_files(n, folder))),
    Growing("merge: samples", 10000, merged_samples),
    Growing("merge: sets", 10, merges),
    Growing("merge: studies of a set", 10, merged_studies),
    Growing("open: sample files", 50, lambda n, folder: opens(many_files(n, folder))),
    Growing("open: samples", 20000, lambda n, folder: opens(shard(folder, write(folder, entries(n, 500))))),
]


@pytest.mark.parametrize("case", parameters(COMMANDS, set()))
def test_time_and_memory_of_a_command_grow_as_its_input(case: Growing, tmp_path: Path) -> None:
    check_growth(case, tmp_path)
