"""Names from files are data: no library takes them for patterns, code, markup or names of its own."""

import tempfile
from pathlib import Path

import pytest
import skbio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import aammodel
import aamprep
from aamprep.shards.shard_set import ShardSet
from tests.helpers.names import NAMES, NamedStudy, is_fasta_id, is_metadata_id, names, write_named_study
from tests.helpers.studies import Programs


def assert_same_names(shards: ShardSet, study: NamedStudy) -> None:
    """Assert that shards have every name of a study, character by character, at the right place."""
    assert set(shards.samples()["sample_id"]) == set(study.names)
    name_of = dict(zip(study.sequences, study.names, strict=True))
    taxon_of = dict(zip(study.sequences, reversed(study.names), strict=True))
    for asv in shards.asvs().iter_rows(named=True):
        name = name_of[asv["sequence"]]
        assert asv["asv_id"] == (name if is_fasta_id(name) else asv["sequence"])
        assert asv["taxon"] == f"k__{taxon_of[asv['sequence']]}"
    metadata = shards.metadata()
    assert metadata is not None
    stored = dict(zip(study.cells, metadata.columns[1:], strict=True))
    assert [name for name, other in stored.items() if name != other] == ["sample_id"] * (
        "sample_id" in stored
    )
    for row in metadata.iter_rows(named=True):
        for column, cells in study.cells.items():
            cell, stored_cell = cells[row["sample_id"]], row[stored[column]]
            if not is_metadata_id(row["sample_id"]):
                assert stored_cell is None
            elif isinstance(stored_cell, float):
                assert stored_cell == float(cell)
            else:
                assert stored_cell == cell


def shard_and_compare(folder: Path, given: list[str]) -> Path:
    """Validate, shard and verify a study with the given names, and return its shards."""
    study = write_named_study(folder, given)
    report = aamprep.validate(study.table, **study.beside())
    assert report.is_valid, str(report)
    written = aamprep.shard(study.table, **study.beside(), output=folder / "shards")
    assert {**written.report.counts} == report.counts
    assert aamprep.verify(folder / "shards").is_valid
    assert_same_names(aamprep.open_shards(folder / "shards"), study)
    return folder / "shards"


def test_every_odd_name_is_kept_everywhere(tmp_path: Path) -> None:
    shards = shard_and_compare(tmp_path, list(NAMES))
    matrix = aammodel.distance_matrix(shards, "precomputed")
    given = skbio.DistanceMatrix.read(tmp_path / "d.tsv")
    assert set(matrix.ids) == set(NAMES)
    # Shards store distances as float32.
    assert_allclose(matrix.filter(given.ids).redundant_form(), given.redundant_form(), rtol=1e-7)


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_drawn_names_are_kept_everywhere(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shard_and_compare(Path(folder), data.draw(names()))


def test_names_are_printed_as_they_are(run: Programs, tmp_path: Path) -> None:
    given = ["a:1:b", ":smile:", "[bold]x", "[/]", "\\[x]", "a\\\\", "{}", "%s", "$x$", "_x"]
    for name in given:
        study = write_named_study(tmp_path / name, given)
        ran = run("aamprep", "inspect", study.folder / "m.tsv")
        assert ran.code == 0
        beside = ("--rep-seqs", study.folder / "r.fasta", "--metadata", study.folder / "m.tsv")
        ran = run("aamprep", "validate", study.table, *beside)
        assert ran.code == 0, ran.out
        assert f"{name}/table.biom" in ran.out.replace("\n", "").replace(" ", "")
        assert f"{name}/m.tsv" in ran.out.replace("\n", "").replace(" ", "")


def test_the_page_of_a_validation_has_names_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)<" / "b>&amp;"
    study = write_named_study(folder, ["<script>", "&lt;", "</h1>", "a<b", "'\"", "`a`"])
    page = aamprep.validate(study.table, **study.beside()).to_html(tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert page.count("</h1>") == 1
    assert "&lt;script&gt;alert(1)&lt;/b&gt;&amp;amp;" in page


def test_a_character_that_turns_the_direction_of_text_is_shown_as_an_escape(
    run: Programs, tmp_path: Path
) -> None:
    study = write_named_study(tmp_path / "\u202etxt", ["a", "b", "c", "d"])
    ran = run("aamprep", "validate", study.table, "--rep-seqs", study.folder / "r.fasta")
    assert "\u202e" not in ran.out
    assert "\\u202etxt" in ran.out


@pytest.mark.parametrize("name", ["*", "^.*$", "a=b", "[x]", "sample_id", "x" * 300, "$", "a.b"])
def test_samples_are_chosen_and_split_by_a_column_of_any_name(name: str, tmp_path: Path) -> None:
    study = write_named_study(tmp_path, ["first", "second", name, "third", "fourth", "a"])
    wanted = study.cells[name]["second"]
    written = aamprep.shard(
        study.table,
        metadata=study.folder / "m.tsv",
        rep_seqs=study.folder / "r.fasta",
        where=[f"{name}={wanted}"],
        split_by=name,
        output=tmp_path / "shards",
    )
    chosen = {sample for sample, cell in study.cells[name].items() if cell == wanted}
    assert set(written.open().samples()["sample_id"]) == chosen - (set() if is_metadata_id(name) else {name})
    assert aamprep.verify(tmp_path / "shards").is_valid
