"""Samples, ASVs and their embeddings as an AnnData object and as .h5ad, for scanpy and other tools.

`anndata` is an extra (`pip install anndata`). It is imported when it is needed.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from aam_schemas.common.publish import published_file
from aam_schemas.common.temporary import temporary_folder
from aam_schemas.preparation import Preparation
from aam_schemas.shards import ASVS_FILE
from aammodel.distances.metrics import METRICS
from aammodel.evaluation.distances import predicted_matrix
from aammodel.evaluation.embed import samples_in_order
from aammodel.labels.metadata import Column
from aammodel.sample import Float64Array
from aammodel.workflows.distance_matrix import AllPairs
from aammodel.workflows.embed import (
    EmbeddedAsvs,
    EmbeddedSamples,
    ToEmbed,
    asvs_of_split,
    embed_asvs,
)
from aammodel.workflows.embedding_files import require_anndata

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

MOST_WITH_DISTANCES = 5000
"""Largest number of samples for which distances are stored. Each matrix then takes 200 MB."""

_LOGGER = logging.getLogger(__name__)


def write_anndata(path: Path, data: "AnnData") -> None:
    """Write AnnData as .h5ad, and publish the file when it is whole.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    # HDF5 locks what it writes, and `published_file` has locked its file already.
    with temporary_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.write_h5ad(folder / "written.h5ad", compression="gzip")
        with published_file(path) as temporary:
            shutil.copyfile(folder / "written.h5ad", temporary)


