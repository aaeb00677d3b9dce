"""`aammodel embed`: each sample and ASV once, under its name, with the vectors of the dense computation."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings

import aammodel
import aamprep
from aam_schemas.common.errors import UsageError
from aam_schemas.shards import SPLITS
from aam_schemas.vocabulary import encode
from aammodel.workflows import embed as embedding
from aammodel.workflows.embedding_files import table_of, write_rows
from tests.helpers.names import NAMES, names, write_named_study
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table

TINY = {"width": 16, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 8}
BASES = 60


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Return a folder with a table, its shards (three ASVs are dropped per sample) and a run."""
    folder = tmp_path_factory.mktemp("study")
    table = write_table(folder, random_counts(40, 30), random_sequences(30))
    aamprep.shard(table, output=folder / "shards", token_limit=6)
    aammodel.pretrain(folder / "shards", output=folder / "run", model=TINY, max_steps=2, batch_size=8)
    return folder


@pytest.fixture(scope="module")
def model(study: Path) -> aammodel.Model:
    return aammodel.load(study / "run", device="cpu")


def embed(run: Programs, study: Path, *options: object, data: object = None) -> str:
    """Run the command with the model of the study, and return what it prints."""
    given = study / "shards" if data is None else data
    ran = run("aammodel", "embed", given, "--model", study / "run", *options)
    assert ran.code == 0, ran.err
    return ran.out + ran.err


def samples_of(shards: Path, split: str | None = None) -> pl.DataFrame:
    """Return the samples in the order of the manifest, with the ids of their ASVs, without our reader."""
    ids = np.array(pq.read_table(shards / "asvs.parquet")["asv_id"].to_pylist(), dtype=object)
    files = [
        file for name in SPLITS if split in (None, name) for file in sorted(shards.glob(f"samples-{name}-*"))
    ]
    samples = pl.concat([pl.read_parquet(file) for file in files])
    return samples.with_columns(
        pl.Series("asv_ids", [list(ids[rows]) for rows in samples["asv"].to_list()], dtype=pl.List(pl.String))
    )


