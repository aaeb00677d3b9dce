"""Targets: the task that is inferred, the samples that are left out, and labels that cannot be predicted."""

from typing import Any

import numpy as np
import pytest

from aam_schemas.common.errors import UsageError
from aammodel.labels.groups import groups_of, suspected_groups
from aammodel.labels.metadata import Column, Metadata, column_of, with_study
from aammodel.labels.target import make_target, restates


def numbers(*values: float | None) -> Column:
    return column_of("age", values, is_numeric=True)


def texts(*values: str | None) -> Column:
    return column_of("site", values, is_numeric=False)


def test_numbers_are_regressed_and_text_is_classified() -> None:
    age = make_target(numbers(30.5, None, 41, 52.25), None)
    assert age.task == "regression"
    assert age.rows.tolist() == [0, 2, 3]
    assert age.values.tolist() == [30.5, 41, 52.25]
    assert age.notes == ("1 of 4 samples have no age and were left out",)
    site = make_target(texts("gut", "skin", None, "gut", "skin"), None)
    assert (site.task, site.classes) == ("classification", ("gut", "skin"))
    assert site.rows.tolist() == [0, 1, 3, 4]
    assert site.values.tolist() == [0, 1, 0, 1]


def test_few_whole_numbers_are_mentioned() -> None:
    month = make_target(numbers(1, 2, 3, 1, 2, 3), None)
    assert month.task == "regression"
    assert "set --task classification" in month.notes[0]
    assert make_target(numbers(1, 2, 3, 1, 2, 3), "classification").classes == ("1", "2", "3")
    assert make_target(numbers(0, 1, 1, 0), None).task == "classification"
    assert make_target(numbers(0, 1, 1, 0), "regression").task == "regression"


def test_a_class_of_a_single_sample_or_group_is_left_out_by_name() -> None:
    found = make_target(texts("a", "a", "b", "b", "rare"), None)
    assert found.classes == ("a", "b")
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert "single sample" in found.notes[0]
    assert "rare" in found.notes[0]
    groups = np.array(["1", "2", "3", "3", "1", "2"], dtype=object)
    found = make_target(texts("a", "a", "b", "b", "c", "c"), None, groups)
    assert found.classes == ("a", "c")
    assert "single group" in found.notes[0]


BAD: list[tuple[Column, Any, str]] = [
    (numbers(None, None), None, "has no value for any sample"),
    (texts("gut", "gut"), None, "has the one value 'gut'"),
    (numbers(3, 3, None), None, "has the one value 3.0"),
    (texts("12", "high", "low"), "regression", "holds text such as 'high', which cannot be regressed"),
    (texts("a", "b", "c"), None, "fewer than two classes that occur in two samples or more"),
]


@pytest.mark.parametrize(("column", "task", "words"), BAD)
def test_what_cannot_be_predicted_is_refused_with_its_cause(column: Column, task: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make_target(column, task)
    assert caught.value.fix


def test_a_column_that_tells_the_target_in_other_words_is_found() -> None:
    site = make_target(texts("gut", "gut", "skin", "skin"), None)
    assert restates(texts("gut, left", "gut, right", "arm", "arm"), site)
    assert not restates(texts("a", "b", "b", "a"), site)
    many = make_target(texts(*["gut", "skin"] * 10), None)
    assert not restates(texts(*(f"p{number}" for number in range(20))), many)
    age = make_target(numbers(10, 20, 35, 40), None)
    assert restates(numbers(120, 240, 420, 480), age)
    assert not restates(numbers(1, 2, 2, 1), age)
    assert not restates(numbers(120, 240, 420, None), age)


def metadata_of(**columns: Column) -> Metadata:
    length = len(next(iter(columns.values())).values)
    return Metadata(tuple(f"s{number}" for number in range(length)), columns, "metadata.tsv")


def test_an_unknown_column_names_similar_ones() -> None:
    metadata = metadata_of(body_site=texts("a", "b"), age=numbers(1, 2))
    with pytest.raises(UsageError, match="did you mean 'body_site'"):
        metadata.column("body-site", "--target")
    with pytest.raises(UsageError, match="choose among: body_site, age"):
        metadata.column("treatment", "--target")
    with pytest.raises(UsageError, match="there are no metadata"):
        Metadata(("s0",), {}, "shards").column("age", "--target")


def test_columns_of_subjects_that_repeat_are_suspected() -> None:
    metadata = metadata_of(
        host_subject_id=texts("p1", "p1", "p2", "p3"),
        host_age=numbers(1, 1, 2, 3),
        subject=texts("p1", "p2", "p3", "p4"),
        study=texts("x", "x", "y", "y"),
        mouse_number=numbers(7, 7, 8, None),
    )
    assert suspected_groups(metadata, "site") == ["host_subject_id", "study"]
    assert suspected_groups(metadata, "study") == ["host_subject_id"]


def test_groups_must_be_known_for_labelled_samples() -> None:
    column = texts("p1", None, "p2")
    labelled = np.array([True, False, True])
    assert groups_of(column, "--group-by", labelled).tolist() == ["p1", None, "p2"]
    with pytest.raises(UsageError, match="1 samples have no value"):
        groups_of(column, "--group-by", np.ones(3, dtype=bool))
    with pytest.raises(UsageError, match="the same value"):
        groups_of(texts("p", "p"), "--group-by", np.ones(2, dtype=bool))


def test_ids_of_qiita_give_a_column_of_studies() -> None:
    metadata = Metadata(("10317.001", "550.L1S8", "550.x.1"), {}, "shards")
    assert with_study(metadata).columns["qiita_study"].values.tolist() == ["10317", "550", "550"]
    assert "qiita_study" not in with_study(Metadata(("10317.001", "L1"), {}, "shards")).columns


def test_samples_without_a_row_have_missing_values() -> None:
    ordered = metadata_of(age=numbers(1, 2), site=texts("a", "b")).in_order(["s1", "other", "s0"])
    assert ordered.columns["site"].values.tolist() == ["b", None, "a"]
    assert np.isnan(ordered.columns["age"].values[1])
