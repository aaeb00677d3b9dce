"""Checks of a study as a whole: sequences, tree, metadata, distances and depths."""

import re
from collections import Counter

import numpy as np

from aam_schemas.common.counts import rounded_counts
from aam_schemas.common.text import percent, short_number, shorten
from aam_schemas.manifest import Manifest
from aam_schemas.shards import SPLITS
from aam_schemas.vocabulary import fold
from aamprep.arrays import forget_pages
from aamprep.checks.depths import check_depths
from aamprep.checks.orientation import in_both_orientations, unlike_others
from aamprep.checks.summary import Summary
from aamprep.checks.thresholds import KEPT_FRACTION, PRIMER_FRACTION
from aamprep.prepare.block import ENTRIES_PER_BLOCK
from aamprep.read.source import Limits
from aamprep.read.types import Metadata
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.study.id_mismatches import Reason, best_of
from aamprep.study.id_overlap import (
    Overlap,
    asvs_and_tree,
    features_and_rep_seqs,
    samples_and_distances,
    samples_and_metadata,
)
from aamprep.study.study import Paths, Study, read_study

PRIMERS = {
    "515F (EMP)": "GTGYCAGCMGCCGCGGTAA",
    "341F": "CCTACGGGNGGCWGCAG",
    "27F": "AGAGTTTGATYMTGGCTCAG",
    "806R": "GGACTACNVGGGTWTCTAAT",
    "785R": "GACTACHVGGGTATCTAATCC",
}
"""Common primers of 16S surveys: Earth Microbiome Project; Klindworth et al. 2013, doi:10.1093/nar/gks808."""

