"""Compare the ids of the table with those of another file: in both, only here, only there."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aamprep.study.id_mismatches import Reason, nearest
from aamprep.study.study import Study


@dataclass(frozen=True)
class Overlap:
    """Comparison of the ids of the table with those of another file."""

    noun: str
    """Plural noun for the ids, such as samples."""
    there: str
    """Noun for the other file, such as the metadata."""
    file: str
    """Name of the other file."""
    both: tuple[str, ...]
    """Ids in both files, as in the table."""
    only_here: tuple[str, ...]
    """Ids in the table only."""
    only_there: tuple[str, ...]
    """Ids in the other file only."""

    @property
    def counts(self) -> str:
        """The three numbers of ids as text."""
        return (
            f"{len(self.both):,} {self.noun} in both, {len(self.only_here):,} only in the table, "
            f"{len(self.only_there):,} only in {self.there}"
        )

    @cached_property
    def change(self) -> Reason:
        """Change that would make most of the unmatched ids match."""
        return nearest(self.only_here, self.only_there)


def overlaps(study: Study) -> list[Overlap]:
    """Return the comparison of the table with each file that accompanies it."""
    comparisons = [
        samples_and_metadata(study),
        samples_and_distances(study),
        features_and_rep_seqs(study),
        asvs_and_tree(study),
    ]
    return [overlap for overlap in comparisons if overlap is not None]


def samples_and_metadata(study: Study) -> Overlap | None:
    """Compare the samples of all tables with the rows of the metadata. None without metadata."""
    if study.metadata is None:
        return None
    other = study.metadata
    return _compare("samples", _sample_ids(study), "the metadata", other.ids, other.source.name)


def samples_and_distances(study: Study) -> Overlap | None:
    """Compare the samples of all tables with those of a precomputed matrix. None without a matrix."""
    if study.distances is None:
        return None
    other = study.distances
    return _compare("samples", _sample_ids(study), "the distances", other.ids, other.source.name)


def features_and_rep_seqs(study: Study) -> Overlap | None:
    """Compare the features of all tables with rep-seqs. None without rep-seqs."""
    if study.rep_seqs is None:
        return None
    features = [feature_id for table in study.tables for feature_id in table.feature_ids]
    return _compare("features", features, "rep-seqs", study.rep_seqs.by_id, study.rep_seqs.source.name)


def asvs_and_tree(study: Study) -> Overlap | None:
    """Compare the ASVs, under any of their names, with the tips of the tree. None without a tree."""
    if study.tree is None:
        return None
    has_tip = study.tip_of_asv >= 0
    names = [ids[0] for ids in study.asvs.ids]
    used = {study.tree.names[node] for node in study.tip_of_asv[has_tip]}
    return Overlap(
        noun="ASVs",
        there="the tree",
        file=study.tree.source.name,
        both=tuple(names[asv] for asv in np.flatnonzero(has_tip)),
        only_here=tuple(names[asv] for asv in np.flatnonzero(~has_tip)),
        only_there=tuple(tip for tip in study.tree.tips if tip not in used),
    )


def _sample_ids(study: Study) -> list[str]:
    return [sample_id for table in study.tables for sample_id in table.sample_ids]


def _compare(noun: str, here: Iterable[str], other: str, there: Iterable[str], file: str) -> Overlap:
    # Unlike sets, dictionaries keep the order.
    ours, theirs = dict.fromkeys(here), dict.fromkeys(there)
    return Overlap(
        noun=noun,
        there=other,
        file=file,
        both=tuple(name for name in ours if name in theirs),
        only_here=tuple(name for name in ours if name not in theirs),
        only_there=tuple(name for name in theirs if name not in ours),
    )
