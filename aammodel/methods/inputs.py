"""Inputs of methods, such as abundances. Each is computed once for all samples, from each sample alone.

Nothing here is fitted: an input of a sample does not depend on the other samples. All that is fitted
(filters, pseudocounts, scales, categories) is part of the estimators, and so is fitted inside a fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import METRICS, columns_needed
from aammodel.evaluation.baselines import count_kmers
from aammodel.evaluation.distances import predicted_matrix
from aammodel.evaluation.embed import Embeddings, sample_embeddings
from aammodel.labels.metadata import Metadata
from aammodel.nn.model import AamModel
from aammodel.sample import Float64Array, Sample

_READS = ("dropped_asv", "dropped_count")
_ASVS_AT_ONCE = 1024


@dataclass(frozen=True)
class Inputs:
    """Inputs of methods for the samples that have a label.

    Parameters
    ----------
    shards : ShardSet
    samples : sequence of Sample
        The labelled samples, with all columns that shards have.
    metadata : Metadata
        Of these samples, without the target.
    groups : ndarray of object, shape (samples,), or None
        Group of each sample, if samples were grouped or look as if they should be.
    model, untrained : AamModel or None
        A pretrained model, and one of the same shape with random weights.
    """

    shards: ShardSet
    samples: Sequence[Sample]
    metadata: Metadata
    groups: npt.NDArray[np.object_] | None = None
    model: AamModel | None = None
    untrained: AamModel | None = None
    token_limit: int | None = None
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def get(self, name: str) -> Any:
        """Return an input by its name in `INPUTS`, computed on first use."""
        if name not in self._made:
            self._made[name] = INPUTS[name].compute(self)
        return self._made[name]

    @cached_property
    def counts(self) -> sparse.csr_array:
        """Reads of each sample in each ASV, shape (samples, ASVs), with ASVs that were dropped.

        The columns are the rows of asvs.parquet.
        """
        return self._per_asv(lambda reads: reads)

    @cached_property
    def abundance(self) -> sparse.csr_array:
        """Fraction of each sample's reads in each ASV, shape (samples, ASVs), with ASVs that were dropped."""
        return self._per_asv(lambda reads: reads / reads.sum())

    def _per_asv(self, values_of: Callable[[Float64Array], Float64Array]) -> sparse.csr_array:
        columns = [np.concatenate([sample.asv, sample.dropped_asv]) for sample in self.samples]
        reads = [np.concatenate([sample.count, sample.dropped_count]) for sample in self.samples]
        values = [values_of(each) for each in reads]
        # The trees of scikit-learn take indices of 32 bits only.
        bounds = np.cumsum([0, *map(len, columns)]).astype(np.int32)
        shape = (len(self.samples), self.shards.manifest.num_asvs)
        return sparse.csr_array(
            (np.concatenate(values), np.concatenate(columns).astype(np.int32), bounds), shape=shape
        )

    @cached_property
    def kmers(self) -> Float64Array:
        """Square root of the fraction of each k-mer in a sample's ASVs, weighted by reads (Hellinger).

        The k-mers are those of the baselines, shape (samples, 4 ** K). ASVs that the token limit dropped do
        not count.
        """
        tokens = self.shards.tokens
        total = np.zeros((len(self.samples), 0))
        for start in range(0, len(tokens), _ASVS_AT_ONCE):
            counts = count_kmers(tokens[start : start + _ASVS_AT_ONCE])
            part = self.abundance[:, start : start + len(counts)] @ counts.astype(np.float64)
            total = part if not total.shape[1] else total + part
        return np.sqrt(total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12))

    def distance(self, metric: str) -> Float64Array:
        """Return the true distances of all pairs, shape (samples, samples). NaN where there is none."""
        return METRICS[metric].between(self.samples, self.samples, self.shards.metric_inputs)

    def embeddings(self, model: AamModel) -> Embeddings:
        """Return the embeddings of the labelled samples."""
        found = sample_embeddings(model, self.shards, None, self.token_limit)
        return found.in_order([sample.sample_id for sample in self.samples])

    @cached_property
    def model_embeddings(self) -> Embeddings:
        """Embeddings by the pretrained model."""
        assert self.model is not None
        return self.embeddings(self.model)

    @cached_property
    def predicted_distance(self) -> Float64Array:
        """Distances as the model predicts them, for the first of its targets."""
        assert self.model is not None
        return predicted_matrix(self.model, self.model_embeddings, self.model.config.targets[0])


@dataclass(frozen=True)
class Input:
    """One kind of input."""

    compute: Callable[[Inputs], Any]
    is_available: Callable[[Inputs], bool] = lambda inputs: True
    is_pairwise: bool = False
    """True for distances, which have a column for each sample."""
    needs: str = ""
    """Name, for messages, of the option or file that makes this input available."""


def _distance(metric: str) -> Input:
    return Input(
        lambda inputs: inputs.distance(metric),
        lambda inputs: METRICS[metric].is_available(inputs.shards.metric_inputs),
        is_pairwise=True,
        needs="shards with a tree (`aamprep shard --tree`)",
    )


_MODEL = "a model (--from RUN)"


def _has_model(inputs: Inputs) -> bool:
    return inputs.model is not None


def _metadata_columns(inputs: Inputs) -> npt.NDArray[np.object_]:
    columns = [column.values.astype(object) for column in inputs.metadata.columns.values()]
    return np.stack(columns, axis=1)


def _groups(inputs: Inputs) -> npt.NDArray[np.object_]:
    assert inputs.groups is not None
    return inputs.groups[:, None]


INPUTS: dict[str, Input] = {
    "abundance": Input(lambda inputs: inputs.abundance),
    "counts": Input(lambda inputs: inputs.counts),
    "kmers": Input(lambda inputs: inputs.kmers),
    "metadata": Input(
        _metadata_columns,
        lambda inputs: len(inputs.metadata.columns) > 0,
        needs="metadata columns that do not restate the target",
    ),
    "group": Input(_groups, lambda inputs: inputs.groups is not None, needs="groups (--group-by COLUMN)"),
    **{name: _distance(name) for name in METRICS if name != "precomputed"},
    "embedding": Input(lambda inputs: inputs.model_embeddings.embedding, _has_model, needs=_MODEL),
    "untrained_embedding": Input(
        lambda inputs: inputs.embeddings(inputs.untrained).embedding,  # type: ignore[arg-type]
        lambda inputs: inputs.untrained is not None,
        needs=_MODEL,
    ),
    "predicted_distance": Input(
        lambda inputs: inputs.predicted_distance, _has_model, is_pairwise=True, needs=_MODEL
    ),
    "jaccard_and_predicted": Input(
        lambda inputs: (inputs.get("jaccard") + inputs.predicted_distance) / 2,
        _has_model,
        is_pairwise=True,
        needs=_MODEL,
    ),
}
"""All inputs, by name."""


def columns_of_samples(shards: ShardSet) -> tuple[str, ...]:
    """Return the columns of samples that the inputs need, beside `asv` and `count`."""
    metrics = [name for name in METRICS if name != "precomputed"]
    return tuple(dict.fromkeys((*_READS, *columns_needed(metrics, shards.metric_inputs))))
