"""`aamprep verify` finds every flipped byte, and every lie whose hashes are in order."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aam_schemas.manifest import Manifest, read_manifest, write_manifest
from aam_schemas.shards import file_sha256, footer_sha256, write_parquet
from aamprep.rules.findings import Findings
from aamprep.shards.write import describe
from aamprep.tree.branches import MOST_LEVELS
from aamprep.verification.verify import check_files, check_manifest, verify_shards
from tests.helpers.paths import RealData
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table

TRAIN = "samples-train-00000-of-00001.parquet"
Change = Callable[[pl.DataFrame], pl.DataFrame]


def make_set(run: Programs, folder: Path, *options: object) -> Path:
    """Shard 30 samples, one of them empty, with a tree that lacks an ASV, metadata and a token limit of 5."""
    sequences = random_sequences(20)
    counts = random_counts(30, 20)
    counts[7] = 0
    table = write_table(folder, counts, sequences)
    (folder / "tree.nwk").write_text(random_newick(sequences[1:]))
    rows = "".join(f"S{n}\t{n}\tM{n % 4}\n" for n in range(30))
    (folder / "metadata.tsv").write_text("sample-id\tage\tsubject\n" + rows)
    ran = run("aamprep", "shard", table, "--token-limit", 5, "--output", folder / "shards", *options)
    assert ran.code == 0, ran.err
    return folder / "shards"


@pytest.fixture
def shards(run: Programs, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of a set that is made once. A test may damage it."""
    made = tmp_path_factory.getbasetemp() / "sound"
    if not made.exists():
        make_set(run, made)
    return Path(shutil.copytree(made / "shards", tmp_path / "shards"))


def codes(shards: Path) -> set[str]:
    findings = Findings()
    verify_shards(shards, findings)
    return {finding.rule.code for finding in findings.found}


def rewrite(shards: Path, name: str, change: Change) -> None:
    """Change the content of a Parquet file as a faulty writer would: every hash agrees."""
    path = shards / name
    old = pq.read_table(path)
    new = change(pl.DataFrame(old)).to_arrow()
    write_parquet(pa.table({n: new[n].cast(old.schema.field(n).type) for n in old.column_names}), path)
    files = read_manifest(shards).files
    described = tuple(describe(path, file.split) if file.name == name else file for file in files)
    change_manifest(shards, lambda manifest: replace(manifest, files=described))


def change_manifest(shards: Path, change: Callable[[Manifest], Manifest]) -> None:
    write_manifest(shards, change(read_manifest(shards)))


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--no-tree", "--no-metadata"),
        ("--select", "random"),
        ("--select", "first", "--rarefy-depth", 20),
        ("--missing-from-tree", "drop", "--split-by", "subject"),
        ("--token-limit", 1),
    ],
)
def test_what_shard_writes_is_sound(options: tuple[object, ...], run: Programs, tmp_path: Path) -> None:
    shards = make_set(run, tmp_path, *options)
    ran = run("aamprep", "verify", shards)
    assert ran.code == 0, ran.out
    assert "unchanged and consistent" in ran.out
    assert codes(shards) == set()


@pytest.mark.real
@pytest.mark.parametrize("study", ["moving-pictures", "crc-udca2"])
def test_published_studies_are_sound(study: str, real_data: RealData, run: Programs, tmp_path: Path) -> None:
    table = real_data(study) / "table.qza"
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards", "--token-limit", 64)
    assert ran.code == 0, ran.err
    assert codes(tmp_path / "shards") == set()


def flips(shards: Path, trials: int) -> list[tuple[Path, int, int]]:
    """Draw files in turn, a byte of each, and the bits that are flipped."""
    rng = np.random.default_rng(0)
    files = sorted(shards.iterdir())
    drawn = [files[trial % len(files)] for trial in range(trials)]
    return [(path, int(rng.integers(path.stat().st_size)), int(rng.integers(1, 256))) for path in drawn]


