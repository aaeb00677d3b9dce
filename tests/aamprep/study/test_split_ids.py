"""Lists of sample ids for each split: samples go where the lists say, and each fault is named."""

from pathlib import Path
from typing import Any

import biom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aamprep
from aam_schemas.manifest import read_manifest
from aam_schemas.shards import SPLITS
from aamprep.study.split_ids import read_split_lists
from tests.helpers.studies import Programs, random_counts, random_sequences

IDS = [f"S{number}" for number in range(12)]
LISTS = {"train": IDS[:7], "validation": IDS[7:9], "test": IDS[9:]}


def table(ids: list[str] = IDS) -> biom.Table:
    return biom.Table(random_counts(len(ids), 6).T, random_sequences(6), ids)


def splits_of(shards: Path) -> dict[str, str]:
    samples = aamprep.open_shards(shards).samples()
    return dict(zip(samples["sample_id"], samples["split"], strict=True))


@settings(deadline=None, max_examples=settings.default.max_examples // 10)
@given(st.lists(st.sampled_from([*SPLITS, None]), min_size=12, max_size=12).filter(any))
def test_samples_go_where_the_lists_say(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[str | None]
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    expected = {sample: split for sample, split in zip(IDS, drawn, strict=True) if split}
    lists: dict[str, Any] = {split: [i for i in expected if expected[i] == split] for split in SPLITS}
    (folder / "train.txt").write_text("\n".join(lists["train"]))
    written = aamprep.shard(
        table(), split_ids=lists | {"train": folder / "train.txt"}, output=folder / "shards"
    )
    assert splits_of(folder / "shards") == expected
    rejected = written.open().rejected()
    left_out = [] if rejected is None else sorted(rejected["id"])
    assert left_out == sorted(set(IDS) - set(expected))
    assert written.report.counts.get("sample-in-no-list", 0) == len(left_out)
    assert ("split-without-samples" in written.report.counts) == (len(set(expected.values())) < 3)
    assert aamprep.verify(folder / "shards").is_valid


def test_the_command_takes_a_file_for_each_split(run: Programs, tmp_path: Path) -> None:
    aamprep.simulate(tmp_path / "study", samples=12, asvs=20)
    ids = [f"S{number:05d}" for number in range(12)]
    # A header, blank lines, a byte order mark, the ends of lines of Windows, and an id twice.
    (tmp_path / "train.txt").write_bytes("\ufeffsample-id\r\n".encode() + "\r\n\r\n".join(ids[:8]).encode())
    (tmp_path / "val.txt").write_text("\n".join(ids[8:] + ids[8:9]) + "\n")
    lists = [
        "--split-ids",
        f"train={tmp_path / 'train.txt'}",
        "--split-ids",
        f"validation={tmp_path / 'val.txt'}",
    ]
    ran = run("aamprep", "shard", tmp_path / "study/table.biom", *lists, "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    assert "split-without-samples" in ran.err
    assert splits_of(tmp_path / "shards") == {i: "train" if i in ids[:8] else "validation" for i in ids}
    manifest = read_manifest(tmp_path / "shards")
    assert manifest.choices.split_ids
    inputs = [file for file in manifest.inputs if file.role == "split-ids"]
    assert [Path(file.name).name for file in inputs] == ["train.txt", "val.txt"]


def test_sets_without_lists_have_the_same_bytes_as_before(tmp_path: Path) -> None:
    aamprep.shard(table(), output=tmp_path / "shards")
    assert "split_ids" not in (tmp_path / "shards" / "manifest.json").read_text()
    assert not read_manifest(tmp_path / "shards").choices.split_ids


def test_samples_in_no_list_do_not_count_for_filters(tmp_path: Path) -> None:
    counts = np.zeros((4, 2))
    counts[:, 0], counts[2:, 1] = 5, 5
    given_table = biom.Table(counts.T, random_sequences(2), IDS[:4])
    shards = aamprep.shard(
        given_table, split_ids={"train": IDS[:3]}, min_prevalence=2, output=tmp_path / "shards"
    )
    assert shards.manifest.num_asvs == 1


def test_merge_keeps_the_splits(tmp_path: Path) -> None:
    other = [f"T{number}" for number in range(12)]
    aamprep.shard(table(), split_ids=LISTS, output=tmp_path / "a")
    aamprep.shard(table(other), split_ids={"test": other}, output=tmp_path / "b")
    aamprep.shard(table([f"U{number}" for number in range(5)]), output=tmp_path / "c")
    merged = aamprep.merge([tmp_path / "a", tmp_path / "b"], output=tmp_path / "ab")
    assert merged.manifest.choices.split_ids
    assert "shards-choices-differ" not in merged.report.counts
    assert splits_of(tmp_path / "ab") == splits_of(tmp_path / "a") | splits_of(tmp_path / "b")
    merged = aamprep.merge([tmp_path / "a", tmp_path / "c"], output=tmp_path / "ac")
    assert not merged.manifest.choices.split_ids
    assert any("split_ids: True in" in finding.where for finding in merged.report.findings)
    assert splits_of(tmp_path / "ac") == splits_of(tmp_path / "a") | splits_of(tmp_path / "c")
    assert aamprep.verify(tmp_path / "ac").is_valid


def test_lists_have_the_ids_of_the_table_or_those_with_the_study(tmp_path: Path) -> None:
    for name in ("a", "b"):
        aamprep.simulate(tmp_path / name, samples=3, asvs=20)
        (tmp_path / name / "table.biom").rename(tmp_path / f"{name}.biom")
    written = aamprep.shard(
        [tmp_path / "a.biom", tmp_path / "b.biom"],
        split_ids={"train": ["a.S00000", "b.S00001", "S00002"], "test": ["b.S00000"]},
        prefix_samples=True,
        output=tmp_path / "shards",
    )
    expected = ["a.S00000", "b.S00001", "a.S00002", "b.S00002"]
    assert splits_of(tmp_path / "shards") == dict.fromkeys(expected, "train") | {"b.S00000": "test"}
    assert written.report.counts["sample-in-no-list"] == 1


def test_ids_that_no_sample_has_are_counted_with_a_hint(tmp_path: Path) -> None:
    lists = LISTS | {"test": ["s9", "S10", "S11", "other"]}
    report = aamprep.shard(table(), split_ids=lists, output=tmp_path / "shards").report
    (unknown,) = [finding for finding in report.findings if finding.code == "split-id-unknown"]
    assert unknown.where == "split_ids['test']"
    assert unknown.value.startswith("2 of 4 ids, such as s9; 1 would match if case were ignored")
    (left_out,) = [finding for finding in report.findings if finding.code == "sample-in-no-list"]
    assert "S9" in left_out.where


@pytest.mark.parametrize(
    ("lists", "error", "match"),
    [
        ({"train": IDS, "test": ["S3"]}, aamprep.InvalidDataError, "S3 is in the lists of train and test"),
        ({"train": ["s1", "s2"]}, aamprep.InvalidDataError, "no sample of the tables is in a list; 2 would"),
        ({"train": []}, aamprep.InvalidDataError, "no sample of the tables is in a list"),
        ({"val": IDS}, aamprep.UsageError, "no split 'val'"),
        ({"train": "nothing.txt"}, aamprep.UsageError, "no such file"),
        ({"train": "."}, aamprep.InvalidDataError, "a folder"),
        ({"train": b"S1\tgut\n"}, aamprep.InvalidDataError, "line 1: this line has 2 columns"),
        ({"train": b"S1\nS2\xff\n"}, aamprep.InvalidDataError, "line 2: this is not text in UTF-8"),
        ({"train": b"S1\nS\0\n"}, aamprep.InvalidDataError, "line 2: this is not text"),
    ],
)
def test_a_fault_is_named_with_a_fix(lists: Any, error: type[Exception], match: str, tmp_path: Path) -> None:
    for split, content in lists.items():
        if isinstance(content, bytes):
            (tmp_path / f"{split}.txt").write_bytes(content)
            lists = {split: tmp_path / f"{split}.txt"}
    with pytest.raises(error, match=match) as raised:
        aamprep.shard(table(), split_ids=lists, output=tmp_path / "shards")
    assert raised.value.fix  # type: ignore[attr-defined]
    assert not (tmp_path / "shards").exists()


def test_the_lines_of_an_id_in_two_lists_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("sample-id\n\nS1\nS2\n")
    (tmp_path / "b.txt").write_text("S3\nS2\n")
    with pytest.raises(aamprep.InvalidDataError) as raised:
        read_split_lists({"train": tmp_path / "a.txt", "test": tmp_path / "b.txt"})
    assert raised.value.where == f"{tmp_path / 'a.txt'}, line 4, and {tmp_path / 'b.txt'}, line 2"


def test_columns_and_lists_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(aamprep.UsageError, match="by a column and by lists"):
        aamprep.shard(table(), split_ids=LISTS, split_by="subject", output=tmp_path / "shards")


@pytest.mark.parametrize("option", ["train.txt", "val=train.txt", "train=", "=x"])
def test_an_option_without_a_split_is_answered(run: Programs, tmp_path: Path, option: str) -> None:
    aamprep.simulate(tmp_path / "study", samples=3, asvs=20)
    ran = run("aamprep", "shard", tmp_path / "study/table.biom", "--split-ids", option)
    assert ran.code == 2
    assert "does not name a split and a file" in ran.err
    assert "train=train.txt" in ran.err


def test_a_split_has_one_list(run: Programs, tmp_path: Path) -> None:
    ran = run("aamprep", "shard", "x.biom", "--split-ids", "train=a", "--split-ids", "train=b")
    assert ran.code == 2
