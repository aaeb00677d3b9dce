"""Labels of samples that follow from their ASVs and from the tree, for objectives that learn them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aammodel.batch import Labels
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import MetricInputs, faith_pd
from aammodel.sample import Float64Array, Sample


@dataclass(frozen=True)
class SampleLabel:
    """A number that describes a sample."""

    columns: tuple[str, ...]
    """Columns of a sample that it needs, beside `asv` and `count`."""
    compute: Callable[[Sequence[Sample], MetricInputs], Float64Array]
    needs_tree: bool = False


def _richness(samples: Sequence[Sample], inputs: MetricInputs) -> Float64Array:
    return np.array([len(sample.asv) + len(sample.dropped_asv) for sample in samples], dtype=np.float64)


def _faith_pd(samples: Sequence[Sample], inputs: MetricInputs) -> Float64Array:
    if not len(inputs.branch_length):
        return np.full(len(samples), np.nan)
    # Without a read in the tree, a sample has no diversity that could be compared with others.
    is_known = np.array([len(sample.branch) > 0 for sample in samples])
    return np.where(is_known, faith_pd(samples, inputs), np.nan)


SAMPLE_LABELS = {
    "faith_pd": SampleLabel(("branch",), _faith_pd, needs_tree=True),
    "richness": SampleLabel(("dropped_asv",), _richness),
}
"""All labels, by name. Each takes the whole sample, including the ASVs that the token limit dropped."""


def label_columns(names: Iterable[str], shards: ShardSet) -> tuple[str, ...]:
    """Return the columns of samples that some labels need. A set without a tree has none for Faith PD."""
    labels = [SAMPLE_LABELS[name] for name in names]
    has_tree = len(shards.metric_inputs.branch_length) > 0
    columns = [column for label in labels if has_tree or not label.needs_tree for column in label.columns]
    return tuple(dict.fromkeys(columns))


def sample_labels(names: Sequence[str], samples: Sequence[Sample], inputs: MetricInputs) -> Labels | None:
    """Return the labels of some samples, or None if no label was asked for.

    Parameters
    ----------
    names : sequence of str
        Names in `SAMPLE_LABELS`.
    samples : sequence of Sample
    inputs : MetricInputs

    Returns
    -------
    Labels or None
        Float32. NaN where a sample has no value: Faith PD without a read in the tree.
    """
    if not names:
        return None
    values = np.stack([SAMPLE_LABELS[name].compute(samples, inputs) for name in names])
    return Labels(tuple(names), torch.from_numpy(values.astype(np.float32)))
