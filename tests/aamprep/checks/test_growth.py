"""Ten times the input takes at most fifteen times the time and memory of all checks of a study."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aamprep.checks.study_checks import read_checked_study
from aamprep.read.biom.write import write_biom
from aamprep.read.source import Limits
from aamprep.rules.findings import Findings
from aamprep.study.id_mismatches import mismatch_hint
from aamprep.study.study import Paths
from aamprep.study.where import failing_samples
from tests.helpers.growth import Growing, Make, Task, check_growth, parameters, sequence_of
from tests.helpers.growth_inputs import entries, write, write_metadata
from tests.helpers.newick import balanced


def checked(*tables: Path, code: str = "", **beside: Any) -> Task:
    """Return what reads and checks a study, and asserts that a fault is found."""

    def task() -> None:
        findings = Findings()
        study = read_checked_study(Paths(tables, **beside), findings, Limits(), isolate=False)
        assert code in {finding.code for finding in findings} if code else study is not None, findings.found

    return task


def of_rows(size: int, folder: Path) -> Task:
    metadata = write_metadata(folder, size, 3)
    return checked(write(folder, entries(20, 20)), code="metadata-without-sample", metadata=metadata)


def of_columns(size: int, folder: Path) -> Task:
    return checked(write(folder, entries(20, 20)), metadata=write_metadata(folder, 20, size))


def of_tips(size: int, folder: Path) -> Task:
    (folder / "t.nwk").write_text(balanced(size, sequence_of))
    return checked(write(folder, entries(20, 60)), tree=folder / "t.nwk")


def of_asvs_without_tip(size: int, folder: Path) -> Task:
    (folder / "t.nwk").write_text(balanced(50, sequence_of))
    return checked(write(folder, entries(size, size)), code="asv-not-in-tree", tree=folder / "t.nwk")


def of_mismatches(size: int, folder: Path) -> Task:
    metadata = write_metadata(folder, size, 1, "S{}")
    return checked(write(folder, entries(size, 20)), code="metadata-of-other-samples", metadata=metadata)


def of_samples(size: int, folder: Path) -> Task:
    return checked(write(folder, entries(size, 20)))


def of_asvs(size: int, folder: Path) -> Task:
    return checked(write(folder, entries(size // 3, size)))


def of_features_without_sequence(size: int, folder: Path) -> Task:
    features = (sequence_of(0), *(f"otu{n}" for n in range(size)))
    write_biom(folder / "t.biom", tuple(f"s{n}" for n in range(20)), features, entries(20, size + 1))
    return checked(folder / "t.biom", code="feature-without-sequence")


def of_taxa(size: int, folder: Path) -> Task:
    rows = "".join(f"{sequence_of(n)}\tk__B; g__{n}\n" for n in range(size))
    (folder / "x.tsv").write_text(f"Feature ID\tTaxon\n{rows}")
    return checked(write(folder, entries(20, 60)), taxonomy=folder / "x.tsv")


def of_rep_seqs(size: int, folder: Path) -> Task:
    rows = "".join(f">{sequence_of(n)}\n{sequence_of(n)}\n" for n in range(size))
    (folder / "r.fasta").write_text(rows)
    return checked(
        write(folder, entries(20, 60)), code="rep-seqs-without-feature", rep_seqs=folder / "r.fasta"
    )


def of_both_orientations(size: int, folder: Path) -> Task:
    forward = [sequence_of(n) for n in range(size)]
    backward = [s.translate(str.maketrans("ACGT", "TGCA"))[::-1] for s in forward]
    counts = entries(20, 2 * size)
    write_biom(folder / "t.biom", tuple(f"s{n}" for n in range(20)), (*forward, *backward), counts)
    return checked(folder / "t.biom", code="both-orientations")


def of_tables(size: int, folder: Path) -> Task:
    return checked(*(write(folder, entries(10, 20), f"t{n}", 10 * n, 10 * n) for n in range(size)))


def conditions(samples: int, columns: int, number: int, folder: Path) -> Task:
    """Return what selects samples by a number of conditions on the last columns."""
    findings = Findings()
    table, metadata = write(folder, entries(samples, 20)), write_metadata(folder, samples, columns)
    paths = Paths([table], metadata=metadata)
    study = read_checked_study(paths, findings, Limits(), isolate=False)
    assert study is not None
    texts = [f"c{columns - 1 - n % columns}!={n}.5" for n in range(number)]
    ids = study.tables[0].sample_ids
    return lambda: failing_samples(texts, study.metadata, ids)


def hint(here: str, there: str) -> Make:
    """Return what makes a search for the reason why ids do not match."""
    return lambda size, _: partial(
        mismatch_hint, *([s.format(n) for n in range(size)] for s in (here, there))
    )


CASES = [
    Growing("samples", 10000, of_samples),
    Growing("ASVs", 10000, of_asvs),
    Growing("tables", 30, of_tables),
    Growing("metadata rows", 5000, of_rows),
    Growing("metadata columns", 1000, of_columns),
    Growing("tips", 10000, of_tips),
    Growing("ASVs that are not in the tree", 5000, of_asvs_without_tip),
    Growing("sample ids in another case", 3000, of_mismatches),
    Growing("ids without any match", 3000, hint("x.{}.y-z_w", "q{}")),
    Growing("ids with a prefix", 3000, hint("study.{}", "{}")),
    Growing("features without a sequence", 10000, of_features_without_sequence),
    Growing("taxa", 10000, of_taxa),
    Growing("rep-seqs without a feature", 10000, of_rep_seqs),
    Growing("ASVs in both orientations", 3000, of_both_orientations),
    Growing("conditions: samples", 10000, lambda n, folder: conditions(n, 3, 3, folder)),
    Growing("conditions: columns", 3000, lambda n, folder: conditions(10, n, 30, folder)),
    Growing("conditions: conditions", 100, lambda n, folder: conditions(100, 30, n, folder)),
]


@pytest.mark.parametrize("case", parameters(CASES, set()))
def test_time_and_memory_of_the_checks_grow_as_their_input(case: Growing, tmp_path: Path) -> None:
    check_growth(case, tmp_path)
