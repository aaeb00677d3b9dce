"""The Python interface: against the commands, against scikit-bio, and in the kernel of a notebook."""

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import biom
import nbformat
import numpy as np
import pandas as pd
import pytest
import skbio
from nbclient import NotebookClient

import aammodel
import aamprep
from aam_schemas.shards import SPLITS
from tests.helpers.shards import make_shards
from tests.helpers.studies import Programs

TINY = {"width": 16, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 8}
SETTINGS = {"max_steps": 6, "batch_size": 8, "learning_rate": 0.003, "validate_every": 3}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Return a folder with a simulated study, its shards and a short run."""
    folder = tmp_path_factory.mktemp("study")
    aamprep.simulate(folder / "data", samples=40, asvs=60)
    aamprep.shard(
        folder / "data" / "table.biom",
        tree=folder / "data" / "tree.nwk",
        output=folder / "shards",
        token_limit=32,
        rarefy_depth=500,
    )
    aammodel.pretrain(folder / "shards", output=folder / "run", model=TINY, **SETTINGS)
    return folder


@pytest.fixture(scope="module")
def model(study: Path) -> aammodel.Model:
    return aammodel.load(study / "run")


def test_a_run_from_python_is_that_of_the_command(run: Programs, study: Path, tmp_path: Path) -> None:
    lines = [f"{key} = {value}" for key, value in SETTINGS.items()]
    tables = ["[train]", *lines, "[model]", *(f"{key} = {value}" for key, value in TINY.items())]
    (tmp_path / "config.toml").write_text("\n".join(tables))
    options = ["--config", tmp_path / "config.toml", "--output", tmp_path / "run"]
    assert run("aammodel", "pretrain", study / "shards", *options).code == 0
    losses = [
        [
            {key: row.get(key) for key in ("step", "loss", "val_loss", "gradient_norm")}
            for row in each.metrics()
        ]
        for each in (aammodel.Run(study / "run"), aammodel.Run(tmp_path / "run"))
    ]
    assert losses[0] == losses[1]


def test_a_file_gives_defaults_and_arguments_come_first(study: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[train]\nmax_steps = 2\nbatch_size = 4\n[model]\nwidth = 8\n")
    given = aammodel.pretrain(
        study / "shards",
        output=tmp_path / "run",
        config=tmp_path / "config.toml",
        model={**TINY, "width": 12},
        batch_size=6,
        targets=["jaccard", "braycurtis"],
    )
    config = given.config
    assert (config["train"]["max_steps"], config["train"]["batch_size"]) == (2, 6)
    assert config["model"]["width"] == 12
    assert config["train"]["targets"] == {"jaccard": 1.0, "braycurtis": 1.0}
    assert given.results is not None
    assert given.results["steps"] == 2
    assert given.is_finished


def test_resume_continues_as_if_never_stopped(study: Path, tmp_path: Path) -> None:
    options = {**SETTINGS, "checkpoint_every": 2, "schedule": "constant"}
    whole = aammodel.pretrain(study / "shards", output=tmp_path / "whole", model=TINY, **options)
    part = aammodel.pretrain(
        study / "shards", output=tmp_path / "part", model=TINY, **{**options, "max_steps": 4}
    )
    resumed = aammodel.resume(part, allow_changes=True, max_steps=6)
    last = [
        {key: row.metrics()[-2][key] for key in ("step", "loss", "gradient_norm")} for row in (whole, resumed)
    ]
    assert last[0] == last[1]
    assert "finished" in repr(resumed)
    assert aammodel.Run(str(resumed.path)).results == resumed.results  # type: ignore[arg-type]
    assert "<table>" in resumed._repr_html_()


def test_predicted_distances_are_those_of_the_report(study: Path, model: aammodel.Model) -> None:
    true = aammodel.distance_matrix(study / "shards", split="validation")
    predicted = model.distances(study / "shards", split="validation")
    assert isinstance(predicted, skbio.DistanceMatrix)
    assert predicted.ids == true.ids
    results = aammodel.Run(study / "run").results
    assert results is not None
    r = np.corrcoef(predicted.condensed_form(), true.condensed_form())[0, 1]
    assert r == pytest.approx(results["targets"]["unweighted_unifrac"]["r"], abs=1e-6)


def test_true_distances_are_those_of_scikit_bio(study: Path) -> None:
    got = aammodel.distance_matrix(study / "shards")
    table = aamprep.open_shards(study / "shards").table()
    tree = skbio.TreeNode.read(str(study / "data" / "tree.nwk"))
    counts = table.matrix_data.toarray().T.astype(int)
    expected = skbio.diversity.beta_diversity(
        "unweighted_unifrac", counts, ids=table.ids(), taxa=table.ids(axis="observation"), tree=tree
    )
    difference = got.filter(expected.ids).data - expected.data
    assert np.abs(difference).max() < 1e-9
    written = io.StringIO()
    got.write(written)
    assert skbio.DistanceMatrix.read(io.StringIO(written.getvalue())).ids == got.ids


def test_a_table_gives_what_its_shards_give(study: Path, model: aammodel.Model) -> None:
    path = study / "data" / "table.biom"
    from_shards = model.embed(study / "shards")
    for table in (path, str(path), biom.load_table(str(path))):
        got = model.embed(table)
        assert list(got.sample_ids) == list(biom.load_table(str(path)).ids())
        order = [got.sample_ids.index(each) for each in from_shards.sample_ids]
        assert sorted(order) == list(range(len(order)))
        np.testing.assert_array_equal(got.embedding[order], from_shards.embedding)
        np.testing.assert_array_equal(got.distance_features[order], from_shards.distance_features)
    assert from_shards.embedding.shape == (40, TINY["width"])
    distances = model.distances(biom.load_table(str(path)))
    expected = model.distances(study / "shards").filter(distances.ids)
    # Rows in another order are added up in other blocks.
    np.testing.assert_allclose(distances.data, expected.data, rtol=0, atol=1e-6)


def test_a_split_has_its_samples(study: Path, model: aammodel.Model) -> None:
    whole = model.embed(study / "shards")
    parts = [model.embed(aamprep.open_shards(study / "shards"), split=split) for split in SPLITS]
    assert sum((part.sample_ids for part in parts), ()) == whole.sample_ids
    np.testing.assert_allclose(
        np.concatenate([part.embedding for part in parts]), whole.embedding, rtol=1e-5, atol=1e-6
    )


def test_evaluation_is_that_of_the_command(
    run: Programs, study: Path, model: aammodel.Model, tmp_path: Path
) -> None:
    ran = run(
        "aammodel", "evaluate", study / "run", study / "shards", "--json", "--output", tmp_path / "evaluation"
    )
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["split"] == "test"
    assert document.items() >= model.evaluate(study / "shards").as_dict().items()


def test_samples_without_a_distance_are_left_out_and_named(
    run: Programs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The tree lacks half of the ASVs, and one sample has no other.
    table = pd.DataFrame({"a": [5, 0], "b": [3, 4], "c": [2, 1]}, index=["A" * 30, "C" * 30]).T
    counts = biom.Table(table.T.to_numpy(float), table.columns, table.index)
    tree = skbio.TreeNode.read(io.StringIO(f"({'A' * 30}:1.0,{'G' * 30}:1.0):0.0;"))
    lonely = biom.Table(np.array([[0.0], [7.0]]), table.columns, ["d"])
    both = counts.merge(lonely)
    shards = aamprep.shard(both, tree=tree, output=tmp_path / "shards")
    matrix = aammodel.distance_matrix(shards)
    assert sorted(matrix.ids) == ["a", "b", "c"]
    assert "samples without a distance are left out: d" in caplog.text


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda folder: aammodel.pretrain(folder / "shards", max_step=3), "max_step"),
        (lambda folder: aammodel.pretrain(folder / "shards", read_share=0.5), "read_share"),
        (lambda folder: aammodel.pretrain(folder / "shards", model={"heads": 2}), "model"),
        (lambda folder: aammodel.pretrain(folder / "shards", output=folder / "run"), "run"),
        (lambda folder: aammodel.pretrain(folder / "nothing"), "nothing"),
        (lambda folder: aammodel.pretrain(3.5), "shards"),
        (lambda folder: aammodel.load(folder / "shards"), "shards"),
        (
            lambda folder: aammodel.load(folder / "run").distances(folder / "shards", target="jaccard"),
            "target",
        ),
        (lambda folder: aammodel.load(folder / "run").embed(folder / "shards", split="all"), "split"),
        (lambda folder: aammodel.load(folder / "run").embed(folder / "shards", tree="t.nwk"), "tree"),
        (lambda folder: aammodel.distance_matrix(folder / "shards", "unifrac"), "metric"),
    ],
)
def test_wrong_arguments_are_named(study: Path, call: object, where: str) -> None:
    with pytest.raises(aammodel.UsageError) as raised:
        call(study)  # type: ignore[operator]
    assert where in raised.value.where
    assert raised.value.fix


def test_an_invalid_table_says_why(study: Path, model: aammodel.Model) -> None:
    table = biom.Table(np.ones((2, 2)), ["OTU1", "OTU2"], ["a", "b"])
    with pytest.raises(aammodel.InvalidDataError) as raised:
        model.embed(table)
    assert "OTU" in str(getattr(raised.value, "report", raised.value))


def test_longer_sequences_are_refused(study: Path, model: aammodel.Model) -> None:
    table = biom.Table(np.ones((2, 2)) * 600, ["ACGT" * 60, "GGTA" * 60], ["a", "b"])
    with pytest.raises(aammodel.UsageError, match="240 bases"):
        model.embed(table)


def test_a_model_without_preparation_takes_shards_only(
    run: Programs, study: Path, model: aammodel.Model
) -> None:
    from dataclasses import replace

    old = replace(model, preparation=None)
    assert len(old.embed(study / "shards").sample_ids) == 40
    with pytest.raises(aammodel.UsageError, match="does not know how its samples were prepared"):
        old.embed(study / "data" / "table.biom")


def test_training_in_another_thread(run: Programs, study: Path, tmp_path: Path) -> None:
    runs = []
    thread = threading.Thread(
        target=lambda: runs.append(
            aammodel.pretrain(study / "shards", output=tmp_path / "run", model=TINY, max_steps=1)
        )
    )
    thread.start()
    thread.join()
    assert runs[0].is_finished


def test_shards_of_the_command_and_of_python_are_taken_alike(run: Programs, tmp_path: Path) -> None:
    opened = make_shards(run, tmp_path, "--token-limit", 8)
    ids = [aammodel.distance_matrix(each).ids for each in (opened, opened.folder, str(opened.folder))]
    assert ids[0] == ids[1] == ids[2]


def test_importing_is_light_and_lists_the_public_names() -> None:
    code = (
        "import sys, time; begun = time.perf_counter(); import aammodel\n"
        "seconds = time.perf_counter() - begun\n"
        "heavy = {'torch', 'polars', 'matplotlib', 'numpy', 'pyarrow', 'skbio', 'biom', 'sklearn'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert seconds < 0.1, seconds\n"
        "assert set(aammodel.__all__) <= set(dir(aammodel))\n"
        "for name in aammodel.__all__: getattr(aammodel, name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


NOTEBOOK = """
import biom, skbio, aamprep, aammodel
table, tree = biom.load_table("data/table.biom"), skbio.TreeNode.read("data/tree.nwk")
shards = aamprep.shard(table, tree=tree, token_limit=32)
run = aammodel.pretrain(shards, max_steps=4, model={model})
run.model.distances(shards)
"""


def test_five_lines_in_a_notebook(study: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(study / "data")
    cells = [
        "%matplotlib inline\nimport matplotlib\nbackend = matplotlib.get_backend()",
        NOTEBOOK.replace("{model}", repr(TINY)),
        "assert matplotlib.get_backend() == backend, matplotlib.get_backend()\n"
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "run",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells]
    progress = next(each for each in outputs[1] if "<progress" in each.get("data", {}).get("text/html", ""))
    assert 'value="4" max="4"' in progress["data"]["text/html"]
    assert "validation loss" in progress["data"]["text/html"]
    assert "DistanceMatrix" in outputs[1][-1]["data"]["text/plain"] or "distance matrix" in str(
        outputs[1][-1]
    )
    assert any("image/png" in each.get("data", {}) for each in outputs[2])
    assert "<table>" in outputs[3][0]["data"]["text/html"]