_CODES = {
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
"""Bases of each IUPAC ambiguity code."""

_AMBIGUOUS = re.compile("[^ACGT]")


def read_checked_study(
    paths: Paths, findings: Findings, limits: Limits, isolate: bool = True
) -> Study | None:
    """Read a study and check it as a whole.

    Parameters
    ----------
    paths : Paths
    findings : Findings
        Problems are added here.
    limits : Limits
        Limits on size and compression of files.
    isolate : bool
        Whether to read files in a child process.

    Returns
    -------
    Study or None
        None if the files cannot be used together.
    """
    study = read_study(paths, findings, limits, isolate)
    if study is None or not fits_together(study, findings):
        return None
    check_study(study, findings)
    return study


def fits_together(study: Study, findings: Findings) -> bool:
    """Return whether the tree and the distances share ASVs and samples with every table.

    A tree or matrix that shares none was made for other data, and is reported as an error.
    """
    fits = True
    if study.tree is not None:
        for table, asvs in zip(study.tables, study.asv_of_feature, strict=True):
            known = asvs[asvs >= 0]
            if len(known) and (study.tip_of_asv[known] < 0).all():
                findings.add(
                    rules.NO_ASV_IN_TREE, study.tree.source.name, f"none of the ASVs of {table.path}"
                )
                fits = False
    overlap = samples_and_distances(study)
    if overlap is not None and not overlap.both:
        value = f"none of {len(overlap.only_here):,} samples; {_why_none(overlap, study)}"
        findings.add(rules.NO_SAMPLE_IN_DISTANCES, overlap.file, value)
        fits = False
    return fits


def check_study(study: Study, findings: Findings) -> None:
    """Run all checks that need no prepared samples."""
    _check_names(study, findings)
    _check_sequences(study.asvs.sequences, findings)
    check_tree(study, findings)
    _check_counts(study, findings)
    _check_rep_seqs(study, findings)
    _check_metadata(study, findings)
    _check_distances(study, findings)


def check_samples(summary: Summary, rarefied: bool, findings: Findings) -> None:
    """Check prepared samples: the reads that the token limit drops, few reads, and the range of depths."""
    fraction = summary.fraction_kept
    low = np.flatnonzero(fraction < KEPT_FRACTION)
    if len(low):
        worst = int(np.argmin(fraction))
        value = (
            f"{_of(len(low), len(fraction), 'samples')} keep less; this sample keeps "
            f"{percent(fraction[worst], KEPT_FRACTION)}"
        )
        findings.add(rules.DROPPED_READS, f"sample {summary.sample_ids[worst]}", value)
    is_whole = rules.NOT_WHOLE not in findings.counts()
    check_depths(summary.per_sample("depth"), summary.sample_ids, rarefied, is_whole, findings)


def check_splits(manifest: Manifest, findings: Findings) -> None:
    """Report splits without samples. Few large groups, or lists of samples, can leave a split empty."""
    choices = manifest.choices
    where = "lists of samples" if choices.split_ids else choices.split_by and f"column {choices.split_by}"
    splits = {split: manifest.num_rows(split) for split in SPLITS}
    if where and not all(splits.values()):
        value = ", ".join(f"{number:,} {split}" for split, number in splits.items())
        findings.add(rules.NO_SAMPLE_IN_SPLIT, where, value)


def _check_names(study: Study, findings: Findings) -> None:
    for ids, sequence in zip(study.asvs.ids, study.asvs.sequences, strict=True):
        if len(ids) > 1 and (len({fold(name) for name in ids}) > 1 or len(ids) > len(study.tables)):
            findings.add(rules.SAME_SEQUENCE, f"{sequence[:40]}...", f"ids {', '.join(ids)}")


def _check_sequences(sequences: tuple[str, ...], findings: Findings) -> None:
    ambiguous = [s for s in sequences if _AMBIGUOUS.search(s)]
    if ambiguous:
        findings.add(
            rules.AMBIGUITY_CODES, f"ASV {ambiguous[0]}", f"{_of(len(ambiguous), len(sequences), 'ASVs')}"
        )
    lengths = Counter(len(s) for s in sequences)
    if len(lengths) > 1:
        value = f"{min(lengths)} to {max(lengths)} bases, most often {lengths.most_common(1)[0][0]}"
        findings.add(rules.SEVERAL_LENGTHS, "all ASVs", value)
    _check_orientation(sequences, findings)
    for name, primer in PRIMERS.items():
        pattern = re.compile("".join(f"[{_CODES.get(code, code)}]" for code in primer))
        number = sum(map(bool, map(pattern.match, sequences)))
        if number > PRIMER_FRACTION * len(sequences):
            findings.add(
                rules.PRIMER_LEFT_ON, name, f"{_of(number, len(sequences), 'ASVs')} begin with {primer}"
            )


def _check_orientation(sequences: tuple[str, ...], findings: Findings) -> None:
    """Report ASVs whose reverse complement occurs, too. A sequencing control or off-target is no amplicon."""
    turned = in_both_orientations(sequences)
    unlike = set(unlike_others(turned, sequences)) if turned else set()
    groups = (
        (rules.BOTH_ORIENTATIONS, [s for s in turned if s not in unlike]),
        (rules.UNLIKE_OTHERS, [s for s in turned if s in unlike]),
    )
    for rule, group in groups:
        if group:
            findings.add(rule, f"ASV {group[0]}", _of(len(group), len(sequences), "ASVs"))


def check_tree(study: Study, findings: Findings) -> None:
    """Report the ASVs that are not in the tree."""
    overlap = asvs_and_tree(study)
    if overlap is None:
        findings.skip(rules.NOT_IN_TREE)
    else:
        _check_absent(rules.NOT_IN_TREE, overlap, overlap.only_here, findings)


def _check_counts(study: Study, findings: Findings) -> None:
    """Report counts that are not whole numbers. Tables may exceed memory, so they are read in slices."""
    for table in study.tables:
        num_bad, first = 0, -1
        for start in range(0, len(table.count), ENTRIES_PER_BLOCK):
            count = np.asarray(table.count[start : start + ENTRIES_PER_BLOCK])
            bad = np.flatnonzero(np.isfinite(count) & ~rounded_counts(count)[1])
            first = start + int(bad[0]) if first < 0 and len(bad) else first
            num_bad += len(bad)
            forget_pages(table.count)
        if num_bad:
            sample = table.sample_ids[int(np.searchsorted(table.indptr, first, side="right")) - 1]
            value = f"{_of(num_bad, len(table.count), 'counts')}, such as {short_number(table.count[first])}"
            findings.add(rules.NOT_WHOLE, f"{table.path}: sample {sample}", value)


def _check_metadata(study: Study, findings: Findings) -> None:
    overlap = samples_and_metadata(study)
    if overlap is None or study.metadata is None:
        for rule in (rules.SAMPLE_WITHOUT_METADATA, rules.METADATA_WITHOUT_SAMPLE, rules.ONE_VALUE):
            findings.skip(rule)
        return
    for name, stored in study.metadata.stored_names().items():
        if name != stored:
            where = f"{overlap.file}: column {name}"
            findings.add(rules.METADATA_COLUMN_RENAMED, where, f"{stored} in the shards")
    if not overlap.both:
        value = f"none of {len(overlap.only_here):,} samples; {_why_none(overlap, study, study.metadata)}"
        findings.add(rules.NO_SAMPLE_IN_METADATA, overlap.file, value)
        for rule in (rules.SAMPLE_WITHOUT_METADATA, rules.METADATA_WITHOUT_SAMPLE, rules.ONE_VALUE):
            findings.skip(rule, "the metadata describe other samples")
        return
    _check_absent(rules.SAMPLE_WITHOUT_METADATA, overlap, overlap.only_here, findings)
    _check_absent(rules.METADATA_WITHOUT_SAMPLE, overlap, overlap.only_there, findings)
    _check_values(study.metadata, set(overlap.both), findings)


def _check_distances(study: Study, findings: Findings) -> None:
    overlap = samples_and_distances(study)
    if overlap is None:
        findings.skip(rules.SAMPLE_WITHOUT_DISTANCE)
    else:
        _check_absent(rules.SAMPLE_WITHOUT_DISTANCE, overlap, overlap.only_here, findings)


def _check_values(metadata: Metadata, samples: set[str], findings: Findings) -> None:
    for name, cells in metadata.columns.items():
        values = {cell for row, cell in zip(metadata.ids, cells, strict=True) if row in samples}
        if len(values) == 1 and len(samples) > 1:
            value = values.pop()
            findings.add(
                rules.ONE_VALUE,
                f"{metadata.source.name}: column {name}",
                "no value" if value is None else repr(value),
            )


def _check_rep_seqs(study: Study, findings: Findings) -> None:
    overlap = features_and_rep_seqs(study)
    if overlap is None:
        findings.skip(rules.REP_SEQS_WITHOUT_FEATURE)
    else:
        _check_absent(rules.REP_SEQS_WITHOUT_FEATURE, overlap, overlap.only_there, findings)


def _check_absent(rule: Rule, overlap: Overlap, absent: tuple[str, ...], findings: Findings) -> None:
    """Report ids that one of two files lacks: an example, the three counts, and a likely cause."""
    if absent:
        value = f"{len(absent):,}, such as {absent[0]}; {overlap.counts}"
        findings.add(rule, overlap.file, value + (f"; {overlap.change}" if overlap.change.number else ""))


def _why_none(overlap: Overlap, study: Study, metadata: Metadata | None = None) -> str:
    """Return why a file has no sample: its ids are features, were changed, or stand elsewhere in it."""
    reasons = [_features_of(overlap, study), overlap.change]
    if metadata:
        # The same text elsewhere is a better reason than a change of ids. A number can be there by chance.
        reasons.insert(1, _names_of_columns(metadata, overlap))
        reasons.insert(2, _other_column(metadata, "categorical", overlap))
        reasons.append(_other_column(metadata, "numeric", overlap))
    return str(best_of(reasons)) or _ids_of_both(overlap)


def _features_of(overlap: Overlap, study: Study) -> Reason:
    features = {feature_id for table in study.tables for feature_id in table.feature_ids}
    number = sum(name in features for name in overlap.only_there)
    if 2 * number < min(len(features), len(overlap.only_there)) or not number:
        return Reason()
    ids = _of(number, len(overlap.only_there), "ids")
    return Reason(number, f"{ids} of {overlap.there} are features of the table")


def _names_of_columns(metadata: Metadata, overlap: Overlap) -> Reason:
    number = len(set(overlap.only_here).intersection(metadata.columns))
    if 2 * number < min(len(overlap.only_here), len(metadata.columns)) or not number:
        return Reason()
    return Reason(number, f"{number:,} are names of columns: the metadata are transposed")


def _other_column(metadata: Metadata, column_type: str, overlap: Overlap) -> Reason:
    """Return the column of a type that has most of the samples. One of numbers must have all of them."""
    samples = set(overlap.only_here)
    best = Reason()
    for name, cells in metadata.columns.items():
        number = len(samples.intersection(cells)) if metadata.types[name] == column_type else 0
        enough = len(samples) if column_type == "numeric" else min(len(samples), len(cells)) / 2
        if number > best.number and number >= enough:
            where = f"column {shorten(name)!r}, but the ids must be in the first column"
            best = Reason(number, f"{number:,} are in {where}")
    return best


def _ids_of_both(overlap: Overlap) -> str:
    here, there = (next(iter(ids), "") for ids in (overlap.only_here, overlap.only_there))
    return f"the table has ids such as {here!r}, {overlap.there} such as {there!r}"


def _of(part: int, whole: int, noun: str) -> str:
    return f"{part:,} of {whole:,} {noun}"
