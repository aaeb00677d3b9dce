"""Tables to shards and back: nothing is lost, nothing is invented, and anyone can read them."""

import json
from pathlib import Path

import biom
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aam_schemas.manifest import read_manifest
from aam_schemas.vocabulary import decode
from tests.helpers.paths import RealData
from tests.helpers.studies import (
    Programs,
    random_counts,
    random_newick,
    random_sequences,
    run_quietly,
    write_table,
)

LISTS = (("asv", "count"), ("dropped_asv", "dropped_count"))


def read_back(shards: Path, columns: tuple[tuple[str, str], ...] = LISTS) -> dict[str, dict[str, float]]:
    """Read the counts of each sample by sequence, from what the token limit kept and dropped."""
    sequences = pl.read_parquet(shards / "asvs.parquet")["sequence"].to_list()
    found: dict[str, dict[str, float]] = {}
    for row in pl.read_parquet(shards / "samples-*.parquet").iter_rows(named=True):
        pairs = [pair for asv, count in columns for pair in zip(row[asv], row[count], strict=True)]
        found[row["sample_id"]] = {sequences[asv]: count for asv, count in pairs}
    return found


def expected_counts(
    counts: np.ndarray, sequences: list[str], sample_ids: list[str]
) -> dict[str, dict[str, float]]:
    return {
        sample_id: {sequences[asv]: row[asv] for asv in np.flatnonzero(row)}
        for sample_id, row in zip(sample_ids, counts, strict=True)
        if row.any()
    }


