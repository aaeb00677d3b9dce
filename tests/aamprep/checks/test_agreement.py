"""`validate` does all that `shard` does: what it calls valid can be sharded, and both find the same."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aamprep
from tests.helpers.agreement import same_findings
from tests.helpers.broken_studies import BROKEN, write_study
from tests.helpers.paths import RealData
from tests.helpers.studies import random_sequences, write_table

SLOW = {
    "file-compression-ratio", "file-too-large", "file-too-many-entries", "reader-crashed", "sample-too-large",
    "tree-too-deep",
}  # fmt: skip
CELLS = st.sampled_from(
    [
        "",
        "1",
        "007",
        "1e400",
        "nan",
        "NA",
        "yes",
        "#",
        '"',
        "a b",
        "\ufeff",
        "sample-id",
        "sample_id",
        "*",
        "\t",
        "\n",
    ]
)
"""Cells of text files. Those with a tab or line end make another table."""
NAMES = st.one_of(
    st.sampled_from(["S0", "S1", "S2", "", " ", "sample_id", "id", "^.*$", "*", "#q2:types", "a\tb"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
)
COUNTS = st.sampled_from([0.0, 1.0, 2.0, 5.0, 0.5, 1e-300, 2.0**53, 2.0**54, -1.0, np.nan, np.inf])


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted({*BROKEN} - SLOW)), min_size=2, max_size=3, unique=True))
def test_a_study_with_several_errors(tmp_path_factory: pytest.TempPathFactory, codes: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp() / "several"
    shutil.rmtree(folder, ignore_errors=True)
    write_study(folder)
    arguments: dict[str, Any] = {}
    for code in codes:
        # An earlier error may have removed what a later one would change.
        with suppress(AssertionError, OSError, KeyError, IndexError, UnicodeError):
            arguments |= BROKEN[code].change(folder) or {}
    arguments = aamprep.find_beside(folder / "table.biom") | arguments | {"isolate": False}
    report = same_findings(arguments.pop("tables", folder / "table.biom"), folder / "shards", **arguments)
    assert not report.is_valid


@st.composite
def studies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a table, and texts beside it that nearly fit it."""
    samples = draw(st.lists(NAMES, min_size=1, max_size=4))
    number = draw(st.integers(1, 4))
    counts = draw(
        st.lists(
            st.lists(COUNTS, min_size=number, max_size=number), min_size=len(samples), max_size=len(samples)
        )
    )
    columns = draw(st.lists(st.one_of(NAMES, CELLS), max_size=3))
    rows = [[name, *(draw(CELLS) for _ in columns)] for name in draw(st.permutations(samples))]
    header = draw(st.sampled_from([["sample-id"], ["Run"], [""], []]))
    return {
        "samples": samples,
        "counts": counts,
        "metadata": [[*header, *columns], *rows],
        "tree": draw(st.booleans()),
    }


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(studies())
def test_any_study(tmp_path_factory: pytest.TempPathFactory, study: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    shutil.rmtree(folder, ignore_errors=True)
    sequences = random_sequences(4, bases=20)[: len(study["counts"][0])]
    path = write_table(folder, np.array(study["counts"]), sequences, study["samples"])
    text = "\n".join("\t".join(row) for row in study["metadata"]) + "\n"
    (folder / "metadata.tsv").write_bytes(text.encode("utf-8", "replace"))
    if study["tree"]:
        (folder / "tree.nwk").write_text("(" + ",".join(f"{name}:1" for name in sequences) + ",other:1);")
    same_findings(path, folder / "shards", isolate=False, **aamprep.find_beside(path))


AWKWARD = [
    "ambiguous-N.biom", "lowercase-one-asv.biom", "mixed-ids.biom", "nan-values.biom", "no-bytes.biom",
    "one-sample-lowercase.biom", "json-v1-rich.biom", "tree-mismatch-table.qza",
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_tables(real_data: RealData, tmp_path: Path, name: str) -> None:
    same_findings(real_data(f"awkward/{name}"), tmp_path / "shards")


@pytest.mark.real
@pytest.mark.long
def test_every_awkward_file_as_a_table(real_data: RealData, tmp_path: Path) -> None:
    for path in sorted(real_data("awkward").iterdir()):
        same_findings(path, tmp_path / path.name)


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "moving-pictures", "saliva32",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in (
                "lifestyle9", "cfs", "anemia-11402", "crc-udca2", "ibd-2538", "mackerel-11721", "oral-age",
                "exmp", "homes-10333", "thdmi-10317",
            )
        ),
    ],
)  # fmt: skip
def test_published_studies(real_data: RealData, tmp_path: Path, name: str) -> None:
    folder = real_data(name)
    path = next(path for path in (folder / "table.biom", folder / "table.qza") if path.exists())
    same_findings(path, tmp_path / "shards", **aamprep.find_beside(path))