def is_found(shards: Path, path: Path, position: int, bits: int, verify: Callable[[Path], bool]) -> bool:
    """Flip bits of one byte, verify, and put the byte back."""
    good = path.read_bytes()
    bad = bytearray(good)
    bad[position] ^= bits
    path.write_bytes(bad)
    try:
        return not verify(shards)
    finally:
        path.write_bytes(good)


def is_sound(shards: Path) -> bool:
    findings = Findings()
    verify_shards(shards, findings)
    return findings.valid


def has_sound_bytes(shards: Path) -> bool:
    """Run the first part of `verify_shards` alone, which reads every byte."""
    findings = Findings()
    manifest = check_manifest(shards, findings)
    if manifest is not None:
        check_files(shards, manifest, findings)
    return findings.valid


def test_every_flipped_byte_is_found(shards: Path) -> None:
    assert len(list(shards.iterdir())) == 9
    missed = [flip for flip in flips(shards, 300) if not is_found(shards, *flip, has_sound_bytes)]
    assert missed == []
    assert is_sound(shards)


def test_a_flipped_byte_ends_with_1(shards: Path, run: Programs) -> None:
    for path, position, bits in flips(shards, 9):
        assert is_found(
            shards, path, position, bits, lambda s: run("aamprep", "verify", s, "--json").code != 1
        )


@pytest.mark.long
def test_every_flipped_byte_is_found_by_all_of_verify(shards: Path) -> None:
    assert [flip for flip in flips(shards, 300) if not is_found(shards, *flip, is_sound)] == []


@pytest.mark.parametrize(
    "name", ["asvs.parquet", TRAIN, "tree.parquet", "metadata.parquet", "rejected.parquet"]
)
def test_a_file_that_is_missing_or_cut_short(name: str, shards: Path) -> None:
    content = (shards / name).read_bytes()
    (shards / name).write_bytes(content[:-100])
    assert codes(shards) == {"shards-file-changed"}
    (shards / name).unlink()
    assert codes(shards) == {"shards-file-missing"}


def test_all_findings_at_once(shards: Path, run: Programs) -> None:
    (shards / "notes.txt").write_text("mine")
    (shards / "tree.parquet").write_bytes(b"x")
    rewrite(shards, "asvs.parquet", lambda t: t.with_columns(prevalence=t["prevalence"] + 1))
    (shards / "rejected.parquet").unlink()
    ran = run("aamprep", "verify", shards, "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert set(document["counts"]) == {
        "shards-file-changed", "shards-file-missing", "shards-file-unknown", "shards-asv-totals",
    }  # fmt: skip
    assert "shards-branches" in document["not_checked"]


def test_an_unknown_file_is_a_warning(shards: Path, run: Programs) -> None:
    (shards / "notes.txt").write_text("mine")
    ran = run("aamprep", "verify", shards)
    assert ran.code == 0
    assert "notes.txt" in ran.out


def one_row(column: str, value: object) -> Change:
    """Change the value of the first row."""
    return lambda t: t.with_columns(
        pl.Series(column, [value, *t[column].to_list()[1:]], dtype=t.schema[column])
    )


def swap(first: str, second: str) -> Change:
    """Exchange two columns of lists."""
    return lambda t: t.with_columns(t[second].alias(first), t[first].alias(second))


def reverse_rows(table: pl.DataFrame) -> pl.DataFrame:
    return table.reverse()


def reverse_lists(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("asv", "count").list.reverse())


def one_more_read_under_a_branch(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("branch_count").list.eval(pl.element() + 1))


def without_the_last_branch(table: pl.DataFrame) -> pl.DataFrame:
    last = pl.col("branch").list.len() - 1
    return table.with_columns(pl.col("branch", "branch_count").list.slice(0, last))


def hide_damage(shards: Path, path: Path, bad: bytes) -> None:
    """Write damaged content, and its hashes as if it were what the writer meant."""
    path.write_bytes(bad)
    digest = {"sha256": file_sha256(path), "footer_sha256": footer_sha256(path)}
    files = tuple(
        replace(file, **digest) if file.name == path.name else file for file in read_manifest(shards).files
    )
    change_manifest(shards, lambda manifest: replace(manifest, files=files))


