"""Cross-validation of a simulated study: what is found, what is written, and the answers to bad input."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aammodel
import aamprep
from aam_schemas.common.errors import UsageError
from aammodel.methods import registry
from aammodel.methods.registry import METHODS, Method, register_method
from tests.helpers.studies import Programs

FAST = ["no_microbes", "group_mean", "kernel_jaccard", "kernel_unweighted_unifrac", "neighbors_braycurtis"]
TINY = {"width": 16, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 8}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with shards whose metadata have habitats, ages, subjects of three samples, and more."""
    folder = tmp_path_factory.mktemp("labels")
    aamprep.simulate(folder / "data", samples=60, asvs=80)
    rows = [line.split("\t") for line in (folder / "data" / "metadata.tsv").read_text().splitlines()]
    head, rng = rows[0], np.random.default_rng(0)
    more = ["subject", "coin", "empty", "same", "note"]
    with (folder / "metadata.tsv").open("w") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([*head, *more])
        for number, row in enumerate(rows[1:]):
            coin = ["heads", "tails"][rng.integers(2)]
            writer.writerow([*row, f"p{number // 3}", coin, "", "x", f"text {number % 7}"])
    aamprep.shard(
        folder / "data" / "table.biom",
        tree=folder / "data" / "tree.nwk",
        metadata=folder / "metadata.tsv",
        output=folder / "shards",
        token_limit=64,
        rarefy_depth=1000,
    )
    return folder


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NUM_TREES", 20)


