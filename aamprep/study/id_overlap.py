"""Which ids two files share: three lists (both, only here, only there), and why the rest may have missed."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aamprep.study.id_mismatches import near_misses
from aamprep.study.study import Study


@dataclass(frozen=True)
class Overlap:
    """The ids of one kind of thing in two files."""

    noun: str
    """What the ids stand for, such as samples."""
    there: str
    """What the other file is, beside the table, such as the metadata."""
    file: str
    """Its name."""
    both: tuple[str, ...]
    """Ids as the table has them."""
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]

    @property
    def counts(self) -> str:
        """Say the three counts in words."""
        return (
            f"{len(self.both):,} {self.noun} in both, {len(self.only_here):,} only in the table, "
            f"{len(self.only_there):,} only in {self.there}"
        )

    @cached_property
    def hint(self) -> str:
        """Say how most of the ids that missed would match; empty where none would."""
        return near_misses(self.only_here, self.only_there)


def overlaps(study: Study) -> list[Overlap]:
    """Compare the table's ids with those of each file that goes with it."""
    found = [
        samples_and_metadata(study),
        samples_and_distances(study),
        features_and_rep_seqs(study),
        asvs_and_tree(study),
    ]
    return [one for one in found if one is not None]


def samples_and_metadata(study: Study) -> Overlap | None:
    """Compare the samples of all tables with the rows of the metadata."""
    if study.metadata is None:
        return None
    other = study.metadata
    return _compare("samples", _sample_ids(study), "the metadata", other.ids, other.source.name)


def samples_and_distances(study: Study) -> Overlap | None:
    """Compare the samples of all tables with those of a precomputed matrix."""
    if study.distances is None:
        return None
    other = study.distances
    return _compare("samples", _sample_ids(study), "the distances", other.ids, other.source.name)


def features_and_rep_seqs(study: Study) -> Overlap | None:
    """Compare the features of all tables with the sequences that were given for them."""
    if study.rep_seqs is None:
        return None
    features = [feature_id for table in study.tables for feature_id in table.feature_ids]
    return _compare("features", features, "rep-seqs", study.rep_seqs.by_id, study.rep_seqs.source.name)


def asvs_and_tree(study: Study) -> Overlap | None:
    """Compare the ASVs, by whichever name the tree knows them, with the tips of the tree."""
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
    ours, theirs = dict.fromkeys(here), dict.fromkeys(there)  # in order, each once
    return Overlap(
        noun=noun,
        there=other,
        file=file,
        both=tuple(one for one in ours if one in theirs),
        only_here=tuple(one for one in ours if one not in theirs),
        only_there=tuple(one for one in theirs if one not in ours),
    )