def test_damage_that_the_hashes_hide(shards: Path) -> None:
    """It is found, or reads back as the same (some bits of a page's header mean nothing); nothing raises."""
    paths = sorted(shards.glob("*.parquet"))
    tables = {path: pq.read_table(path) for path in paths}
    rng = np.random.default_rng(1)
    for trial in range(60):
        path = paths[trial % len(paths)]
        good = path.read_bytes()
        position = int(rng.integers(4, len(good) - 8))
        hide_damage(shards, path, good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :])
        assert codes(shards) or pq.read_table(path).equals(tables[path]), (path, position)
        hide_damage(shards, path, good)
    assert codes(shards) == set()


LIES: dict[str, tuple[str, Change, set[str]]] = {
    "an ASV without a base": (
        "asvs.parquet", one_row("tokens", [5] + [0] * 60), {"shards-contract"},
    ),
    "an ASV spelt otherwise": (
        "asvs.parquet", one_row("tokens", [5] + [1] * 60), {"shards-tokens"},
    ),
    "an ASV id twice": (
        "asvs.parquet", lambda t: t.with_columns(asv_id=pl.lit("same")), {"shards-contract"},
    ),
    "ASVs in another order": ("asvs.parquet", reverse_rows, {"shards-asv-totals", "shards-selection"}),
    "a wrong prevalence": ("asvs.parquet", one_row("prevalence", 999), {"shards-asv-totals"}),
    "a wrong total": ("asvs.parquet", one_row("total_count", 0.5), {"shards-asv-totals"}),
    "an ASV less": (
        "asvs.parquet", lambda t: t.head(-1), {"shards-manifest"},
    ),
    "no count above 0": (
        TRAIN, lambda t: t.with_columns(pl.col("count").list.eval(pl.element() * 0)), {"shards-contract"},
    ),
    "NaN": (TRAIN, one_row("depth", float("nan")), {"shards-contract"}),
    "an index that names no ASV": (
        TRAIN, lambda t: t.with_columns(pl.col("asv").list.eval(pl.element() + 20)), {"shards-contract"},
    ),
    "kept and dropped exchanged": (TRAIN, swap("asv", "dropped_asv"), {"shards-contract"}),
    "another order of selection": (TRAIN, reverse_lists, {"shards-selection"}),
    "a sample less": (
        TRAIN, lambda t: t.head(-1), {"shards-manifest"},
    ),
    "an empty id": (TRAIN, one_row("sample_id", ""), {"shards-contract"}),
    "fewer reads before": (TRAIN, one_row("depth_before_rarefaction", 1.0), {"shards-depths"}),
    "a read too many": (TRAIN, one_more_read_under_a_branch, {"shards-branches"}),
    "a branch less": (TRAIN, without_the_last_branch, {"shards-branches"}),
    "a wrong depth in the tree": (TRAIN, one_row("depth_in_tree", 1.0), {"shards-branches"}),
    "a branch that does not exist": (
        TRAIN, lambda t: t.with_columns(pl.col("branch").list.eval(pl.element() + 99)), {"shards-contract"},
    ),
    "a child before its parent": ("tree.parquet", one_row("parent", 1), {"shards-tree"}),
    "a root with a length": ("tree.parquet", one_row("length", 1.0), {"shards-tree"}),
    "a length below 0": ("tree.parquet", lambda t: t.with_columns(length=-t["length"]), {"shards-tree"}),
    "tips without ASVs": (
        "tree.parquet", lambda t: t.with_columns(asv=pl.lit(None, pl.UInt32)), {"shards-tree"},
    ),
    "one ASV at every tip": (
        "tree.parquet", lambda t: t.with_columns(asv=pl.when(pl.col("asv") >= 0).then(3)), {"shards-tree"},
    ),
    "a branch too many": (
        "tree.parquet", lambda t: pl.concat([t, t.tail(1)]), {"shards-manifest"},
    ),
    "metadata in another order": ("metadata.parquet", reverse_rows, {"shards-metadata-order"}),
    "infinite metadata": ("metadata.parquet", one_row("age", float("inf")), {"shards-contract"}),
    "a rejected sample forgotten": ("rejected.parquet", lambda t: t.head(0), {"shards-manifest"}),
}  # fmt: skip