@settings(max_examples=settings.default.max_examples // 8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 15)),
    largest=st.sampled_from([1, 5, 2**31, 2**53]),
    token_limit=st.integers(1, 20),
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1),
        min_size=12,
        max_size=12,
        unique=True,
    ),
)
def test_any_table_comes_back_exactly(
    seed: int,
    shape: tuple[int, int],
    largest: int,
    token_limit: int,
    names: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Ids in any script, empty samples left out, counts up to 2^53, kept and dropped ASVs together."""
    rng = np.random.default_rng(seed)
    counts = np.where(rng.random(shape) < 0.4, rng.integers(1, largest, size=shape, endpoint=True), 0).astype(
        float
    )
    counts[0, 0] = largest
    ids, sequences = names[: shape[0]], random_sequences(shape[1], seed)
    folder = tmp_path_factory.mktemp("study")
    table = write_table(folder, counts, sequences, ids)
    with pytest.MonkeyPatch.context() as patch:
        ran = run_quietly(patch, "shard", table, "--output", folder / "shards", "--token-limit", token_limit)
    assert ran == 0
    assert read_back(folder / "shards") == expected_counts(counts, sequences, ids)


@pytest.mark.real
@pytest.mark.parametrize("study", ["ibd-2538", "moving-pictures", "crc-udca2"])
def test_published_tables_come_back_exactly(
    study: str, real_data: RealData, run: Programs, tmp_path: Path
) -> None:
    """Against biom-format's own reading of the same table."""
    folder = real_data(study)
    table = next(path for path in (folder / "table.biom", folder / "table.qza") if path.exists())
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    found = pl.read_parquet(tmp_path / "shards" / "samples-*.parquet")
    names = pl.read_parquet(tmp_path / "shards" / "asvs.parquet")["asv_id"].to_list()
    expected = load_biom(table, tmp_path)
    under_limit = found.filter(pl.col("num_asvs") <= 512)
    assert len(under_limit) == len(found)
    assert set(found["sample_id"]) == {i for i in expected.ids() if expected.data(i).any()}
    for row in found.iter_rows(named=True):
        column = expected.data(row["sample_id"], dense=False)
        ids = expected.ids("observation")[column.indices if column.shape[0] == 1 else column.tocsc().indices]
        assert dict(zip([names[asv] for asv in row["asv"]], row["count"], strict=True)) == dict(
            zip(ids, column.data, strict=True)
        )


def load_biom(table: Path, folder: Path) -> biom.Table:
    import zipfile

    if table.suffix == ".qza":
        with zipfile.ZipFile(table) as archive:
            name = next(member for member in archive.namelist() if member.endswith("feature-table.biom"))
            table = folder / "unzipped.biom"
            table.write_bytes(archive.read(name))
    return biom.load_table(str(table))


def shard_small(run: Programs, folder: Path, *options: object, seed: int = 0) -> Path:
    """Shard a study of 30 samples and 40 ASVs with a tree."""
    sequences = random_sequences(40, seed)
    table = write_table(folder, random_counts(30, 40, seed), sequences)
    (folder / "tree.nwk").write_text(random_newick(sequences, seed))
    ran = run("aamprep", "shard", table, "--output", folder / "shards", *options)
    assert ran.code == 0, ran.err
    return folder / "shards"


def test_selection_by_abundance_takes_the_most_reads(run: Programs, tmp_path: Path) -> None:
    shards = shard_small(run, tmp_path, "--token-limit", 5)
    sequences = pl.read_parquet(shards / "asvs.parquet")["sequence"].to_list()
    for row in pl.read_parquet(shards / "samples-*.parquet").iter_rows(named=True):
        assert len(row["asv"]) <= 5
        every = [
            *zip(row["count"], row["asv"], strict=True),
            *zip(row["dropped_count"], row["dropped_asv"], strict=True),
        ]
        # Most reads first, ties by sequence, kept and dropped in one order.
        assert every == sorted(every, key=lambda pair: (-pair[0], sequences[pair[1]]))
        assert row["depth"] == sum(row["count"]) + sum(row["dropped_count"])
        assert row["depth_kept"] == sum(row["count"])


def test_selection_of_the_first_keeps_the_order_of_the_table(run: Programs, tmp_path: Path) -> None:
    shards = shard_small(run, tmp_path, "--token-limit", 5, "--select", "first")
    position = {sequence: place for place, sequence in enumerate(random_sequences(40))}
    sequences = pl.read_parquet(shards / "asvs.parquet")["sequence"].to_list()
    for row in pl.read_parquet(shards / "samples-*.parquet").iter_rows(named=True):
        places = [position[sequences[asv]] for asv in [*row["asv"], *row["dropped_asv"]]]
        assert places == sorted(places)


@pytest.mark.parametrize("select", ["abundance", "first", "random"])
def test_a_prefix_is_the_selection_at_a_smaller_limit(select: str, run: Programs, tmp_path: Path) -> None:
    large = shard_small(run, tmp_path / "large", "--token-limit", 12, "--select", select)
    small = shard_small(run, tmp_path / "small", "--token-limit", 4, "--select", select)
    wanted = {name: list(counts)[:4] for name, counts in read_back(large, LISTS[:1]).items()}
    assert {name: list(counts) for name, counts in read_back(small, LISTS[:1]).items()} == wanted


def test_rarefaction_draws_the_depth_and_depends_on_the_sample_alone(run: Programs, tmp_path: Path) -> None:
    options = ("--rarefy-depth", 100, "--seed", 7)
    shards = shard_small(run, tmp_path, *options)
    whole = read_back(shards)
    samples = pl.read_parquet(shards / "samples-*.parquet")
    assert set(samples["depth"]) == {100.0}
    before = expected_counts(random_counts(30, 40), random_sequences(40), [f"S{n}" for n in range(30)])
    for name, counts in whole.items():
        assert all(0 < count <= before[name][sequence] for sequence, count in counts.items())
    # Half of the samples, in another order, with the ASVs in another order: the same draw.
    rows, columns = np.arange(30)[::-2], np.random.default_rng(1).permutation(40)
    part = random_counts(30, 40)[rows][:, columns]
    sequences = [random_sequences(40)[c] for c in columns]
    table = write_table(tmp_path / "part", part, sequences, [f"S{row}" for row in rows])
    ran = run("aamprep", "shard", table, "--output", tmp_path / "part" / "shards", "--no-tree", *options)
    assert ran.code == 0, ran.err
    again = read_back(tmp_path / "part" / "shards")
    assert again == {name: whole[name] for name in again}
    assert len(again) > 5


def test_samples_below_the_depth_are_rejected_by_name(run: Programs, tmp_path: Path) -> None:
    counts = random_counts(10, 20)
    counts[3] = 0
    counts[3, 5] = 7
    table = write_table(tmp_path, counts, random_sequences(20))
    ran = run("aamprep", "shard", table, "--rarefy-depth", 8, "--output", tmp_path / "shards")
    assert ran.code == 0
    assert "sample S3: 7 of 8" in " ".join(ran.err.split())
    assert "without the rejected data: 1 error" in ran.err
    rejected = pl.read_parquet(tmp_path / "shards" / "rejected.parquet")
    assert rejected.select("kind", "id", "rule").rows() == [
        ("sample", "S3", "sample-below-rarefaction-depth")
    ]
    strict = run("aamprep", "shard", table, "--rarefy-depth", 8, "--output", tmp_path / "other", "--strict")
    assert strict.code == 1
    assert not (tmp_path / "other").exists()


def test_same_sequence_in_another_spelling_is_one_asv(run: Programs, tmp_path: Path) -> None:
    sequence = "ACGT" * 10
    rna = sequence.lower().replace("t", "u")
    table = write_table(tmp_path, np.array([[3.0, 4.0, 1.0]]), [sequence, rna, "G" * 40])
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards")
    assert ran.code == 0
    assert "same-sequence-twice" in ran.err
    assert read_back(tmp_path / "shards") == {"S0": {sequence: 7.0, "G" * 40: 1.0}}
    asvs = pl.read_parquet(tmp_path / "shards" / "asvs.parquet")
    assert asvs.filter(pl.col("sequence") == sequence)["aliases"].to_list() == [[rna]]


def test_kept_asvs_come_first_and_tokens_spell_their_sequences(run: Programs, tmp_path: Path) -> None:
    shards = shard_small(run, tmp_path, "--token-limit", 2)
    manifest = read_manifest(shards)
    samples, asvs = pl.read_parquet(shards / "samples-*.parquet"), pl.read_parquet(shards / "asvs.parquet")
    kept = set(samples["asv"].explode())
    assert kept == set(range(manifest.num_kept_asvs))
    assert set(samples["dropped_asv"].explode().drop_nulls()) | kept == set(range(manifest.num_asvs))
    tokens = np.array(asvs["tokens"].to_list(), dtype=np.uint8)
    assert (tokens[:, 0] == 5).all()
    assert decode(tokens) == asvs["sequence"].to_list()


def test_two_runs_write_the_same_bytes(
    run: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for _ in range(2):
        monkeypatch.chdir(tmp_path)
        shards = shard_small(run, Path("study"), "--overwrite", "--rarefy-depth", 50, "--token-limit", 9)
        contents.append({path.name: path.read_bytes() for path in shards.iterdir()})
    assert contents[0] == contents[1]


def test_subjects_stay_in_one_split(run: Programs, tmp_path: Path) -> None:
    table = write_table(tmp_path, random_counts(200, 20), random_sequences(20))
    rows = "".join(f"S{number}\tsubject{number // 4}\n" for number in range(200))
    (tmp_path / "metadata.tsv").write_text(f"sample-id\tsubject\n{rows}")
    ran = run("aamprep", "shard", table, "--split-by", "subject", "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    splits = {}
    for path in (tmp_path / "shards").glob("samples-*.parquet"):
        for sample_id in pq.read_table(path)["sample_id"].to_pylist():
            splits.setdefault(int(sample_id[1:]) // 4, set()).add(path.name.split("-")[1])
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "validation", "test"}


def test_metadata_follow_the_order_of_the_samples(run: Programs, tmp_path: Path) -> None:
    table = write_table(tmp_path, random_counts(30, 20), random_sequences(20))
    rows = "".join(f"S{number}\t{number}\tword{number}\n" for number in range(1, 40))
    (tmp_path / "metadata.tsv").write_text(f"sample-id\tage\tword\n{rows}")
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    manifest = read_manifest(tmp_path / "shards")
    listed = [
        i
        for file in manifest.files
        if file.split
        for i in pq.read_table(tmp_path / "shards" / file.name)["sample_id"].to_pylist()
    ]
    metadata = pl.read_parquet(tmp_path / "shards" / "metadata.parquet")
    assert metadata["sample_id"].to_list() == listed
    assert manifest.metadata_types == {"age": "numeric", "word": "categorical"}
    for row in metadata.iter_rows(named=True):
        number = int(row["sample_id"][1:])
        expected = (None, None) if number == 0 else (float(number), f"word{number}")
        assert (row["age"], row["word"]) == expected


def test_several_tables_become_one_set(run: Programs, tmp_path: Path) -> None:
    sequences = random_sequences(30)
    one = write_table(tmp_path / "one", random_counts(5, 20, 1), sequences[:20])
    two = write_table(tmp_path / "two", random_counts(5, 20, 2), sequences[10:])
    clash = run("aamprep", "shard", one, two, "--output", tmp_path / "clash")
    assert clash.code == 1
    assert "sample-in-two-tables" in clash.err
    ran = run("aamprep", "shard", one, two, "--prefix-samples", "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    found = read_back(tmp_path / "shards")
    expected = expected_counts(random_counts(5, 20, 1), sequences[:20], [f"one.S{n}" for n in range(5)])
    expected |= expected_counts(random_counts(5, 20, 2), sequences[10:], [f"two.S{n}" for n in range(5)])
    assert found == expected


def test_filters_leave_out_rare_asvs_and_say_so(run: Programs, tmp_path: Path) -> None:
    counts = np.zeros((4, 3))
    counts[:, 0], counts[0, 1], counts[:2, 2] = 9, 50, 1
    sequences = random_sequences(3)
    table = write_table(tmp_path, counts, sequences)
    ran = run(
        "aamprep", "shard", table, "--min-prevalence", 2, "--min-reads", 3, "--output", tmp_path / "shards"
    )
    assert ran.code == 0, ran.err
    assert read_back(tmp_path / "shards") == {f"S{n}": {sequences[0]: 9.0} for n in range(4)}
    rejected = pl.read_parquet(tmp_path / "shards" / "rejected.parquet")
    assert dict(rejected.select("id", "rule").rows()) == {
        sequences[1]: "asv-below-prevalence",
        sequences[2]: "asv-below-reads",
    }


@pytest.mark.parametrize(("choice", "depth", "in_tree"), [("keep", 10.0, 4.0), ("drop", 4.0, 4.0)])
def test_asvs_that_the_tree_lacks(
    choice: str, depth: float, in_tree: float, run: Programs, tmp_path: Path
) -> None:
    sequences = random_sequences(3)
    table = write_table(tmp_path, np.array([[1.0, 3.0, 6.0], [2.0, 2.0, 0.0]]), sequences)
    (tmp_path / "tree.nwk").write_text(f"({sequences[0]}:1,{sequences[1]}:2);")
    ran = run("aamprep", "shard", table, "--missing-from-tree", choice, "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    first = pl.read_parquet(tmp_path / "shards" / "samples-*.parquet").filter(pl.col("sample_id") == "S0")
    assert first["depth"].to_list() == [depth]
    assert first["depth_in_tree"].to_list() == [in_tree]


def test_rejecting_what_the_tree_lacks(run: Programs, tmp_path: Path) -> None:
    sequences = random_sequences(3)
    table = write_table(tmp_path, np.array([[1.0, 3.0, 6.0], [2.0, 2.0, 0.0]]), sequences)
    (tmp_path / "tree.nwk").write_text(f"({sequences[0]}:1,{sequences[1]}:2);")
    ran = run(
        "aamprep", "shard", table, "--missing-from-tree", "reject", "--output", tmp_path / "shards", "--json"
    )
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["facts"]["samples"] == 1
    assert [finding["code"] for finding in document["findings"] if finding["severity"] == "error"] == [
        "sample-not-in-tree"
    ]


def test_an_empty_sample_is_named_by_crc_udca2(real_data: RealData, run: Programs, tmp_path: Path) -> None:
    table = real_data("crc-udca2/table.qza")
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards", "--no-tree", "--no-metadata")
    assert ran.code == 0, ran.err
    rejected = pl.read_parquet(tmp_path / "shards" / "rejected.parquet")
    assert rejected.height == 4
    assert set(rejected["rule"]) == {"sample-empty"}
    assert read_manifest(tmp_path / "shards").num_samples == 948
