"""AnnData of a study, written and read back by anndata: counts, names, metadata, embeddings and distances."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

import aammodel
import aamprep
from aammodel.workflows import embedding_files
from aammodel.workflows.anndata_files import write_anndata
from tests.helpers.names import NAMES, names, write_named_study
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table

ad = pytest.importorskip("anndata")

TINY = {"width": 16, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 8}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Return a folder with a table, metadata, a taxonomy, a tree, shards of them and a run."""
    folder = tmp_path_factory.mktemp("study")
    sequences = random_sequences(30)
    table = write_table(folder, random_counts(40, 30), sequences)
    (folder / "tree.nwk").write_text(random_newick(sequences))
    rows = [f"S{n}\t{'' if n % 5 == 0 else n}\t{'' if n % 3 == 0 else 'ab'[n % 2]}\t\n" for n in range(39)]
    (folder / "metadata.tsv").write_text("sample-id\tage\tsite/part\tempty\n" + "".join(rows))
    taxa = "".join(f"{sequence}\tk__{number}\n" for number, sequence in enumerate(sequences))
    (folder / "taxonomy.tsv").write_text("Feature ID\tTaxon\n" + taxa)
    aamprep.shard(table, output=folder / "shards", token_limit=6, **aamprep.find_beside(table))
    aammodel.pretrain(folder / "shards", output=folder / "run", model=TINY, max_steps=2, batch_size=8)
    return folder


@pytest.fixture(scope="module")
def model(study: Path) -> aammodel.Model:
    return aammodel.load(study / "run", device="cpu")


def written(run: Programs, study: Path, path: Path, *options: object, data: object = None) -> Any:
    ran = run(
        "aammodel", "embed", data or study / "shards", "--model", study / "run", "--output", path, *options
    )
    assert ran.code == 0, ran.err
    return ad.read_h5ad(path)


def check_study(study: Path, model: aammodel.Model, found: Any) -> None:
    expected = model.embed(study / "shards").frame()
    np.testing.assert_allclose(found.obsm["X_aam"], expected.loc[found.obs_names], atol=2e-6)
    asvs = model.embed_asvs(study / "shards")
    np.testing.assert_allclose(found.varm["aam"], asvs.frame().loc[found.var_names].iloc[:, 1:], atol=2e-6)
    counts = pd.DataFrame(found.X.toarray(), found.obs_names, found.var["sequence"])
    true = pd.DataFrame(random_counts(40, 30), [f"S{n}" for n in range(40)], random_sequences(30))
    pd.testing.assert_frame_equal(counts.loc[true.index, true.columns], true, check_names=False)
    taxa = {sequence: f"k__{number}" for number, sequence in enumerate(random_sequences(30))}
    assert found.var["taxon"].tolist() == [taxa[sequence] for sequence in found.var["sequence"]]
    assert found.obs["age"].dtype == np.float64
    for sample, age, site in zip(found.obs_names, found.obs["age"], found.obs["site_part"], strict=True):
        number = int(sample[1:])
        assert pd.isna(age) == (number % 5 == 0 or number == 39)
        assert pd.isna(age) or age == number
        assert pd.isna(site) == (number % 3 == 0 or number == 39)
        assert pd.isna(site) or site == "ab"[number % 2]
    assert json.loads(found.uns["aam"]["renamed_columns"]) == {"site_part": "site/part"}
    predicted = model.distances(study / "shards")
    order = [predicted.index(sample) for sample in found.obs_names]
    np.testing.assert_allclose(
        found.obsp["predicted_unweighted_unifrac"], predicted.data[np.ix_(order, order)], atol=1e-5
    )


def test_shards_are_read_back(run: Programs, study: Path, model: aammodel.Model, tmp_path: Path) -> None:
    found = written(run, study, tmp_path / "e.h5ad", "--color-by", "site/part")
    check_study(study, model, found)
    assert (tmp_path / "e.png").exists()
    assert set(found.obs["split"]) == {"train", "validation", "test"}
    true = aammodel.distance_matrix(study / "shards")
    order = [true.index(sample) for sample in found.obs_names]
    np.testing.assert_array_equal(found.obsp["unweighted_unifrac"], true.data[np.ix_(order, order)])
    origin = found.uns["aam"]
    assert origin["model"] == str(study / "run")
    assert json.loads(origin["preparation"])["token_limit"] == 6
    assert json.loads(origin["model_config"])["width"] == 16
    assert set(origin["versions"]) >= {"torch", "aamprep"}
    again = written(run, study, tmp_path / "e.h5ad", "--overwrite", "--split", "test")
    assert set(again.obs["split"]) == {"test"}
    whole = pd.DataFrame(found.X.toarray(), found.obs_names, found.var_names)
    part = pd.DataFrame(again.X.toarray(), again.obs_names, again.var_names)
    pd.testing.assert_frame_equal(part, whole.loc[part.index, part.columns])


@pytest.mark.parametrize("has_tree", [False, True])
def test_a_table_is_read_back(
    run: Programs, study: Path, model: aammodel.Model, tmp_path: Path, has_tree: bool
) -> None:
    options = ("--tree", study / "tree.nwk") if has_tree else ()
    found = written(run, study, tmp_path / "e.h5ad", *options, data=study / "table.biom")
    check_study(study, model, found)
    assert found.obs_names.to_list() == [f"S{number}" for number in range(40)]
    assert ("unweighted_unifrac" in found.obsp) == has_tree


def check_names(model: aammodel.Model, folder: Path, drawn: list[str]) -> None:
    study = write_named_study(folder, drawn)
    beside = {role: path for role, path in study.beside().items() if role != "distances"}
    write_anndata(folder / "e.h5ad", model.to_anndata(study.table, **beside))
    found = ad.read_h5ad(folder / "e.h5ad")
    assert sorted(found.obs_names) == sorted(drawn)
    assert sorted(found.var["sequence"]) == sorted(study.sequences)
    columns = model.embed(study.table, **beside).metadata.columns
    renamed = json.loads(found.uns["aam"]["renamed_columns"])
    assert [renamed.get(name, name) for name in found.obs.columns[1:]] == list(columns)
    for name, column in zip(found.obs.columns[1:], columns.values(), strict=True):
        stored = [None if pd.isna(value) else value for value in found.obs[name]]
        assert stored == [None if pd.isna(value) else value for value in column.values]


def test_hostile_names_are_kept(model: aammodel.Model, tmp_path: Path) -> None:
    check_names(model, tmp_path, list(NAMES))


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=names())
def test_drawn_names_are_kept(model: aammodel.Model, drawn: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_names(model, Path(folder), drawn)


def test_what_cannot_be_written_is_refused_with_a_fix(
    run: Programs, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*options: object) -> str:
        ran = run("aammodel", "embed", study / "shards", "--model", study / "run", *options)
        assert ran.code == 2
        assert "Fix: " in ran.err
        return ran.err

    output = ("--output", tmp_path / "e.h5ad")
    assert "together with their ASVs" in refused(*output, "--asvs")
    assert "--tree: only an .h5ad file" in refused(
        "--output", tmp_path / "e.tsv", "--tree", study / "tree.nwk"
    )
    (tmp_path / "e.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n of somebody else")
    assert "not replaced" in refused(*output, "--overwrite")
    monkeypatch.setattr(embedding_files, "find_spec", lambda name: None)
    assert "pip install anndata" in refused(*output, "--overwrite")