def test_a_sample_in_two_files(shards: Path) -> None:
    (other,) = shards.glob("samples-test-*")
    rewrite(shards, TRAIN, one_row("sample_id", pq.read_table(other)["sample_id"][0].as_py()))
    assert codes(shards) == {"shards-sample-twice", "shards-metadata-order"}


@pytest.mark.parametrize("lie", LIES)
def test_lies_whose_hashes_agree(lie: str, shards: Path) -> None:
    name, change, expected = LIES[lie]
    rewrite(shards, name, change)
    found = codes(shards)
    assert expected <= found
    assert "shards-file-changed" not in found


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda m: replace(m, num_samples=28), "shards-manifest"),
        (lambda m: replace(m, num_kept_asvs=m.num_kept_asvs - 1), "shards-kept-first"),
        (lambda m: replace(m, num_branches=m.num_branches + 1), "shards-manifest"),
        (lambda m: replace(m, num_rejected_samples=0), "shards-manifest"),
        (lambda m: replace(m, choices=replace(m.choices, token_limit=4)), "shards-contract"),
        (lambda m: replace(m, choices=replace(m.choices, token_limit=6)), "shards-selection"),
        (lambda m: replace(m, choices=replace(m.choices, rarefy_depth=20)), "shards-depths"),
        (lambda m: replace(m, choices=replace(m.choices, split_by="subject")), "shards-splits"),
        (lambda m: replace(m, metadata_types=m.metadata_types | {"age": "categorical"}), "shards-columns"),
        (lambda m: replace(m, sequence_length=70), "shards-columns"),
        (lambda m: replace(m, sequence_length=10**12), "shards-manifest"),
        (lambda m: replace(m, num_asvs="many"), "shards-manifest"),
        (lambda m: replace(m, choices=replace(m.choices, rarefy_depth=[])), "shards-manifest"),
        (lambda m: replace(m, choices=replace(m.choices, token_limit=10**20)), "shards-manifest"),
        (lambda m: replace(m, choices=replace(m.choices, rarefy_depth=10**400)), "shards-manifest"),
        (lambda m: replace(m, choices=replace(m.choices, min_reads="1")), "shards-manifest"),
        (lambda m: replace(m, metadata_types={"age": []}), "shards-manifest"),
        (lambda m: replace(m, files=(replace(m.files[0], row_group_rows=("a",)),)), "shards-manifest"),
        (lambda m: replace(m, vocabulary=("PAD",)), "shards-manifest"),
        (lambda m: replace(m, files=(replace(m.files[0], name="../asvs.parquet"),)), "shards-manifest"),
        (lambda m: replace(m, files=m.files + m.files[:1]), "shards-manifest"),
        (lambda m: replace(m, files=m.files[1:]), "shards-manifest"),
    ],
)  # fmt: skip
def test_manifests_that_lie(change: Callable[[Manifest], Manifest], code: str, shards: Path) -> None:
    change_manifest(shards, change)
    assert code in codes(shards)


def test_columns_of_other_types_are_named(shards: Path, run: Programs) -> None:
    path = shards / "tree.parquet"
    table = pq.read_table(path)
    write_parquet(table.set_column(0, "length", table["length"].cast(pa.float32())), path)
    files = tuple(describe(path) if file.name == path.name else file for file in read_manifest(shards).files)
    change_manifest(shards, lambda manifest: replace(manifest, files=files))
    ran = run("aamprep", "verify", shards)
    assert ran.code == 1
    assert "column length: float; double is needed" in " ".join(ran.out.split())