@torch.no_grad()
def dense(model: aammodel.Model, shards: Path, limit: int = 6) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the embeddings of samples, and of the ASVs in each, computed one by one with padding."""
    asvs = pq.read_table(shards / "asvs.parquet")
    tokens = encode(asvs["sequence"].to_pylist(), BASES + 1)
    embeddings, in_samples = [], []
    for asv, count in samples_of(shards).select("asv", "count").iter_rows():
        asv, count = asv[:limit], count[:limit]
        padded = np.zeros((1, limit + 2, BASES + 1), dtype=np.int64)
        padded[0, : len(asv)] = tokens[asv]
        counts = torch.zeros(1, limit + 2)
        counts[0, : len(asv)] = torch.tensor(count)
        output = model.network.forward_dense(torch.from_numpy(padded), counts)
        embeddings.append(output.embedding[0].numpy())
        in_samples.append(output.asv_in_sample[0, : len(asv)].numpy())
    return np.stack(embeddings), in_samples


@pytest.mark.parametrize("limit", [6, 3])
def test_samples_are_those_of_the_dense_computation(
    run: Programs, study: Path, model: aammodel.Model, tmp_path: Path, limit: int
) -> None:
    embed(run, study, "--output", tmp_path / "e.parquet", "--token-limit", limit)
    found = pl.read_parquet(tmp_path / "e.parquet")
    assert found.columns == ["sample_id", *(f"aam_{index}" for index in range(16))]
    assert found["sample_id"].to_list() == samples_of(study / "shards")["sample_id"].to_list()
    got = found.drop("sample_id").to_numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, dense(model, study / "shards", limit)[0], atol=2e-6)


def test_asvs_in_samples_are_those_of_the_dense_computation(
    run: Programs, study: Path, model: aammodel.Model, tmp_path: Path
) -> None:
    embed(run, study, "--output", tmp_path / "e.parquet", "--asvs-in-samples")
    found = pl.read_parquet(tmp_path / "e.parquet")
    assert found.columns == ["sample_id", "asv_id", "count", *(f"aam_{index}" for index in range(16))]
    expected = samples_of(study / "shards").select("sample_id", pl.col("asv_ids").alias("asv_id"), "count")
    expected = expected.explode("asv_id", "count")
    assert found.select("sample_id", "asv_id", "count").equals(expected)
    got = found.drop("sample_id", "asv_id", "count").to_numpy()
    np.testing.assert_allclose(got, np.concatenate(dense(model, study / "shards")[1]), atol=2e-6)


def test_every_asv_has_the_embedding_of_its_sequence(
    run: Programs, study: Path, model: aammodel.Model, tmp_path: Path
) -> None:
    embed(run, study, "--output", tmp_path / "e.parquet", "--asvs")
    found = pl.read_parquet(tmp_path / "e.parquet")
    asvs = pl.read_parquet(study / "shards" / "asvs.parquet")
    assert found.select("asv_id", "sequence").equals(asvs.select("asv_id", "sequence"))
    with torch.no_grad():
        tokens = torch.from_numpy(encode(found["sequence"].to_list(), BASES + 1).astype(np.int64))
        _, expected = model.network.asv_encoder(tokens, tokens != 0)
    np.testing.assert_allclose(found.drop("asv_id", "sequence").to_numpy(), expected.numpy(), atol=2e-6)
    embed(run, study, "--output", tmp_path / "t.tsv", "--asvs", "--split", "test")
    of_split = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    samples = samples_of(study / "shards", "test")
    rows = set(samples["asv"].explode()) | set(samples["dropped_asv"].explode().drop_nulls())
    assert of_split["asv_id"].tolist() == [asvs["asv_id"][row] for row in sorted(rows)]


def test_text_has_the_numbers_of_parquet(run: Programs, study: Path, tmp_path: Path) -> None:
    for option in ((), ("--asvs",), ("--asvs-in-samples",)):
        for suffix in (".tsv", ".parquet"):
            embed(run, study, "--overwrite", "--output", tmp_path / f"e{suffix}", *option)
        expected = pd.read_parquet(tmp_path / "e.parquet")
        types = {name: type_ for name, type_ in expected.dtypes.items() if type_ == np.float32}
        found = pd.read_csv(tmp_path / "e.tsv", sep="\t", dtype=types)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_splits_are_the_parts_of_the_whole(run: Programs, study: Path, tmp_path: Path) -> None:
    embed(run, study, "--output", tmp_path / "whole.parquet")
    parts = []
    for split in SPLITS:
        embed(run, study, "--output", tmp_path / f"{split}.parquet", "--split", split)
        parts.append(pl.read_parquet(tmp_path / f"{split}.parquet"))
        assert parts[-1]["sample_id"].to_list() == samples_of(study / "shards", split)["sample_id"].to_list()
    whole, joined = pl.read_parquet(tmp_path / "whole.parquet"), pl.concat(parts)
    assert whole["sample_id"].equals(joined["sample_id"])
    np.testing.assert_allclose(whole.drop("sample_id"), joined.drop("sample_id"), atol=2e-6)


def test_a_table_gives_the_rows_of_its_shards(run: Programs, study: Path, tmp_path: Path) -> None:
    for option in ((), ("--asvs",), ("--asvs-in-samples",)):
        lines = []
        for data in (study / "shards", study / "table.biom"):
            path = tmp_path / "e.tsv"
            embed(run, study, "--overwrite", "--output", path, *option, data=data)
            lines.append(path.read_text().splitlines())
        assert sorted(lines[0]) == sorted(lines[1])
        if not option:
            # The rows of a table are in its order.
            assert [line.split("\t")[0] for line in lines[1][1:]] == [f"S{number}" for number in range(40)]


def check_names(model: aammodel.Model, folder: Path, given: list[str]) -> None:
    """Embed a study with some names, and find each sample and each ASV once, under its name."""
    study = write_named_study(folder, given)
    beside = {
        role: path for role, path in study.beside().items() if role in ("rep_seqs", "metadata", "taxonomy")
    }
    found = model.embed(study.table, **beside)
    assert sorted(found.sample_ids) == sorted(given)
    alone = model.embed_asvs(study.table, **beside)
    assert sorted(alone.sequences) == sorted(study.sequences)
    for suffix in (".tsv", ".parquet"):
        found.write(folder / f"e{suffix}")
    with (folder / "e.tsv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    assert header[0] == "sample_id"
    assert [row[0] for row in rows] == list(found.sample_ids)
    assert pl.read_parquet(folder / "e.parquet")["sample_id"].to_list() == list(found.sample_ids)
    assert list(found.frame().index) == list(found.sample_ids)


def test_hostile_names_are_kept(model: aammodel.Model, tmp_path: Path) -> None:
    check_names(model, tmp_path, list(NAMES))


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=names())
def test_every_sample_is_embedded_once_under_its_name(model: aammodel.Model, drawn: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_names(model, Path(folder), drawn)


def test_frames_of_both_libraries_agree(study: Path, model: aammodel.Model) -> None:
    found = model.embed(study / "shards")
    frame, other = found.frame(), found.frame("polars")
    assert isinstance(frame, pd.DataFrame)
    assert isinstance(other, pl.DataFrame)
    assert frame.index.name == "sample_id"
    np.testing.assert_array_equal(frame.to_numpy(), found.embedding)
    assert other.columns == ["sample_id", *frame.columns]
    np.testing.assert_array_equal(other.drop("sample_id").to_numpy(), found.embedding)
    assert model.embed_asvs(study / "shards").frame().index.name == "asv_id"
    with pytest.raises(aammodel.UsageError, match="'numpy'"):
        found.frame("numpy")  # type: ignore[arg-type]


def test_what_does_not_fit_is_said_with_figures(run: Programs, study: Path, tmp_path: Path) -> None:
    # Twenty of the ASVs are known, the other ten are of another region and shorter.
    known, other = random_sequences(30)[:20], [each[:50] for each in random_sequences(10, seed=5)]
    counts = random_counts(6, 30, density=1.0)
    table = write_table(tmp_path, counts, known + other)
    said = embed(run, study, "--output", tmp_path / "e.tsv", data=table)
    kept = np.argsort(-counts, axis=1, kind="stable")[:, :6]
    is_kept = np.zeros(counts.shape, dtype=bool)
    np.put_along_axis(is_kept, kept, True, axis=1)
    reads = counts * is_kept
    unseen = np.arange(30) >= 20
    num_kept = int(is_kept.any(axis=0).sum())
    num_unseen = int((is_kept.any(axis=0) & unseen).sum())
    assert f"{num_unseen} of {num_kept} ASVs ({num_unseen / num_kept:.1%})" in said
    assert f"with {reads[:, unseen].sum() / counts.sum():.1%} of the reads" in said
    assert f"{1 - reads.sum() / counts.sum():.2%} of the reads are in ASVs beyond the token limit" in said
    assert "the median depth is" in said


def test_samples_that_are_left_out_are_named(run: Programs, study: Path, tmp_path: Path) -> None:
    trained = tmp_path / "run"
    aamprep.shard(study / "table.biom", output=tmp_path / "shards", rarefy_depth=100)
    aammodel.pretrain(tmp_path / "shards", output=trained, model=TINY, max_steps=1, batch_size=8)
    counts = random_counts(12, 30, density=1.0)
    counts[3] = np.eye(30)[0] * 99
    table = write_table(tmp_path / "other", counts, random_sequences(30))
    ran = run("aammodel", "embed", table, "--model", trained, "--output", tmp_path / "e.tsv")
    assert ran.code == 0, ran.err
    assert "1 sample of the table is invalid. The first is S3" in ran.err
    assert "S3" not in pd.read_csv(tmp_path / "e.tsv", sep="\t")["sample_id"].tolist()


def refused(run: Programs, study: Path, *arguments: object) -> str:
    ran = run(
        "aammodel", "embed", *arguments, *(() if "--model" in arguments else ("--model", study / "run"))
    )
    assert ran.code in (1, 2), ran.err
    assert "Fix: " in ran.err
    return ran.err


def test_wrong_use_is_refused_with_a_fix(run: Programs, study: Path, tmp_path: Path) -> None:
    shards, output = study / "shards", ("--output", tmp_path / "e.tsv")
    assert "'.xlsx' is not a format" in refused(run, study, shards, "--output", tmp_path / "e.xlsx")
    assert "there is no split 'all'" in refused(run, study, shards, *output, "--split", "all")
    assert "only one of the two" in refused(run, study, shards, *output, "--asvs", "--asvs-in-samples")
    assert "--rep-seqs" in refused(run, study, shards, *output, "--rep-seqs", study / "table.biom")
    assert "there is no such file" in refused(run, study, study / "none.biom", *output)
    assert "there is no such file" in refused(run, study, study / "table.biom", *output, "--metadata", "none")
    assert "a token limit of 7" in refused(run, study, shards, *output, "--token-limit", 7)
    assert "no trained model" in refused(run, study, shards, *output, "--model", shards)
    longer = write_table(tmp_path / "longer", random_counts(4, 5), random_sequences(5, bases=70))
    message = refused(run, study, longer, *output)
    assert f"{longer}: these samples have ASVs of up to 70 bases" in message
    empty = write_table(tmp_path / "empty", np.zeros((3, 5)), random_sequences(5))
    assert "correct what the report above names" in refused(run, study, empty, *output)
    assert not (tmp_path / "e.tsv").exists()


def test_a_split_without_a_sample_is_refused(run: Programs, study: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path, random_counts(2, 30), random_sequences(30))
    aamprep.shard(table, output=tmp_path / "shards")
    missing = next(each for each in SPLITS if not list((tmp_path / "shards").glob(f"samples-{each}-*")))
    for option in ((), ("--asvs",), ("--asvs-in-samples",)):
        options = ("--output", tmp_path / "e.tsv", "--split", missing, *option)
        assert f"there is no {missing} sample" in refused(run, study, tmp_path / "shards", *options)


def test_only_a_file_of_embeddings_is_replaced(run: Programs, study: Path, tmp_path: Path) -> None:
    for suffix in (".tsv", ".parquet"):
        path = tmp_path / f"e{suffix}"
        embed(run, study, "--output", path)
        content = path.read_bytes()
        assert "exists already" in refused(run, study, study / "shards", "--output", path)
        embed(run, study, "--output", path, "--overwrite", "--asvs")
        embed(run, study, "--output", path, "--overwrite")
        assert path.read_bytes() == content
        other = tmp_path / f"other{suffix}"
        pl.DataFrame({"sample_id": ["a"]}).write_parquet(other)
        message = refused(run, study, study / "shards", "--output", other, "--overwrite")
        assert "not replaced" in message
        link = tmp_path / f"link{suffix}"
        link.symlink_to(path)
        assert "not replaced" in refused(run, study, study / "shards", "--output", link, "--overwrite")
    within = study / "shards" / "e.tsv"
    assert "lies within an input" in refused(run, study, study / "shards", "--output", within)


def test_a_plot_lies_beside_the_output(run: Programs, study: Path, tmp_path: Path) -> None:
    rows = "".join(f"S{number}\t{number}\t{'ab'[number % 2]}\n" for number in range(39))
    (tmp_path / "later.tsv").write_text(f"sample-id\tage\tsite\n{rows}")
    for options in (("--plot",), ("--color-by", "age"), ("--color-by", "site")):
        output = ("--output", tmp_path / "e.tsv", "--overwrite")
        said = embed(run, study, *output, *options, "--metadata", tmp_path / "later.tsv")
        assert f"plot: {tmp_path / 'e.png'}" in said
        assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")
    said = refused(run, study, study / "shards", "--output", tmp_path / "o.tsv", "--color-by", "sites")
    assert "--color-by" in said
    later = ("--metadata", tmp_path / "later.tsv")
    said = refused(
        run, study, study / "shards", "--output", tmp_path / "o.tsv", "--color-by", "sites", *later
    )
    assert "did you mean 'site'" in said
    both = ("--output", tmp_path / "o.tsv", "--plot", "--asvs")
    assert "a plot shows samples" in refused(run, study, study / "shards", *both)
    (tmp_path / "o.png").write_bytes(b"\x89PNG\r\n\x1a\n of somebody else")
    output = ("--output", tmp_path / "o.tsv", "--plot", "--overwrite")
    assert "o.png: this file is not replaced" in refused(run, study, study / "shards", *output)
    assert not (tmp_path / "o.tsv").exists()


def test_a_result_is_plotted(study: Path, model: aammodel.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = model.embed(study / "shards")
    assert found.plot().axes[0].get_title() == "embedding: 40 samples"
    monkeypatch.setattr(embedding, "MOST_PLOTTED", 15)
    figure = found.plot()
    assert figure.axes[0].get_title() == "embedding: 15 of 40 samples"
    assert len(figure.axes[0].collections[0].get_offsets()) == 15
    with pytest.raises(aammodel.UsageError, match="no distance features"):
        model.embed(study / "shards", with_features=False).plot()


def test_text_is_not_written_if_it_cannot_hold_an_id(tmp_path: Path) -> None:
    table = table_of({"sample_id": ["a", "b\tc"]}, np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(UsageError, match="control character, so it would not be read back"):
        write_rows(tmp_path / "embedding.tsv", [table], {})
    assert not list(tmp_path.iterdir())
    assert write_rows(tmp_path / "embedding.parquet", [table], {}) == 2
    assert pq.read_table(tmp_path / "embedding.parquet")["sample_id"].to_pylist() == ["a", "b\tc"]
