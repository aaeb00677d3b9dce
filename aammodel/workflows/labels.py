"""Metadata for labels: those of the shards, or a file that came later, read by QIIME 2's rules."""

from collections.abc import Sequence
from pathlib import Path

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.text import shorten
from aammodel.data.shards import ShardSet
from aammodel.labels.metadata import Metadata, column_of, read_metadata, with_study


def metadata_of(shards: ShardSet, sample_ids: Sequence[str], file: Path | None) -> Metadata:
    """Return the metadata of some samples.

    Parameters
    ----------
    shards : ShardSet
    sample_ids : sequence of str
    file : Path, optional
        Metadata as QIIME 2 reads them: tab-separated text or an artifact. By default those of the shards.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If the file is invalid, or has none of the samples.
    """
    if file is None:
        return read_metadata(shards, sample_ids)
    import aamprep

    found = aamprep.read_metadata(file)
    if not set(found.ids) & set(sample_ids):
        from aamprep.study.id_mismatches import mismatch_hint

        ids = (shorten(repr(ids[0]), 80) for ids in (found.ids, sample_ids))
        hint = mismatch_hint(sample_ids, found.ids)
        hint = hint or "it has samples such as {}, and the shards such as {}".format(*ids)
        raise InvalidDataError(
            f"none of its {len(found.ids):,} samples are in the shards; {hint}",
            str(file),
            "give the metadata of this study, with the sample ids of the table",
        )
    types = found.types
    made = {name: column_of(name, cells, types[name] == "numeric") for name, cells in found.columns.items()}
    return with_study(Metadata(found.ids, made, str(file)).in_order(sample_ids))
