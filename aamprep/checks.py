"""Checks of a study as a whole: its sequences, its tree, its metadata, its depths."""

import re
from collections import Counter

import numpy as np
import numpy.typing as npt

from aamprep import rules
from aamprep.block import ENTRIES_PER_BLOCK
from aamprep.findings import Findings, Rule
from aamprep.inputs import Metadata
from aamprep.study import Study
from aamprep.summary import Summary

PRIMERS = {
    "515F (EMP)": "GTGYCAGCMGCCGCGGTAA",
    "341F": "CCTACGGGNGGCWGCAG",
    "27F": "AGAGTTTGATYMTGGCTCAG",
    "806R": "GGACTACNVGGGTWTCTAAT",
    "785R": "GACTACHVGGGTATCTAATCC",
}
"""Forward and reverse primers of 16S surveys (Earth Microbiome Project; Klindworth et al. 2013)."""

_CODES = {
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
_COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")

PRIMER_SHARE = 0.5
"""Share of the ASVs from which a shared start is called a primer."""

KEPT_SHARE = 0.95
"""Share of its reads that a sample should keep under the token limit."""

REACHED_SHARE = 0.9
"""Share of the samples that reach the rarefaction depth that is suggested."""

DEPTH_RATIO = 2.0
"""How far depths may differ, deepest to shallowest tenth, before rarefaction is advised."""


def check_study(study: Study, findings: Findings) -> None:
    """Check what was read, before any sample is prepared."""
    _check_names(study, findings)
    _check_sequences(study.asvs.sequences, findings)
    _check_tree(study, findings)
    _check_counts(study, findings)
    if study.metadata is not None:
        _check_metadata(study, study.metadata, findings)
    else:
        findings.skip(rules.SAMPLE_WITHOUT_METADATA, "no metadata were given")


def check_samples(study: Study, summary: Summary, rarefied: bool, findings: Findings) -> None:
    """Check the samples that were prepared: what the token limit drops, and how far depths differ."""
    share = summary.share_kept
    low = np.flatnonzero(share < KEPT_SHARE)
    if len(low):
        worst = int(np.argmin(share))
        value = f"{_of(len(low), len(share), 'samples')} keep less, the least {share[worst]:.1%}"
        findings.add(rules.DROPPED_READS, f"sample {summary.sample_ids[worst]}", value)
    depth = summary.per_sample("depth")
    if study.tree is None or rarefied or len(depth) < 2:
        reason = "the samples are rarefied" if rarefied else "there is no tree, or fewer than two samples"
        findings.skip(rules.UNRAREFIED, reason)
        return
    shallow, deep = np.quantile(depth, [0.1, 0.9])
    if deep > DEPTH_RATIO * shallow:
        suggested = suggested_depth(depth)
        kept = int((depth >= suggested).sum())
        value = (
            f"depths of {depth.min():,.0f} to {depth.max():,.0f}; "
            f"--rarefy-depth {suggested} would keep {kept} of {len(depth)} samples"
        )
        findings.add(rules.UNRAREFIED, "all samples", value)


def suggested_depth(depth: npt.NDArray[np.float64]) -> int:
    """Suggest a rarefaction depth: a round number that nine of ten samples reach."""
    reached = float(np.quantile(depth, 1 - REACHED_SHARE))
    magnitude = 10 ** max(0, int(np.log10(max(reached, 1))) - 1)
    return max(1, int(reached // magnitude * magnitude))


def _check_names(study: Study, findings: Findings) -> None:
    for ids, sequence in zip(study.asvs.ids, study.asvs.sequences, strict=True):
        if len({one.upper().replace("U", "T") for one in ids}) > 1 or len(ids) > len(study.tables):
            findings.add(rules.SAME_SEQUENCE, f"{sequence[:40]}...", f"ids {', '.join(ids)}")


def _check_sequences(sequences: tuple[str, ...], findings: Findings) -> None:
    ambiguous = [s for s in sequences if s.strip("ACGT")]
    if ambiguous:
        findings.add(
            rules.AMBIGUITY_CODES, f"ASV {ambiguous[0]}", f"{_of(len(ambiguous), len(sequences), 'ASVs')}"
        )
    lengths = Counter(len(s) for s in sequences)
    if len(lengths) > 1:
        value = f"{min(lengths)} to {max(lengths)} bases, most often {lengths.most_common(1)[0][0]}"
        findings.add(rules.SEVERAL_LENGTHS, "all ASVs", value)
    known = set(sequences)
    turned = [s for s in sequences if s.translate(_COMPLEMENT)[::-1] in known]
    if turned:
        findings.add(rules.BOTH_ORIENTATIONS, f"ASV {turned[0]}", _of(len(turned), len(sequences), "ASVs"))
    for name, primer in PRIMERS.items():
        pattern = re.compile("".join(f"[{_CODES.get(code, code)}]" for code in primer))
        found = sum(pattern.match(s) is not None for s in sequences)
        if found > PRIMER_SHARE * len(sequences):
            findings.add(
                rules.PRIMER_LEFT_ON, name, f"{_of(found, len(sequences), 'ASVs')} begin with {primer}"
            )


def _check_tree(study: Study, findings: Findings) -> None:
    if study.tree is None:
        findings.skip(rules.NOT_IN_TREE, "no tree was given")
        return
    missing = np.flatnonzero(study.tip_of_asv < 0)
    if len(missing):
        names = [study.asvs.ids[asv][0] for asv in missing]
        findings.add(
            rules.NOT_IN_TREE,
            f"{study.tree.source.name}: ASV {names[0]}",
            _of(len(names), len(study.tip_of_asv), "ASVs"),
        )


def _check_counts(study: Study, findings: Findings) -> None:
    """Look for counts that are not whole, a slice at a time: the table may not fit into memory."""
    for table in study.tables:
        num_bad, first = 0, -1
        for start in range(0, len(table.count), ENTRIES_PER_BLOCK):
            count = np.asarray(table.count[start : start + ENTRIES_PER_BLOCK])
            bad = np.flatnonzero(np.isfinite(count) & (np.floor(count) != count))
            first = start + int(bad[0]) if first < 0 and len(bad) else first
            num_bad += len(bad)
        if num_bad:
            sample = table.sample_ids[int(np.searchsorted(table.indptr, first, side="right")) - 1]
            value = f"{_of(num_bad, len(table.count), 'counts')}, such as {table.count[first]:g}"
            findings.add(rules.NOT_WHOLE, f"{table.path}: sample {sample}", value)


def _check_metadata(study: Study, metadata: Metadata, findings: Findings) -> None:
    samples = [sample_id for table in study.tables for sample_id in table.sample_ids]
    with_row, with_sample = set(metadata.ids), set(samples)
    _report_absent(
        [s for s in samples if s not in with_row], samples, metadata, rules.SAMPLE_WITHOUT_METADATA, findings
    )
    rows = list(metadata.ids)
    _report_absent(
        [r for r in rows if r not in with_sample], rows, metadata, rules.METADATA_WITHOUT_SAMPLE, findings
    )
    for name, cells in metadata.columns.items():
        values = {cell for row, cell in zip(metadata.ids, cells, strict=True) if row in with_sample}
        if len(values) == 1 and len(with_sample) > 1:
            findings.add(rules.ONE_VALUE, f"{metadata.source.name}: column {name}", repr(values.pop() or ""))


def _report_absent(
    absent: list[str], of: list[str], metadata: Metadata, rule: Rule, findings: Findings
) -> None:
    if absent:
        noun = "samples" if rule is rules.SAMPLE_WITHOUT_METADATA else "rows"
        findings.add(rule, f"{metadata.source.name}: {absent[0]}", _of(len(absent), len(of), noun))


def _of(part: int, whole: int, noun: str) -> str:
    return f"{part:,} of {whole:,} {noun}"
