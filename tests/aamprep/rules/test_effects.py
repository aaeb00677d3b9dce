"""No value that an error names gets into a shard set: `shard` and `merge` do what docs/rules.md says.

Every error rule has an entry in `tests/helpers/broken_studies.py` or below. What is left is compared with the
study as it was written.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import aamprep
from aam_schemas.manifest import Choices, InputFile
from aam_schemas.shards import write_parquet
from aamprep.prepare.pipeline import Previous, SamplePipeline
from aamprep.prepare.rejected import Rejected
from aamprep.read.types import CountTable
from aamprep.rules import shards, tables
from aamprep.rules.findings import Findings
from aamprep.rules.rule import MERGE, SHARD, Effect
from aamprep.study.study import Asvs, Study
from tests.helpers import mutations
from tests.helpers.agreement import same_findings
from tests.helpers.broken_studies import (
    BROKEN,
    COUNTS,
    SAMPLES,
    TREES,
    comb,
    expected,
    left_out,
    table,
    write_study,
)

ERRORS = {
    code: rule for module in (tables, shards) for code, rule in module.catalogue().items() if rule.effect
}
LONG = {"file-compression-ratio", "file-too-many-entries", "reader-crashed", "sample-too-large"}


def some(codes: Any) -> list[Any]:
    """Return codes as parameters. Those of large files are marked as long."""
    return [pytest.param(code, marks=pytest.mark.long if code in LONG else ()) for code in sorted(codes)]


def shard(folder: Path, given: dict[str, Any]) -> aamprep.ShardSummary:
    arguments = aamprep.find_beside(folder / "table.biom") | {"isolate": False} | given
    return aamprep.shard(folder / "table.biom", output=folder / "shards", **arguments)


def content(written: aamprep.ShardSet) -> dict[str, Any]:
    """Return what a shard set holds, by the names of `expected`."""
    asvs, metadata, tree = written.asvs(), written.metadata(), written.tree()
    assert metadata is not None
    sequence = dict(zip(asvs["asv_id"], asvs["sequence"], strict=True))
    table = written.table()
    counts = {
        str(sample): {
            sequence[str(asv)]: float(count)
            for asv, count in zip(table.ids("observation"), values, strict=True)
            if count
        }
        for values, sample, _ in table.iter()
    }
    ids = metadata["sample_id"].to_list()
    return {
        "counts": counts,
        "age": dict(zip(ids, metadata["age"], strict=True)),
        "site": dict(zip(ids, metadata["site"], strict=True)),
        "taxon": dict(zip(asvs["sequence"], asvs["taxon"], strict=True)),
        "tips": {sequence[tip.name] for tip in tree.tips()} if tree is not None else set(),
    }


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path / "study")
    return tmp_path / "study"


def test_every_error_has_an_entry() -> None:
    checked = {code for code, rule in ERRORS.items() if SHARD in rule.checked_by}
    assert checked == {*BROKEN, tables.CONTRACT.code}
    merged = {code for code, rule in ERRORS.items() if MERGE in rule.checked_by}
    assert merged == {*TREES, *DAMAGES, tables.TREE_TOO_DEEP.code}
    for code, broken in BROKEN.items():
        assert broken.is_refused == (ERRORS[code].effect is Effect.REFUSED), code


def test_the_sound_study_is_written_as_it_is(study: Path) -> None:
    written = shard(study, {})
    assert written.report.is_valid
    assert content(written.open()) == expected(left_out(lambda _: None))


@pytest.mark.parametrize("code", some(BROKEN))
def test_shard_writes_nothing_or_leaves_out_what_the_error_names(code: str, study: Path) -> None:
    broken = BROKEN[code]
    given = broken.change(study) or {}
    arguments = {"isolate": False} | aamprep.find_beside(study / "table.biom") | given
    tables_of_study = arguments.pop("tables", study / "table.biom")
    report = same_findings(tables_of_study, study / "shards", **arguments)
    assert not report.is_valid
    if broken.is_refused:
        assert code in report.counts
        assert not (study / "shards").exists()
        return
    written = aamprep.open_shards(study / "shards")
    rejected = written.rejected()
    assert code in {*report.counts, *([] if rejected is None else rejected["rule"])}
    assert content(written) == expected(broken)


def test_strict_writes_nothing_at_any_error(study: Path) -> None:
    BROKEN["metadata-number"].change(study)
    with pytest.raises(aamprep.InvalidStudyError):
        shard(study, {"strict": True})
    assert not (study / "shards").exists()


@pytest.mark.parametrize("option", [{"where": "site<33"}, {"split_by": "site"}])
def test_metadata_that_are_refused_are_not_used_for_options(study: Path, option: dict[str, str]) -> None:
    BROKEN["metadata-header-short"].change(study)
    with pytest.raises(aamprep.InvalidStudyError) as refused:
        shard(study, option)
    assert set(refused.value.report.counts) == {"metadata-header-short"}
    assert not (study / "shards").exists()


def test_reads_of_samples_with_errors_keep_no_asv(study: Path) -> None:
    """a3 has 6 reads, of which 1 is of a sample with an error: with 5 reads, it is below 6."""
    counts = COUNTS.copy()
    counts[2, 0] = -1
    table(study, counts)
    written = shard(study, {"min_reads": 6})
    assert written.report.counts["asv-below-reads"] == 1
    assert {"S0", "S1", "S3", "S4", "S5"} == set(written.open().samples()["sample_id"])


def test_a_sum_of_valid_counts_that_is_too_large_is_reported(study: Path) -> None:
    """Two features have one sequence, and their counts are summed."""
    sequence = (study / "rep-seqs.fasta").read_text().split("\n")[1]
    text = (study / "rep-seqs.fasta").read_text().replace(">a1\n", f">a1\n{sequence}\n>old\n")
    (study / "rep-seqs.fasta").write_text(text)
    counts = COUNTS.copy()
    counts[0, :2] = 2.0**53
    table(study, counts)
    report = shard(study, {}).report
    assert report.counts["count-too-large"] == 1
    assert not report.is_valid


def test_a_sample_that_breaks_the_contract_is_left_out() -> None:
    """Our own rules come first: only values from elsewhere can reach the contract, here a depth."""
    source = InputFile(role="table", name="table.biom", bytes=0, sha256="")
    table = CountTable(
        source, "study", ("S1", "S2"), ("ACGT",), np.array([0, 1, 2]), np.array([0, 0], np.int32), np.ones(2)
    )
    asvs = Asvs(("ACGT",), (("ACGT",),), None)
    number = np.zeros(1, dtype=np.int64)
    study = Study((table,), (number,), asvs, None, number, (), None, None, None, (source,))
    choices = Choices(
        token_limit=4, rarefy_depth=None, select="abundance", seed=0, split_by=None,
        missing_from_tree="keep", min_prevalence=1, min_reads=0,
    )  # fmt: skip
    findings = Findings()
    pipeline = SamplePipeline(study, choices, False, Rejected(findings), Previous({}, {"S1": -1.0}))
    (block,) = pipeline.blocks()
    assert block["sample_id"].to_pylist() == ["S2"]
    assert findings.counts() == {tables.CONTRACT: 1}


# --- merge ---

Damage = Callable[[Path], object]


def value(name: str, new: Any, part: str = "") -> Damage:
    """Change a value of the manifest."""

    def damage(folder: Path) -> None:
        document = mutations.read(folder)
        (document[part] if part else document)[name] = new
        mutations.write(folder, document)

    return damage


def column(file: str, name: str, change: Callable[[list[Any]], list[Any]]) -> Damage:
    """Change a column of a Parquet file, as a faulty writer would: every hash agrees."""

    def damage(folder: Path) -> None:
        (path,) = folder.glob(file)
        old = pq.read_table(path)
        field = old.schema.field(name)
        values = pa.array(change(old[name].to_pylist()), field.type)
        path.unlink()
        write_parquet(old.set_column(old.column_names.index(name), field, values), path)
        mutations.repair(folder, path.name)

    return damage


def first(new: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda old: [new, *old[1:]]


def another_base(old: list[list[int]]) -> list[list[int]]:
    start, base, *rest = old[0]
    return [[start, base % 4 + 1, *rest], *old[1:]]


def cut(folder: Path) -> None:
    (folder / "asvs.parquet").write_bytes((folder / "asvs.parquet").read_bytes()[:-100])


def damaged_page(folder: Path) -> None:
    path = folder / "asvs.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 8] ^= 0x10
    path.write_bytes(raw)
    mutations.repair(folder, path.name)


def sample_of_another_file(folder: Path) -> None:
    (other,) = folder.glob("samples-validation-*")
    column(TRAIN, "sample_id", first(pq.read_table(other)["sample_id"][0].as_py()))(folder)


def kept_and_dropped(folder: Path) -> None:
    (path,) = folder.glob(TRAIN)
    kept, dropped = (pq.read_table(path)[name].to_pylist() for name in ("asv", "dropped_asv"))
    lists = [[ours[0], *theirs[1:]] if theirs else [] for ours, theirs in zip(kept, dropped, strict=True)]
    column(TRAIN, "dropped_asv", lambda _: lists)(folder)


def negative_distances(folder: Path) -> None:
    np.save(folder / "distances.npy", -np.load(folder / "distances.npy"))
    mutations.repair(folder, "distances.npy")


TRAIN = "samples-train-*"
DAMAGES: dict[str, Damage] = {
    "shards-manifest": lambda folder: (folder / "manifest.json").write_text("{}"),
    "shards-file-missing": lambda folder: (folder / "asvs.parquet").unlink(),
    "shards-file-changed": cut,
    "shards-pages": damaged_page,
    "shards-columns": value("metadata_types", {"age": "categorical", "subject": "categorical"}),
    "shards-contract": column(TRAIN, "depth", first(float("nan"))),
    "shards-numbers": value("num_kept_asvs", 3),
    "shards-tokens": column("asvs.parquet", "tokens", another_base),
    "shards-kept-first": value("num_kept_asvs", 3),
    "shards-asv-totals": column("asvs.parquet", "total_count", first(0.5)),
    "shards-sample-twice": sample_of_another_file,
    "shards-asv-twice": kept_and_dropped,
    "shards-selection": value("token_limit", 6, "choices"),
    "shards-depths": value("rarefy_depth", 20, "choices"),
    "shards-splits": value("split_by", "subject", "choices"),
    "shards-metadata-order": column("metadata.parquet", "sample_id", lambda old: old[::-1]),
    "shards-tree": column("tree.parquet", "length", lambda old: [-length for length in old]),
    "shards-branches": column(TRAIN, "depth_in_tree", first(1.0)),
    "shards-distances": negative_distances,
    "merge-sample-twice": lambda _: None,
}
"""Damage to a set that `merge` reads, by the rule that it violates."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two shard sets of different samples, and one with samples of its own."""
    folder = tmp_path_factory.mktemp("sets")
    mutations.sound_shards(folder / "first").rename(folder / "set")
    for name, ids in (("one", SAMPLES), ("two", [f"T{n}" for n in range(6)])):
        write_study(folder / name)
        table(folder / name, samples=ids)
        aamprep.shard(
            folder / name / "table.biom", output=folder / f"{name}-set", isolate=False,
            rep_seqs=folder / name / "rep-seqs.fasta",
        )  # fmt: skip
    return folder


