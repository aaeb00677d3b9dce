"""Tables with samples as rows, such as DADA2's seqtab: their sample ids are names of features."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import is_sequence
from aamprep.read.types import CountTable, Metadata
from aamprep.study.id_forms import hash_in
from aamprep.study.id_mismatches import SPELLINGS, nearest

_ABOUT_FEATURES = {"taxon", "taxonomy", "sequence", "confidence", "kingdom", "domain", "phylum"}
"""Names of columns that metadata of features have."""

_FEATURE_NAME = re.compile(r"(z?otu|asv|sv|feature|seq)[\W_]?\d+|[dk]__.*|.*;.*", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """Ids in the files that accompany tables, by a noun for the file."""

    features: Mapping[str, Collection[str]] = field(default_factory=dict)
    samples: Mapping[str, Collection[str]] = field(default_factory=dict)


def why_transposed(table: CountTable, names: Names | None = None) -> str:
    """Return what shows that the samples of a table are features. Empty if nothing does.

    Parameters
    ----------
    table : CountTable
        A table none of whose features has a sequence, if `names` are given.
    names : Names, optional
        Ids in other files of the study.
    """
    samples, features = table.sample_ids, table.feature_ids
    sequences = [name for name in samples if is_sequence(name)]
    if 2 * len(sequences) > len(samples) and not any(map(is_sequence, features)):
        return f"{_of(len(sequences), samples, 'sample')} are sequences, such as {shorten(sequences[0])}"
    names = names or Names()
    comparisons = [("sample", samples, features, noun, ids) for noun, ids in names.features.items()]
    if 2 * sum(map(_names_a_feature, features)) <= len(features):
        comparisons += [("feature", features, samples, noun, ids) for noun, ids in names.samples.items()]
    for axis, ours, others, noun, ids in comparisons:
        number = _number_in(ours, ids)
        if 2 * number >= min(len(ours), len(ids)) > 0 and not _number_in(others, ids):
            return f"{_of(number, ours, axis)} are in {noun}, and no {_OTHER[axis]} id is"
    for axis, ours, others, noun, ids in comparisons:
        near = nearest(ours, [*ids], SPELLINGS)
        if 2 * near.number >= min(len(ours), len(ids)) > 0 and not nearest(others, [*ids]).number:
            return f"{_of(near.number, ours, axis)} are nearly in {noun}, and no {_OTHER[axis]} id is: {near}"
    return ""


_OTHER = {"sample": "feature", "feature": "sample"}


def describes_features(metadata: Metadata) -> bool:
    """Return whether metadata has a column that describes features, such as Taxon."""
    return any(name.casefold() in _ABOUT_FEATURES for name in metadata.columns)


def _names_a_feature(name: str) -> bool:
    """Return whether an id is that of a feature in itself: a hash, a taxon, or a number of an OTU or ASV."""
    return bool(hash_in(name)) or _FEATURE_NAME.fullmatch(name) is not None


def _number_in(names: Collection[str], ids: Collection[str]) -> int:
    return sum(name in ids for name in names)


def _of(number: int, names: Collection[str], axis: str) -> str:
    return f"{number:,} of {len(names):,} {axis} ids"
