"""Tables as Python objects: each gives the shards of the same table as a file."""

from pathlib import Path
from typing import Any

import biom
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

import aamprep
from aamprep.counts import counts_of
from tests.helpers.studies import random_counts, random_sequences

SEQUENCES = random_sequences(6)
NAMES = [f"asv{number}" for number in range(6)]
IDS = ["s1", "s2", "s3", "s4"]
COUNTS = random_counts(4, 6)


def pandas_frame(columns: list[str] = SEQUENCES, dtype: str = "float64") -> pd.DataFrame:
    return pd.DataFrame(COUNTS, index=IDS, columns=columns).astype(dtype)


def ann_data(X: Any, **var: Any) -> Any:
    anndata = pytest.importorskip("anndata", reason="anndata is optional")
    return anndata.AnnData(X, obs=pd.DataFrame(index=IDS), var=pd.DataFrame(**var))


TABLES: dict[str, Any] = {
    "pandas": lambda: pandas_frame(),
    "integers": lambda: pandas_frame(dtype="int64"),
    "nullable": lambda: pandas_frame(dtype="Int32"),
    "sparse": lambda: pandas_frame().astype(pd.SparseDtype(float, 0)),
    "objects": lambda: pandas_frame().astype(object),
    "id column": lambda: pandas_frame().reset_index(names="sample-id"),
    "polars": lambda: pl.from_pandas(pandas_frame().reset_index(names="anything")),
    "polars id": lambda: pl.from_pandas(pandas_frame().reset_index(names="#SampleID")),
    "anndata": lambda: ann_data(COUNTS, index=SEQUENCES),
    "sparse anndata": lambda: ann_data(sp.csr_matrix(COUNTS), index=SEQUENCES),
    "anndata rows": lambda: ann_data(np.vstack([COUNTS, COUNTS])[:4], index=SEQUENCES)[IDS],
    "anndata sequences": lambda: ann_data(COUNTS, index=NAMES, data={"sequence": SEQUENCES}),
}


@pytest.mark.parametrize("kind", TABLES)
def test_an_object_gives_the_shards_of_the_table(kind: str, tmp_path: Path) -> None:
    given = TABLES[kind]()
    aamprep.shard(biom.Table(COUNTS.T, SEQUENCES, IDS), output=tmp_path / "expected")
    written = aamprep.shard(given, output=tmp_path / "shards")
    assert written.sample_ids == tuple(IDS)
    expected, got = (aamprep.open_shards(tmp_path / name) for name in ("expected", "shards"))
    assert got.samples().equals(expected.samples())
    assert got.asvs(["sequence", "total_count"]).equals(expected.asvs(["sequence", "total_count"]))
    names = NAMES if kind == "anndata sequences" else SEQUENCES
    assert sorted(got.asvs()["asv_id"]) == sorted(names)


def test_rows_without_names_are_numbered(tmp_path: Path) -> None:
    written = aamprep.shard(pl.from_pandas(pandas_frame()), output=tmp_path / "shards")
    assert written.sample_ids == ("0", "1", "2", "3")


def test_missing_counts_reject_the_sample(tmp_path: Path) -> None:
    frame = pandas_frame(dtype="Int64")
    frame.iloc[1, 0] = pd.NA
    written = aamprep.shard(frame, output=tmp_path / "shards")
    assert written.report.counts["count-nan"] == 1
    assert written.manifest.num_samples == 3


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (lambda: pandas_frame().assign(site="gut"), "column site is of type .* not numbers"),
        (lambda: pandas_frame().assign(day=pd.Timestamp("2026-01-01")), "column day"),
        (lambda: pl.from_pandas(pandas_frame()).with_columns(site=pl.lit("gut")), "column site"),
        (lambda: pl.from_pandas(pandas_frame()).with_columns(day=pl.lit(3).cast(pl.Date)), "column day"),
        (lambda: pandas_frame().to_numpy(), "class numpy.ndarray cannot be read"),
        (list, "there is no table"),
    ],
)
def test_objects_without_counts_say_why(given: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(aamprep.UsageError, match=match) as raised:
        aamprep.shard(given(), output=tmp_path / "shards")
    assert raised.value.fix


def test_an_anndata_without_counts_is_named() -> None:
    with pytest.raises(aamprep.UsageError, match="no counts in X"):
        counts_of(ann_data(None, index=SEQUENCES))


def test_the_same_name_with_two_sequences_is_refused(tmp_path: Path) -> None:
    tables = [
        ann_data(COUNTS, index=NAMES, data={"sequence": order}) for order in (SEQUENCES, SEQUENCES[::-1])
    ]
    with pytest.raises(aamprep.UsageError, match="another sequence in another table"):
        aamprep.shard(tables, output=tmp_path / "shards")
