"""The weights that a run keeps are those that were best by the metric that was asked for."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aammodel
import aamprep
from aammodel.config.train import TrainConfig
from aammodel.objectives.distances import is_pair
from aammodel.runs.load import load_run
from aammodel.training.best_metric import correlations, metric_names, score_of
from aammodel.training.setup import make_plan, make_trainer
from tests.helpers.studies import Programs

TINY = {"width": 8, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 8}
TARGETS = {"unweighted_unifrac": 1.0, "braycurtis": 2.0}
SETTINGS: dict[str, Any] = {
    "targets": TARGETS,
    "max_steps": 5,
    "batch_size": 16,
    "learning_rate": 0.02,
    "validate_every": 1,
    "checkpoint_every": 1,
    "keep_checkpoints": 100,
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    folder = tmp_path_factory.mktemp("study")
    aamprep.simulate(folder / "data", samples=40, asvs=60)
    table, tree = folder / "data" / "table.biom", folder / "data" / "tree.nwk"
    ids = [f"S{number:05d}" for number in range(40)]
    lists = {"train": ids[:24], "validation": ids[24:]}
    return aamprep.shard(table, tree=tree, split_ids=lists, token_limit=32, output=folder / "shards").path


METRICS = [
    "loss",
    "nucleotide_loss",
    "distance_loss",
    "unweighted_unifrac_loss",
    "braycurtis_loss",
    "richness_loss",
    "unweighted_unifrac_r",
    "braycurtis_r",
]


def test_metrics_are_those_that_a_run_measures() -> None:
    assert metric_names(TrainConfig(targets=TARGETS, objectives={"richness": 0.1})) == METRICS
    assert metric_names(TrainConfig())[-1] == "unweighted_unifrac_r"


@pytest.mark.parametrize("metric", ["nucleotide_loss", "richness_loss", "braycurtis_r"])
def test_the_weights_of_the_best_value_are_kept(shards: Path, tmp_path: Path, metric: str) -> None:
    run = aammodel.pretrain(
        shards,
        output=tmp_path / "run",
        model=TINY,
        objectives={"richness": 0.1},
        best_metric=metric,
        **SETTINGS,
    )
    rows = [row for row in run.metrics() if "val_loss" in row]
    assert len(rows) == 6
    values = [row[f"val_{metric}"] for row in rows]
    best = int(rows[int((np.argmax if metric.endswith("_r") else np.argmin)(values))]["step"])  # type: ignore[arg-type]
    assert run.results is not None
    assert (run.results["best_metric"], run.results["best_step"]) == (metric, best)
    assert run.results["best"][f"val_{metric}"] == (max if metric.endswith("_r") else min)(values)
    assert ("val_braycurtis_r" in rows[0]) == metric.endswith("_r")
    if best:
        kept, there = (
            load_run(path).state_dict() for path in (run.path, run.path / f"checkpoints/step-{best:06d}")
        )
        assert all(torch.equal(kept[name], there[name]) for name in kept)


def test_losses_do_not_depend_on_the_metric(shards: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"max_steps": 3}
    runs = [
        aammodel.pretrain(shards, output=tmp_path / metric, model=TINY, best_metric=metric, **settings)
        for metric in ("loss", "braycurtis_r")
    ]
    losses = [[(row.get("loss"), row.get("val_loss")) for row in run.metrics()] for run in runs]
    assert losses[0] == losses[1]


def test_r_is_that_of_the_pairs_within_batches(shards: Path, tmp_path: Path) -> None:
    plan = make_plan(shards, TINY, TrainConfig(targets=TARGETS, batch_size=5, device="cpu"))
    trainer = make_trainer(plan, tmp_path / "run", resume=False)
    batches = list(islice(trainer.train_stream.from_batch(0), 3))
    found = correlations(trainer.stepper, batches)
    for index, target in enumerate(TARGETS):
        true, predicted = [], []
        for batch in batches:
            with torch.no_grad():
                features = trainer.model.eval()(batch).distance_features
                distance = trainer.model.distance(features, features)[index]
            pairs = is_pair(batch)[index]
            true += batch.distance[index][pairs].tolist()
            predicted += distance[pairs].tolist()
        assert len(true) == 3 * 10
        assert found[f"{target}_r"] == pytest.approx(np.corrcoef(true, predicted)[0, 1], abs=1e-9)


def test_an_undefined_r_is_the_worst() -> None:
    values = [{"val_braycurtis_loss": 1.0, "val_braycurtis_r": r} for r in (None, -0.9, 0.2)]
    scores = [score_of("braycurtis_r", each) for each in values]
    assert scores == sorted(scores, reverse=True)


def test_early_stopping_follows_the_metric(shards: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"max_steps": 40, "patience": 2, "learning_rate": 0.05}
    run = aammodel.pretrain(
        shards, output=tmp_path / "run", model=TINY, best_metric="nucleotide_loss", **settings
    )
    values = [row["val_nucleotide_loss"] for row in run.metrics() if "val_loss" in row]
    best = [min(values[: end + 1]) for end in range(len(values))]  # type: ignore[type-var]
    waited = [end - best.index(best[end]) for end in range(len(values))]
    assert waited[-1] == 2 or len(values) == 41
    assert all(each < 2 for each in waited[:-1])


@pytest.mark.parametrize("metric", ["r2", "val_loss", "jaccard_r", "faith_pd_loss", "unifrac_loss"])
def test_an_unknown_metric_is_refused_with_the_list(
    run: Programs, shards: Path, tmp_path: Path, metric: str
) -> None:
    ran = run("aammodel", "pretrain", shards, "--best-metric", metric, "--output", tmp_path / "run")
    assert ran.code == 2
    assert metric in ran.err
    assert (
        "loss, nucleotide_loss, distance_loss, unweighted_unifrac_loss, unweighted_unifrac_r"
        in ran.err.replace("\n", " ")
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("metric", ["distance_loss", "unweighted_unifrac_r"])
def test_a_metric_without_values_is_refused(shards: Path, tmp_path: Path, metric: str) -> None:
    data = shards.parent / "data"
    lists = {"train": ["S00000", "S00001"], "validation": ["S00002"]}
    alone = aamprep.shard(
        data / "table.biom", tree=data / "tree.nwk", split_ids=lists, output=tmp_path / "shards"
    )
    with pytest.raises(aammodel.UsageError, match=f"no validation batch has a value of {metric}"):
        aammodel.pretrain(alone, output=tmp_path / "run", model=TINY, max_steps=1, best_metric=metric)


def test_resuming_with_another_metric_chooses_anew(run: Programs, shards: Path, tmp_path: Path) -> None:
    first = aammodel.pretrain(shards, output=tmp_path / "run", model=TINY, **SETTINGS | {"max_steps": 3})
    with pytest.raises(aammodel.UsageError, match="best_metric"):
        aammodel.resume(first, best_metric="braycurtis_r")
    options = ["--allow-changes", "--best-metric", "braycurtis_r", "--max-steps", 6]
    ran = run("aammodel", "pretrain", "--resume", first.path, *options)
    assert ran.code == 0, ran.err
    assert "r of Bray-Curtis" in ran.err
    results = json.loads((first.path / "results.json").read_text())
    rows = {row["step"]: row["val_braycurtis_r"] for row in first.metrics() if "val_braycurtis_r" in row}
    assert set(rows) == {4, 5, 6}
    assert results["best_step"] == max(rows, key=lambda step: rows[step] or -1)