def test_distances_are_checked(shards: Path) -> None:
    def add(matrix: np.ndarray | None) -> set[str]:
        path = shards / "distances.npy"
        if matrix is not None:
            np.save(path, matrix)
        kept = tuple(file for file in read_manifest(shards).files if file.name != path.name)
        change_manifest(shards, lambda manifest: replace(manifest, files=(*kept, describe(path))))
        return codes(shards)

    good = np.ones((29, 29)) - np.eye(29)
    assert add(good) == set()
    assert add(good[:-1, :-1]) == {"shards-distances"}
    assert add(-good) == {"shards-distances"}
    assert add(np.triu(good)) == {"shards-distances"}
    assert add(good.astype(np.int64)) == {"shards-distances"}
    (shards / "distances.npy").write_bytes(b"\x93NUMPY\1\0\1\0(" + bytes(4 * 29**2))
    assert add(None) == {"shards-distances"}
    assert add(good.astype(str)) == {"shards-manifest"}  # no number has so many bytes


def test_what_is_no_shard_set(tmp_path: Path, run: Programs) -> None:
    ran = run("aamprep", "verify", tmp_path)
    assert ran.code == 1
    assert "has no manifest.json" in " ".join(ran.out.split())
    ran = run("aamprep", "verify", tmp_path / "absent")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    (tmp_path / "file").write_text("x")
    assert run("aamprep", "verify", tmp_path / "file", "--json").code == 1


def test_a_copy_is_sound(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "copy")
    assert codes(tmp_path / "copy") == set()


def test_a_damaged_sample_file_does_not_accuse_the_distances(shards: Path) -> None:
    np.save(shards / "distances.npy", np.ones((29, 29)) - np.eye(29))
    files = (*read_manifest(shards).files, describe(shards / "distances.npy"))
    change_manifest(shards, lambda manifest: replace(manifest, files=files))
    (shards / TRAIN).write_bytes((shards / TRAIN).read_bytes()[:-1])
    assert codes(shards) == {"shards-file-changed"}


def test_a_tree_whose_paths_would_fill_the_memory_is_refused(shards: Path) -> None:
    path, number = shards / "tree.parquet", MOST_LEVELS + 3
    row = np.arange(number)
    parent = pa.array(np.maximum(row - 1, 0).astype(np.uint32), mask=row == 0)
    asv = pa.array(np.zeros(number, np.uint32), mask=row < number - 1)
    write_parquet(pa.table([pa.array(np.minimum(row, 1.0)), parent, asv], schema=pq.read_schema(path)), path)
    files = tuple(describe(path) if file.name == path.name else file for file in read_manifest(shards).files)
    change_manifest(shards, lambda manifest: replace(manifest, files=files, num_branches=number))
    findings = Findings()
    verify_shards(shards, findings)
    (tree,) = [finding for finding in findings if finding.code == "shards-tree"]
    assert "65,539 branches from the root" in tree.value


def test_old_sets_without_the_new_hashes_are_sound_and_keep_their_hash(shards: Path) -> None:
    files = tuple(replace(file, row_group_sha256=()) for file in read_manifest(shards).files)
    change_manifest(shards, lambda manifest: replace(manifest, files=files, tokens_sha256=""))
    text = (shards / "manifest.json").read_text()
    assert "row_group_sha256" not in text
    assert "tokens_sha256" not in text
    assert read_manifest(shards).sha256 == file_sha256(shards / "manifest.json")
    assert codes(shards) == set()


def test_a_wrong_hash_of_tokens_or_of_a_row_group_is_found(shards: Path) -> None:
    manifest = read_manifest(shards)
    change_manifest(shards, lambda manifest: replace(manifest, tokens_sha256="0" * 64))
    assert codes(shards) == {"shards-tokens"}
    files = (replace(manifest.files[0], row_group_sha256=("0" * 64,)), *manifest.files[1:])
    change_manifest(shards, lambda _: replace(manifest, files=files))
    assert codes(shards) == {"shards-pages"}
