"""Folds: every sample is predicted once, and no fold divides a group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aam_schemas.common.errors import UsageError
from aammodel.cross_validation.folds import Folds, grouped_folds, inner_splits, left_out_folds, random_folds
from aammodel.labels.metadata import column_of
from aammodel.labels.target import Target, make_target


def target_of(seed: int, samples: int, classes: int) -> Target:
    rng = np.random.default_rng(seed)
    if not classes:
        return make_target(column_of("age", rng.normal(size=samples).tolist(), is_numeric=True), "regression")
    names = [f"c{number % classes}" for number in range(2 * classes)]
    names += [f"c{number}" for number in rng.integers(0, classes, samples - len(names))]
    return make_target(column_of("site", names, is_numeric=False), None)


def groups_for(seed: int, samples: int) -> np.ndarray:
    numbers = np.random.default_rng(seed).integers(0, max(3, samples // 3), samples)
    numbers[:3] = [0, 1, 2]
    return np.array([f"p{number}" for number in numbers], dtype=object)


def check(folds: Folds, samples: int) -> None:
    for repeat in range(folds.num_repeats):
        tested = np.concatenate([test for _, test in folds.splits(repeat)])
        assert sorted(tested.tolist()) == list(range(samples))
        for train, test in folds.splits(repeat):
            assert len(train)
            assert len(test)
            assert not set(train.tolist()) & set(test.tolist())
            if folds.groups is not None:
                assert not set(folds.groups[train]) & set(folds.groups[test])


@given(st.integers(0, 2**20), st.integers(12, 60), st.sampled_from([0, 2, 3]), st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_every_sample_is_tested_once(seed: int, samples: int, classes: int, number: int) -> None:
    target, groups = target_of(seed, samples, classes), groups_for(seed, samples)
    for folds in (
        random_folds(target, number, 2, seed),
        grouped_folds(target, groups, "subject", number, 2, seed),
        left_out_folds(groups, "subject"),
    ):
        check(folds, samples)
        for train, _ in folds.splits(0):
            splits = inner_splits(target, folds, train)
            assert all(len(a) and len(b) and max(*a, *b) < len(train) for a, b in splits)


def test_repeats_differ_and_seeds_repeat() -> None:
    target = target_of(0, 40, 2)
    first, again, other = (random_folds(target, 5, 2, seed).fold for seed in (1, 1, 9))
    assert (first == again).all()
    assert (first[0] != first[1]).any()
    assert (first != other).any()


def test_classes_are_divided_evenly() -> None:
    target = target_of(0, 60, 3)
    folds = random_folds(target, 5, 1, 0)
    counts = [np.bincount(target.values[test], minlength=3) for _, test in folds.splits(0)]
    assert np.ptp(counts, axis=0).max() <= 1


def test_the_fold_of_a_left_out_value_has_its_name() -> None:
    groups = np.array(["b", "a", "b", "c"], dtype=object)
    folds = left_out_folds(groups, "study")
    assert folds.names == ("a", "b", "c")
    assert folds.fold.tolist() == [[1, 0, 1, 2]]


def test_more_folds_than_groups_are_refused() -> None:
    target = target_of(0, 12, 2)
    with pytest.raises(UsageError, match="5 folds cannot be made of 3 groups in column subject") as caught:
        grouped_folds(target, groups_for(0, 12)[[0, 1, 2] * 4], "subject", 5, 1, 0)
    assert caught.value.fix == "set --folds to 2 to 3"
    with pytest.raises(UsageError, match="13 folds cannot be made of 12 samples"):
        random_folds(target, 13, 1, 0)