def refused_merge(sets: list[Path], output: Path, tree: Path | None = None) -> set[str]:
    """Merge sets, which must be refused with nothing written, and return the codes of the findings."""
    with pytest.raises(aamprep.InvalidStudyError) as refused:
        aamprep.merge(sets, output=output, tree=tree)
    assert not output.exists()
    return set(refused.value.report.counts)


@pytest.mark.parametrize("code", some(DAMAGES))
def test_merge_refuses_a_damaged_set(code: str, sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "set", tmp_path / "set")
    DAMAGES[code](tmp_path / "set")
    other = sound / ("set" if code == "merge-sample-twice" else "two-set")
    assert code in refused_merge([tmp_path / "set", other], tmp_path / "merged")


@pytest.mark.parametrize("code", some(TREES))
def test_merge_refuses_an_invalid_tree(code: str, sound: Path, study: Path) -> None:
    given = TREES[code](study) or {}
    sets = [sound / "one-set", sound / "two-set"]
    assert code in refused_merge(sets, study / "merged", given.get("tree", study / "tree.nwk"))


def test_merge_refuses_a_tree_that_is_too_deep(tmp_path: Path) -> None:
    for name, samples in (("one", ("S0", "S1")), ("two", ("T0", "T1"))):
        (tmp_path / name).mkdir()
        comb(tmp_path / name, samples)
        aamprep.shard(tmp_path / name / "table.biom", output=tmp_path / f"{name}-set", isolate=False)
    sets = [tmp_path / "one-set", tmp_path / "two-set"]
    assert "tree-too-deep" in refused_merge(sets, tmp_path / "merged", tmp_path / "one" / "tree.nwk")