def test_a_method_can_embed_the_samples_itself(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its predictions are those of the same estimator on the embedding of the model."""
    shards = study / "shards"
    run = aammodel.pretrain(
        shards, output=study / "embedder-run", model=TINY, max_steps=1, targets="braycurtis", overwrite=True
    )
    sequences = aamprep.open_shards(shards).asvs(["sequence"])["sequence"].to_list()
    embedder = aammodel.AamEmbedder(run, rep_seqs=sequences)

    def make(*steps: object) -> Callable[..., object]:
        return lambda task, inner: make_pipeline(*steps, StandardScaler(), LogisticRegression(max_iter=500))

    monkeypatch.setattr(registry, "METHODS", dict(METHODS))
    register_method("own", Method("own", "counts", make(embedder), is_baseline=False))
    register_method("ours", Method("ours", "embedding", make(), is_baseline=False))
    found = aammodel.crossval(
        shards, "habitat", group_by="subject", model=run, methods=["own", "ours"], draws=10
    )
    np.testing.assert_allclose(
        found.predictions["own"].values, found.predictions["ours"].values, rtol=0, atol=1e-3
    )


def test_a_planted_signal_is_found(study: Path) -> None:
    shards = study / "shards"
    habitat = aammodel.crossval(shards, "habitat", group_by="subject", methods=FAST, draws=200)
    assert habitat.interval("kernel_jaccard").low > 0.6
    assert habitat.interval("no_microbes").value == pytest.approx(0.25, abs=0.05)
    assert habitat.difference("kernel_jaccard", "no_microbes").low > 0
    assert "more than noise" not in habitat.conclusion()[1:]
    age = aammodel.crossval(shards, "age", group_by="subject", methods=FAST, draws=200)
    assert age.interval("kernel_unweighted_unifrac").value > age.interval("no_microbes").value


def test_a_coin_is_not_predicted(study: Path) -> None:
    coin = aammodel.crossval(study / "shards", "coin", group_by="subject", methods=FAST, draws=200, repeats=2)
    for name in coin.predictions:
        found = coin.interval(name)
        assert found.low < 0.5 < found.high or found.value == 0.5
    assert any("No method" in sentence for sentence in coin.conclusion())


def test_ungrouped_subjects_are_warned_of_and_both_figures_are_shown(study: Path) -> None:
    found = aammodel.crossval(study / "shards", "habitat", methods=["kernel_jaccard"], draws=20)
    assert "column subject has 20 values for 60 samples" in found.warnings[0]
    assert found.folds.groups is not None
    assert found.ungrouped is not None
    assert found.ungrouped.folds.groups is None
    assert found.as_dict()["random_folds"]["methods"]["kernel_jaccard"]


def test_every_value_is_left_out_once(study: Path) -> None:
    found = aammodel.crossval(
        study / "shards", "habitat", leave_out="subject", methods=["no_microbes"], draws=5
    )
    assert len(found.folds.names) == 20
    assert not np.isnan(found.predictions["no_microbes"].values).any()


def test_the_embedding_of_a_model_is_one_more_method(study: Path) -> None:
    run = aammodel.pretrain(study / "shards", output=study / "run", model=TINY, max_steps=2, batch_size=8)
    names = ["kernel_jaccard", "embedding_linear", "kernel_predicted", "untrained_linear"]
    found = aammodel.crossval(
        study / "shards", "habitat", model=run, group_by="subject", methods=names, draws=50
    )
    assert set(found.predictions) == set(names)
    assert any("The model" in sentence for sentence in found.conclusion())
    without = aammodel.crossval(study / "shards", "habitat", group_by="subject", methods=names, draws=5)
    assert set(without.predictions) == {"kernel_jaccard"}


def test_a_method_of_your_own_is_fitted_on_the_same_folds(study: Path) -> None:
    name = "my_forest"
    register_method(
        name, Method("my forest", "braycurtis", lambda task, inner: RandomForestClassifier(5, random_state=0))
    )
    try:
        with pytest.raises(UsageError, match="there is a method"):
            register_method(name, METHODS[name])
        found = aammodel.crossval(study / "shards", "habitat", group_by="subject", methods=[name], draws=5)
        assert found.best == name
    finally:
        del METHODS[name]
    with pytest.raises(UsageError, match="there is no input"):
        register_method("other", Method("other", "nothing", lambda task, inner: None))


def test_permuted_labels_give_a_p_value(study: Path) -> None:
    shards, fast = study / "shards", {"group_by": "subject", "methods": ["kernel_jaccard"], "draws": 5}
    assert aammodel.crossval(shards, "habitat", permutations=9, **fast).p_value == 0.1
    coin = aammodel.crossval(shards, "coin", permutations=9, **fast).p_value
    assert coin is not None
    assert coin > 0.1


def columns_of(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    return header, rows


def test_the_files_have_the_shapes_of_q2_sample_classifier(
    run: Programs, study: Path, tmp_path: Path
) -> None:
    """As its format classes check them: `_format.py` of q2-sample-classifier."""
    options = ["--method", "forest", "--method", "kernel_jaccard", "--group-by", "subject", "--draws", "20"]
    for target in ("habitat", "age"):
        folder = tmp_path / target
        ran = run("aammodel", "crossval", study / "shards", "--target", target, *options, "--output", folder)
        assert ran.code == 0, ran.err
        # PredictionsFormat: a header of two columns, then an id and a value; numbers for a regression.
        header, rows = columns_of(folder / "predictions.tsv")
        assert header == ["id", "prediction"]
        assert len({row[0] for row in rows}) == len(rows) == 60
        assert all(len(row) == 2 for row in rows)
        if target == "age":
            assert np.isfinite([float(row[1]) for row in rows]).all()
            assert not (folder / "class_probabilities.tsv").exists()
        else:
            assert {row[1] for row in rows} <= {"gut", "skin", "soil", "sea"}
            # ProbabilitiesFormat: an id, and a number for each class.
            header, rows = columns_of(folder / "class_probabilities.tsv")
            assert header == ["id", "gut", "sea", "skin", "soil"]
            shares = np.array([[float(cell) for cell in row[1:]] for row in rows])
            assert shares.sum(axis=1) == pytest.approx(1)
        # ImportanceFormat: an id of a feature, and numbers.
        header, rows = columns_of(folder / "importance.tsv")
        assert header == ["id", "importance"]
        values = [float(row[1]) for row in rows]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1)
        header, rows = columns_of(folder / "folds.tsv")
        assert header == ["id", "repeat", "fold", "group"]
        fold_of: dict[str, set[str]] = {}
        for _, _, fold, group in rows:
            fold_of.setdefault(group, set()).add(fold)
        assert all(len(folds) == 1 for folds in fold_of.values())
        metrics = json.loads((folder / "metrics.json").read_text())
        assert set(metrics["methods"]) == {"forest", "kernel_jaccard"}
        everything = pl.read_parquet(folder / "predictions.parquet")
        assert everything.group_by("method").len()["len"].to_list() == [60, 60]
        assert (folder / "report.html").read_text().count("<img") == 2


def test_several_targets_have_a_folder_each_and_are_replaced(
    run: Programs, study: Path, tmp_path: Path
) -> None:
    options = ["--target", "habitat", "--target", "age", "--method", "no_microbes", "--draws", "5"]
    command = ["crossval", study / "shards", *options, "--output", tmp_path / "cv"]
    assert run("aammodel", *command, "--json").code == 0
    assert sorted(path.name for path in (tmp_path / "cv").iterdir()) == ["target-age", "target-habitat"]
    again = run("aammodel", *command)
    assert again.code == 2
    assert run("aammodel", *command, "--overwrite").code == 0


BAD = [
    (["--target", "habitats"], "did you mean 'habitat'"),
    (["--target", "empty"], "no value for any sample"),
    (["--target", "same"], "nothing to predict"),
    (["--target", "note", "--task", "regression"], "cannot be regressed"),
    (["--target", "habitat", "--group-by", "subject", "--folds", "21"], "set --folds to 2 to 20"),
    (["--target", "habitat", "--group-by", "same"], "choose a column with two groups or more"),
    (["--target", "habitat", "--folds", "1"], "set 2 or more"),
    (["--target", "habitat", "--group-by", "subject", "--leave-out", "subject"], "choose one of them"),
    (["--target", "habitat", "--method", "magic"], "choose among: no_microbes"),
    (["--target", "habitat", "--metadata", "missing.tsv"], "there is no such file"),
    (["--target", "habitat", "--method", "embedding_linear"], "needs a model (--from RUN)"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_input_is_answered_with_what_to_do(
    run: Programs, study: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    ran = run("aammodel", "crossval", study / "shards", *options, "--output", tmp_path / "cv")
    assert ran.code == 2, ran.err
    assert words in " ".join(ran.err.split())
    assert not (tmp_path / "cv").exists()


def test_methods_that_lack_their_input_are_named(study: Path) -> None:
    methods = ["no_microbes", "kernel_predicted", "group_mean"]
    found = aammodel.crossval(study / "shards", "habitat", methods=methods, leave_out="coin", draws=5)
    assert "method kernel_predicted needs a model (--from RUN)" in found.warnings
    assert not any("group_mean" in warning for warning in found.warnings)


def test_few_groups_are_warned_of(study: Path) -> None:
    few = aammodel.crossval(study / "shards", "habitat", methods=["no_microbes"], leave_out="coin", draws=5)
    assert any("2 groups are few" in warning for warning in few.warnings)
    many = aammodel.crossval(
        study / "shards", "habitat", methods=["no_microbes"], group_by="subject", draws=5
    )
    assert not any("are few" in warning for warning in many.warnings)


def test_metadata_that_came_later_are_read_by_the_rules_of_qiime_2(study: Path, tmp_path: Path) -> None:
    rows = [line.split("\t") for line in (study / "metadata.tsv").read_text().splitlines()]
    later = tmp_path / "later.tsv"
    later.write_text("id\tlate\n" + "".join(f"{row[0]}\t{row[1]}\n" for row in rows[1:50]))
    found = aammodel.crossval(study / "shards", "late", metadata=later, methods=["no_microbes"], draws=5)
    assert len(found.target.values) == 49
    assert "11 of 60 samples have no late" in found.warnings[0]
    later.write_text("id\tlate\nother\tx\n")
    with pytest.raises(aammodel.InvalidDataError, match="none of its 1 samples are in the shards; it has"):
        aammodel.crossval(study / "shards", "late", metadata=later)
    later.write_text("id\tlate\n" + "".join(f"{row[0]}_L001\t{row[1]}\n" for row in rows[1:50]))
    with pytest.raises(aammodel.InvalidDataError, match="49 would match if the suffix were taken off"):
        aammodel.crossval(study / "shards", "late", metadata=later)
