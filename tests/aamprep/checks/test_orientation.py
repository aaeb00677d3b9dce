"""ASVs in both orientations: of the same amplicon, or of something that resembles nothing else."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aam_schemas.vocabulary import reverse_complement
from aamprep.checks.orientation import in_both_orientations, unlike_others
from tests.helpers.paths import RealData
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table


def amplicons(number: int, seed: int = 0) -> list[str]:
    """Return sequences with a conserved part between variable ones, as those of one gene."""
    drawn = random.Random(seed)
    conserved = "".join(drawn.choices("ACGT", k=25))
    parts = ["".join(drawn.choices("ACGT", k=75)) for _ in range(number)]
    return [part[:40] + conserved + part[40:] for part in parts]


AMPLICONS = amplicons(40)
CONTROL = random_sequences(2, bases=100)


def codes(run: Programs, folder: Path, sequences: Sequence[str]) -> dict[str, str]:
    table = write_table(folder, random_counts(4, len(sequences)), list(sequences))
    document = json.loads(run("aamprep", "validate", table, "--json").out)
    return {each["code"]: each["value"] for each in document["findings"] if "orientations" in each["code"]}


def test_a_control_in_both_orientations_is_not_called_unoriented(tmp_path: Path, run: Programs) -> None:
    sequences = [*AMPLICONS, *CONTROL, *map(reverse_complement, CONTROL)]
    assert codes(run, tmp_path, sequences) == {"both-orientations-unlike-others": "4 of 44 ASVs"}


def test_reads_in_mixed_orientations_are_told(tmp_path: Path, run: Programs) -> None:
    sequences = [*AMPLICONS, *map(reverse_complement, AMPLICONS[:3])]
    assert codes(run, tmp_path, sequences) == {"both-orientations": "6 of 43 ASVs"}


def test_both_are_told_apart_in_one_table(tmp_path: Path, run: Programs) -> None:
    sequences = [*AMPLICONS, reverse_complement(AMPLICONS[0]), CONTROL[0], reverse_complement(CONTROL[0])]
    assert codes(run, tmp_path, sequences) == {
        "both-orientations": "2 of 43 ASVs",
        "both-orientations-unlike-others": "2 of 43 ASVs",
    }


def test_a_palindrome_is_no_other_orientation(tmp_path: Path, run: Programs) -> None:
    palindrome = AMPLICONS[0][:30] + reverse_complement(AMPLICONS[0][:30])
    assert codes(run, tmp_path, [palindrome, AMPLICONS[1]]) == {}


def test_a_table_of_one_pair_says_nothing_of_others() -> None:
    pair = [CONTROL[0], reverse_complement(CONTROL[0])]
    assert in_both_orientations(pair) == pair
    assert unlike_others(pair, pair) == []


@given(st.integers(0, 10_000), st.permutations(range(20)))
def test_orientation_does_not_change_what_a_sequence_resembles(seed: int, turned: list[int]) -> None:
    sequences = amplicons(20, seed)
    mixed = [reverse_complement(s) if index in turned[:7] else s for index, s in enumerate(sequences)]
    assert unlike_others(sequences, sequences) == []
    assert unlike_others(mixed, mixed) == []
    assert unlike_others(CONTROL, [*mixed, *CONTROL]) == CONTROL


@pytest.mark.real
@pytest.mark.parametrize("study", ["cfs/table-seqids.biom", "saliva32/filtered-table.qza"])
def test_published_asvs_resemble_each_other_and_random_sequences_do_not(
    real_data: RealData, run: Programs, study: str
) -> None:
    from aamprep.checks.study_checks import read_checked_study
    from aamprep.read.source import Limits
    from aamprep.rules.findings import Findings
    from aamprep.study.study import Paths

    table = real_data(study)
    rep_seqs = table.with_name("filtered-rep-seqs.qza") if "filtered" in study else None
    read = read_checked_study(Paths(tables=[table], rep_seqs=rep_seqs), Findings(), Limits(), isolate=False)
    assert read is not None
    sequences = read.asvs.sequences
    assert len(unlike_others(sequences, sequences)) <= 0.01 * len(sequences)
    length = int(np.median([len(s) for s in sequences]))
    foreign = random_sequences(100, bases=length)
    assert len(unlike_others(foreign, [*sequences, *foreign[:4]])) >= 90
