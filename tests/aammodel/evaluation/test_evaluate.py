"""`aammodel evaluate`: each figure agrees with an independent computation."""

import itertools
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.spatial.distance import braycurtis, jaccard, pdist
from scipy.stats import pearsonr

from aam_schemas.vocabulary import encode
from aammodel.data.shards import ShardSet, open_shards
from aammodel.evaluation.baselines import kmer_presence
from aammodel.evaluation.distances import FEW_SAMPLES, Prediction
from aammodel.evaluation.embed import sample_embeddings
from aammodel.runs.load import load_run
from aammodel.sample import Sample
from tests.helpers.shards import counts_by_sample, make_shards, tiny_config
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table


@pytest.fixture
def trained(run: Programs, tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    folder.mkdir()
    make_shards(run, folder)
    targets = ("--target", "unweighted_unifrac", "--target", "braycurtis")
    options = ("--output", folder / "run", "--config", tiny_config(folder), "--max-steps", 2)
    ran = run("aammodel", "pretrain", folder / "shards", *options, *targets)
    assert ran.code == 0, ran.err
    return folder


def test_figures_agree_with_scipy(run: Programs, trained: Path, tmp_path: Path) -> None:
    options = ("--split", "train", "--output", tmp_path / "found", "--json")
    ran = run("aammodel", "evaluate", trained / "run", trained / "shards", *options)
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document == json.loads((tmp_path / "found" / "evaluation.json").read_text())
    files = sorted((trained / "shards").glob("samples-train-*.parquet"))
    ids = pl.read_parquet(files)["sample_id"].to_list()
    counts = np.array([counts_by_sample()[sample_id] for sample_id in ids])
    pairs = list(itertools.combinations(range(len(ids)), 2))
    assert document["samples"] == len(ids)
    found = document["targets"]["braycurtis"]
    assert (found["samples"], found["pairs"]) == (len(ids), len(pairs))
    true = np.array([braycurtis(counts[i], counts[j]) for i, j in pairs])
    by_jaccard = np.array([jaccard(counts[i] > 0, counts[j] > 0) for i, j in pairs])
    assert found["baseline_r"]["jaccard"] == pytest.approx(pearsonr(by_jaccard, true)[0], abs=1e-9)
    assert found["baseline_r"]["braycurtis"] == pytest.approx(1.0)
    model = load_run(trained / "run")
    embedding = torch.from_numpy(sample_embeddings(model, opened(trained), "train").distance_features)
    with torch.no_grad():
        predicted = model.distance(embedding, embedding)[1].double().numpy()
    predicted = np.array([predicted[i, j] for i, j in pairs])
    assert found["r"] == pytest.approx(pearsonr(predicted, true)[0], abs=1e-5)
    assert found["mean_absolute_error"] == pytest.approx(np.abs(predicted - true).mean(), abs=1e-6)
    explained = 1 - ((predicted - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
    assert found["r2"] == pytest.approx(explained, abs=1e-5)
    guessed = document["nucleotides"]
    assert 0 <= guessed["accuracy"] <= 1
    assert guessed["masked"] > 300
    for target in document["targets"]:
        assert (tmp_path / "found" / f"{target}.png").stat().st_size > 5000


def opened(folder: Path) -> ShardSet:
    return open_shards(folder / "shards")


def test_samples_are_drawn_from_a_larger_split(run: Programs, trained: Path, tmp_path: Path) -> None:
    options = ("--split", "train", "--max-samples", 5, "--output", tmp_path / "found")
    ran = run("aammodel", "evaluate", trained / "run", trained / "shards", *options)
    assert ran.code == 0, ran.err
    assert "5 train samples" in ran.out
    assert "unweighted UniFrac: 10 pairs of 5 samples" in ran.out
    again = run("aammodel", "evaluate", trained / "run", trained / "shards", *options)
    assert again.code == 2
    assert "--overwrite" in again.err


def test_the_token_limit_is_that_of_the_run(run: Programs, tmp_path: Path) -> None:
    make_shards(run, tmp_path, num_samples=60)
    options = ("--output", tmp_path / "run", "--config", tiny_config(tmp_path), "--token-limit", 3)
    ran = run("aammodel", "pretrain", tmp_path / "shards", *options, "--max-steps", 2)
    assert ran.code == 0, ran.err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    folders = (tmp_path / "run", max((tmp_path / "run" / "checkpoints").iterdir()))
    calls = [(folder, (), "(as the run was trained)", 3) for folder in folders]
    calls += [(tmp_path / "run" / "model.safetensors", (), "(as the run was trained)", 3)]
    calls += [(tmp_path / "run", ("--token-limit", 4), "(--token-limit; the run was trained with 3)", 4)]
    for number, (where, more, words, limit) in enumerate(calls):
        output = tmp_path / f"found-{number}"
        options = ("--split", "validation", "--output", output, *more)
        ran = run("aammodel", "evaluate", where, tmp_path / "shards", *options)
        assert ran.code == 0, ran.err
        assert f"of up to {limit} ASVs {words}" in ran.out
        assert json.loads((output / "evaluation.json").read_text())["token_limit"] == limit
    found = json.loads((tmp_path / "found-0" / "evaluation.json").read_text())
    name = "unweighted_unifrac"
    for figure in ("r", "mean_absolute_error"):
        assert found["targets"][name][figure] == pytest.approx(results["targets"][name][figure], abs=1e-5)


def test_a_correlation_that_does_not_exist_is_undefined(run: Programs, tmp_path: Path) -> None:
    table = write_table(tmp_path, np.tile(random_counts(1, 10), (30, 1)), random_sequences(10))
    assert run("aamprep", "shard", table, "--output", tmp_path / "shards").code == 0
    options = ("--config", tiny_config(tmp_path), "--target", "braycurtis", "--max-steps", 1)
    ran = run("aammodel", "pretrain", tmp_path / "shards", "--output", tmp_path / "run", *options)
    assert ran.code == 0, ran.err
    assert "r = undefined" in ran.out
    options = ("--split", "train", "--output", tmp_path / "found")
    ran = run("aammodel", "evaluate", tmp_path / "run", tmp_path / "shards", *options)
    assert ran.code == 0, ran.err
    assert "model          r undefined   R2 undefined   mean absolute error 0.0000" in ran.out
    assert "A correlation is undefined, since all true distances are equal." in ran.out
    assert "nan" not in (ran.out + ran.err + (tmp_path / "run" / "report.html").read_text()).split()


@pytest.mark.parametrize(
    ("predicted", "true", "words"),
    [
        ([0.5], [0.5], "there is one pair only"),
        ([0.1, 0.2, 0.3], [0.3, 0.3, 0.3], "all true distances are equal"),
        ([0.3, 0.3, 0.3], [0.1, 0.2, 0.3], "all predicted distances are equal"),
        ([0.3, 0.1, 0.3], [0.1, 0.2, 0.3], ""),
    ],
)
def test_why_a_correlation_is_undefined(predicted: list[float], true: list[float], words: str) -> None:
    prediction = Prediction("braycurtis", np.array(predicted), np.array(true), 3)
    assert prediction.why_undefined == words
    assert bool(prediction.caution) != bool(words)
    assert np.isnan(prediction.r) == bool(words)


def test_splits_without_samples_are_refused(run: Programs, trained: Path, tmp_path: Path) -> None:
    both = (trained / "run", trained / "shards", "--output", tmp_path / "found")
    ran = run("aammodel", "evaluate", *both, "--split", "tset")
    assert (ran.code, "train, validation, test" in ran.err) == (2, True)
    make_shards(run, tmp_path, num_samples=3)
    options = (tmp_path / "shards", "--output", tmp_path / "found", "--split", "validation")
    ran = run("aammodel", "evaluate", trained / "run", *options)
    assert ran.code == 1
    assert "there is no validation sample" in ran.err


def test_kmer_distances_are_those_of_python_sets() -> None:
    sequences = [*random_sequences(6), "ACGTNACGTACG"]
    length = 1 + max(map(len, sequences))
    tokens = encode(sequences, length)
    contents = [[0, 1, 6], [1, 2], [3, 4, 5], [6]]
    samples = [
        Sample(str(i), np.array(asvs, np.uint32), np.ones(len(asvs))) for i, asvs in enumerate(contents)
    ]
    found = kmer_presence(samples, tokens)

    def kmers(asvs: list[int]) -> set[str]:
        every = {sequences[a][i : i + 6] for a in asvs for i in range(len(sequences[a]) - 5)}
        return {kmer for kmer in every if "N" not in kmer}

    for i, j in itertools.combinations(range(len(contents)), 2):
        a, b = kmers(contents[i]), kmers(contents[j])
        assert found[i, j] == pytest.approx(1 - len(a & b) / len(a | b))


def test_asvs_shorter_than_a_kmer_have_no_kmers() -> None:
    samples = [Sample(str(i), np.array([i], np.uint32), np.ones(1)) for i in range(2)]
    assert (kmer_presence(samples, encode(["ACGT", "ACGA"], 5)) == 0).all()


def test_distances_that_cannot_be_compared_are_named_with_the_reason(
    run: Programs, trained: Path, tmp_path: Path
) -> None:
    shards = make_shards(run, tmp_path, has_tree=False).folder
    given = ("--split", "train", "--output", tmp_path / "found")
    ran = run("aammodel", "evaluate", trained / "run", shards, *given)
    assert ran.code == 0, ran.err
    assert "Bray-Curtis: " in ran.out
    assert "unweighted UniFrac is not compared: these shards have no tree" in ran.out
    notes = json.loads((tmp_path / "found" / "evaluation.json").read_text())["notes"]
    assert [note for note in notes if note in ran.out] == notes


def test_correlations_of_few_samples_are_said_to_mean_little(
    run: Programs, trained: Path, tmp_path: Path
) -> None:
    given = (trained / "run", trained / "shards", "--split", "train")
    ran = run("aammodel", "evaluate", *given, "--max-samples", 3, "--output", tmp_path / "few")
    assert "r of 3 pairs of 3 samples says little" in ran.out
    ran = run("aammodel", "evaluate", *given, "--max-samples", 10, "--output", tmp_path / "more")
    assert "says little" not in ran.out


def test_few_unrelated_samples_have_a_large_correlation_by_chance() -> None:
    """The number of samples from which on no warning is given rests on this."""
    random = np.random.default_rng(0)

    def largest_r(num_samples: int) -> float:
        pairs = [pdist(random.normal(size=(num_samples, 5))) for _ in range(1000)]
        found = [abs(pearsonr(a, b)[0]) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        return float(np.quantile(found, 0.95))

    assert largest_r(4) > 0.7
    assert largest_r(FEW_SAMPLES) < 0.45


def test_a_model_of_samples_without_a_tree_is_said_to_know_no_unifrac(
    run: Programs, trained: Path, tmp_path: Path
) -> None:
    shards = make_shards(run, tmp_path, has_tree=False).folder
    config = tiny_config(tmp_path)
    given = ("--config", config, "--max-steps", 1, "--output", tmp_path / "run")
    assert run("aammodel", "pretrain", shards, *given).code == 0
    found = ("--split", "train", "--output", tmp_path / "found")
    ran = run("aammodel", "evaluate", tmp_path / "run", trained / "shards", *found)
    assert "trained on shards without a tree, so it never learned unweighted UniFrac" in ran.err
    ran = run("aammodel", "evaluate", trained / "run", trained / "shards", *found, "--overwrite")
    assert "never learned" not in ran.err