def make_anndata(todo: ToEmbed, samples: EmbeddedSamples, preparation: Preparation | None) -> "AnnData":
    """Return samples, ASVs and their embeddings as AnnData.

    Parameters
    ----------
    todo : ToEmbed
    samples : EmbeddedSamples
        Embeddings of these samples, with distance features.
    preparation : Preparation or None
        How the samples of the model were prepared.

    Returns
    -------
    AnnData
        `X`: counts, float64, sparse, with the ASVs beyond the token limit. `obs`: split and metadata. `var`:
        sequence and, if there is one, taxon. `obsm["X_aam"]` and `varm["aam"]`: embeddings of samples, and of
        ASVs on their own. `obsp`: true distances under their names, predicted ones under `predicted_NAME`.
        `uns["aam"]`: origin.

    Raises
    ------
    UsageError
        If anndata is not installed.
    InvalidDataError
        If a file is damaged, or a sample is invalid.
    """
    require_anndata("AnnData")
    from anndata import AnnData

    asvs = embed_asvs(todo)
    names = _column_names(["split", *samples.metadata.columns])
    columns = [Column("split", np.array(samples.splits, dtype=object)), *samples.metadata.columns.values()]
    obs = _frame(samples.sample_ids, dict(zip(names, map(_values, columns), strict=True)))
    var = _frame(asvs.asv_ids, {"sequence": _text(asvs.sequences)} | _taxa(todo))
    uns = _origin(todo, preparation, dict(zip(names[1:], samples.metadata.columns, strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = AnnData(X=_counts(todo, samples, asvs), obs=obs, var=var, uns={"aam": uns})
        made.obsm["X_aam"], made.varm["aam"] = samples.embedding, asvs.embedding
        made.obsp.update(_distances(todo, samples))
    return made


def _counts(todo: ToEmbed, samples: EmbeddedSamples, asvs: EmbeddedAsvs) -> sparse.csr_matrix:
    """Return the reads of each ASV in each sample, in the order of both."""
    row_of = {sample_id: row for row, sample_id in enumerate(samples.sample_ids)}
    column_of = np.cumsum(asvs_of_split(todo)) - 1
    rows, columns, counts = [], [], []
    for batch in samples_in_order(todo.shards, todo.splits, ("dropped_asv", "dropped_count")):
        for sample in batch:
            found = np.concatenate([sample.asv, sample.dropped_asv])
            rows.append(np.full(len(found), row_of[sample.sample_id]))
            columns.append(column_of[found])
            counts.append(np.concatenate([sample.count, sample.dropped_count]))
    places = (np.concatenate(rows), np.concatenate(columns))
    shape = (len(samples.sample_ids), len(asvs.asv_ids))
    return sparse.csr_matrix((np.concatenate(counts), places), shape=shape)


def _distances(todo: ToEmbed, samples: EmbeddedSamples) -> dict[str, Float64Array]:
    number = len(samples.sample_ids)
    if number > MOST_WITH_DISTANCES:
        _LOGGER.warning("no distances are stored, since there are more than %s samples", MOST_WITH_DISTANCES)
        return {}
    targets = todo.model.config.targets
    found = {f"predicted_{name}": predicted_matrix(todo.model, samples, name) for name in targets}
    row_of = {sample_id: row for row, sample_id in enumerate(samples.sample_ids)}
    for name in dict.fromkeys((*targets, "unweighted_unifrac")):
        if name in METRICS and METRICS[name].is_available(todo.shards.metric_inputs):
            pairs = AllPairs(todo.shards, name, todo.split)
            ids, has_distance = pairs.samples()
            matrix = np.empty((len(ids), len(ids)))
            pairs.fill(matrix, has_distance, lambda fraction: None)
            rows = [row_of[sample_id] for sample_id in ids]
            # A sample without reads in the tree has no distance.
            found[name] = np.full((number, number), np.nan)
            found[name][np.ix_(rows, rows)] = matrix
    return found


def _origin(todo: ToEmbed, preparation: Preparation | None, columns: dict[str, str]) -> dict[str, Any]:
    renamed = {name: given for name, given in columns.items() if name != given}
    return {
        "model": todo.provenance["model"],
        "data": todo.provenance["data"],
        "versions": todo.provenance["versions"],
        "token_limit": todo.token_limit,
        "model_config": json.dumps(asdict(todo.model.config)),
        "preparation": json.dumps(None if preparation is None else preparation.as_dict()),
        "differences": _text(todo.fit.sentences()),
        "renamed_columns": json.dumps(renamed, ensure_ascii=False),
    }


def _taxa(todo: ToEmbed) -> dict[str, npt.NDArray[np.object_]]:
    with todo.shards.open(ASVS_FILE) as file:
        if "taxon" not in file.schema.names:
            return {}
        taxa = _text(file.read(["taxon"])["taxon"].to_pylist())
    return {"taxon": taxa[asvs_of_split(todo)]}


def _values(column: Column) -> Any:
    """Return a column of metadata as AnnData stores it: numbers, or categories with missing values."""
    import pandas as pd

    if column.is_numeric:
        return column.values
    # With text of other types than objects, some versions of anndata cannot write what pandas makes of it.
    categories = _text(sorted({value for value in column.values if value is not None}))
    return pd.Categorical(column.values, categories=pd.Index(categories, dtype=object))


def _frame(ids: Sequence[str], columns: dict[str, Any]) -> "pd.DataFrame":
    import pandas as pd

    index = pd.Index(_text(ids), dtype=object)
    series = {
        name: pd.Series(values, index=index, dtype=object)
        if isinstance(values, np.ndarray) and values.dtype == object
        else pd.Series(values, index=index)
        for name, values in columns.items()
    }
    frame = pd.DataFrame(series, index=index)
    frame.columns = pd.Index(_text(list(columns)), dtype=object)
    return frame


def _column_names(names: Sequence[str]) -> list[str]:
    """Return names of columns that HDF5 and AnnData can hold: no slash, no path of dots, each once."""
    found: dict[str, None] = {}
    for given in names:
        name = given.replace("/", "_")
        if not name.strip(".") or name == "_index":
            name = f"column_{len(found)}"
        while name in found:
            name += "_"
        found[name] = None
    return list(found)


def _text(values: Sequence[str | None]) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
