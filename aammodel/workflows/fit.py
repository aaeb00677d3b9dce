"""Compare samples that a model is to embed with those that it was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aam_schemas.preparation import Preparation
from aammodel.data.shards import ShardSet
from aammodel.evaluation.embed import filled_splits, samples_in_order
from aammodel.runs.training_asvs import TrainingAsvs

_RATIO = 2
"""Ratio of two depths from which the difference is reported."""


@dataclass(frozen=True)
class Fit:
    """How samples differ from those that a model was trained on."""

    differences: tuple[str, ...]
    """A sentence for each difference in preparation or region, with both figures."""
    num_asvs: int
    """Number of ASVs that the model sees in the samples."""
    unseen_asvs: int | None
    """Number of these that no training sample had. None if the run did not keep its ASVs."""
    reads: float
    """Reads of the samples in all their ASVs."""
    unseen_reads: float | None
    """Reads in ASVs that no training sample had. None if the run did not keep its ASVs."""
    cut_reads: float
    """Reads in ASVs beyond the token limit, which the model does not see."""
    median_depth: float
    """Median number of reads of a sample."""
    training_depth: float | None
    """The same of the training samples. None if the run did not keep it."""

    def sentences(self) -> list[str]:
        """Return what a user should know, with figures."""
        return [*self.differences, *self._depth(), *self._cut(), *self._unseen()]

    def _depth(self) -> Iterator[str]:
        # Without samples, or without a record of the training, there is nothing to compare.
        if not (self.training_depth and self.median_depth):
            return
        if not 1 / _RATIO < self.median_depth / self.training_depth < _RATIO:
            yield (
                f"the median depth is {self.median_depth:,.0f} reads, and that of the training samples was "
                f"{self.training_depth:,.0f}"
            )

    def _cut(self) -> Iterator[str]:
        if self.cut_reads:
            yield (
                f"{self.cut_reads / self.reads:.2%} of the reads are in ASVs beyond the token limit, which "
                "the model does not see"
            )

    def _unseen(self) -> Iterator[str]:
        if self.unseen_asvs is None or self.unseen_reads is None:
            yield (
                "which ASVs were in training is not known: the model was imported, copied without its run, "
                "or trained by an earlier version"
            )
        elif self.unseen_asvs:
            asvs, reads = self.unseen_asvs / self.num_asvs, self.unseen_reads / self.reads
            number = f"{self.unseen_asvs:,} of {self.num_asvs:,} ASVs ({asvs:.1%})"
            yield f"{number}, with {reads:.1%} of the reads, were not in the training samples"


def measure_fit(
    shards: ShardSet,
    preparation: Preparation | None,
    training: TrainingAsvs | None,
    split: str | None,
    token_limit: int,
) -> Fit:
    """Compare the samples of a shard set with those that a model was trained on.

    Parameters
    ----------
    shards : ShardSet
    preparation : Preparation or None
        How the training samples were prepared.
    training : TrainingAsvs or None
        What the run kept of its training samples.
    split : {"train", "validation", "test"} or None
        Split of the samples, or None for all.
    token_limit : int
        Largest number of ASVs per sample that the model sees.

    Raises
    ------
    InvalidDataError
        If a file of the shards is damaged.
    """
    reads = np.zeros(len(shards.tokens))
    depths, cut = [], 0.0
    for samples in samples_in_order(shards, filled_splits(shards, split), ("dropped_count",)):
        for sample in samples:
            # An ASV occurs once in a sample.
            reads[sample.asv[:token_limit]] += sample.count[:token_limit]
            cut += float(sample.count[token_limit:].sum() + sample.dropped_count.sum())
            depths.append(sample.count.sum() + sample.dropped_count.sum())
    seen_by_model = np.flatnonzero(reads)
    unseen = None
    if training is not None:
        unseen = seen_by_model[~training.are_seen(shards.tokens[seen_by_model])]
    found = [] if preparation is None else preparation.mismatches(shards.manifest, shards.tokens)
    return Fit(
        differences=tuple(found),
        num_asvs=len(seen_by_model),
        unseen_asvs=None if unseen is None else len(unseen),
        reads=float(reads.sum()) + cut,
        unseen_reads=None if unseen is None else float(reads[unseen].sum()),
        cut_reads=cut,
        median_depth=float(np.median(depths)) if depths else 0.0,
        training_depth=None if training is None else training.median_depth,
    )
