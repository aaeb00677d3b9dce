"""Describe files and folders: their type, and facts about their content."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.manifest import Manifest
from aam_schemas.shards import SPLITS
from aam_schemas.vocabulary import is_sequence
from aamprep.checks.limits import measure
from aamprep.read.files import read_files
from aamprep.read.sniff import Kind, sniff
from aamprep.read.types import CountTable, Distances, Metadata, Sequences, Taxonomy, Tree
from aamprep.rules import shards as rules_shards
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Severity
from aamprep.shards.stored import open_listed
from aamprep.study.feature_sequences import looks_like_hash
from aamprep.study.transposed import why_transposed
from aamprep.verification.verify import check_manifest

Facts = dict[str, Any]

_COLUMNS = ["depth", "num_asvs"]


@dataclass(frozen=True)
class Inspection:
    """Result of `aamprep.inspect`: the type of a file or folder, and facts about its content."""

    facts: Facts
    """Facts by name, at least `path` and `kind`."""
    findings: Findings
    """Reasons why the type is unknown, the content cannot be read, or a table is transposed."""

    @property
    def is_recognized(self) -> bool:
        """Whether the file has a known type, readable content and, if it is a table, samples as columns."""
        return self.findings.valid

    def to_dict(self) -> Facts:
        """Return the document that the command prints with `--json`."""
        findings = [finding.as_dict() for finding in self.findings]
        return {"recognised": self.is_recognized, "facts": self.facts, "findings": findings}

    def __str__(self) -> str:
        """Return the facts, one per line."""
        lines = [f"{name.replace('_', ' ')}: {value}" for name, value in self.facts.items()]
        return "\n".join([*lines, *map(str, self.findings)])


def inspect_path(path: Path, findings: Findings) -> Facts:
    """Return facts about a file or folder.

    Parameters
    ----------
    path : Path
    findings : Findings
        Reasons why the type is unknown, the content cannot be read, or a table is transposed are added here.

    Returns
    -------
    dict
        Facts by name, at least `path` and `kind`.

    Raises
    ------
    UsageError
        If the file does not exist, or you have no permission to read it.
    """
    facts: Facts = {"path": str(path), "kind": ""}
    if path.is_dir() and sniff(path) is Kind.SHARDS:
        return facts | {"kind": str(Kind.SHARDS)} | _shards(path, findings)
    problems = Findings()
    [opened] = read_files([("unknown", path)], problems)
    facts |= {name: opened.facts[name] for name in ("kind", "bytes", "sha256") if name in opened.facts}
    facts |= opened.facts.get("header", {})
    role = opened.facts.get("role", "unknown")
    if role not in ("", "unknown"):
        facts["role"] = role
    if opened.product is None:
        findings.add_all(problems)
        return facts
    facts |= _DESCRIBE[role](opened.product)
    if role == "table" and (reason := why_transposed(opened.product)):
        findings.add(rules.TRANSPOSED, path.name, reason)
    errors = problems.number(Severity.ERROR)
    return facts | ({"errors": errors} if errors else {})


def _table(table: CountTable) -> Facts:
    measured = measure([table])
    non_zeros, size = int(measured.num_asvs.sum()), len(table.sample_ids) * len(table.feature_ids)
    return {
        "samples": len(table.sample_ids),
        "empty_or_invalid_samples": measured.num_left_out,
        "features": len(table.feature_ids),
        "non_zeros": non_zeros,
        "density": non_zeros / size if size else 0.0,
        "reads_per_sample": _quantiles(measured.depth),
        "asvs_per_sample": _quantiles(measured.num_asvs),
        "whole_counts": measured.is_whole,
        "feature_ids": id_kind(table.feature_ids),
        "first_feature_id": next(iter(table.feature_ids), ""),
        "first_sample_id": next(iter(table.sample_ids), ""),
    }


def _sequences(sequences: Sequences) -> Facts:
    lengths = np.array([len(sequence) for sequence in sequences.by_id.values()], dtype=np.float64)
    return {
        "sequences": len(lengths),
        "bases": _quantiles(lengths),
        "ids": id_kind(sequences.by_id),
        "first_id": next(iter(sequences.by_id), ""),
    }


def _tree(tree: Tree) -> Facts:
    tips = [tree.names[node] for node in np.flatnonzero(tree.num_children == 0)]
    with np.errstate(over="ignore"):
        total = float(tree.length[np.isfinite(tree.length)].sum())
    return {
        "tips": len(tips),
        "nodes": len(tree.parent),
        "children_of_the_root": int(tree.num_children[0]),
        "total_length": total if np.isfinite(total) else None,
        "tip_names": id_kind(tips),
        "first_tip": tips[0],
    }


def _metadata(metadata: Metadata) -> Facts:
    return {
        "samples": len(metadata.ids),
        "columns": {
            name: f"{metadata.types[name]}, {len(set(cells) - {None})} values"
            for name, cells in metadata.columns.items()
        },
        "first_sample_id": metadata.ids[0],
    }


def _distances(distances: Distances) -> Facts:
    pairs = distances.matrix[np.triu_indices(len(distances.ids), 1)]
    return {"samples": len(distances.ids), "distance": _quantiles(pairs)}


def _taxonomy(taxonomy: Taxonomy) -> Facts:
    first = next(iter(taxonomy.by_id.items()), ("", ""))
    return {
        "features": len(taxonomy.by_id),
        "taxa": len(set(taxonomy.by_id.values())),
        "ids": id_kind(taxonomy.by_id),
        "first": " ".join(first),
    }


def _shards(folder: Path, findings: Findings) -> Facts:
    manifest = check_manifest(folder, findings)
    if manifest is None:
        return {}
    try:
        sample_facts = _sample_facts(folder, manifest)
    except InvalidDataError as error:
        findings.add(rules_shards.PAGES, error.where, error.what)
        return {}
    choices = manifest.choices
    return {
        "manifest_sha256": manifest.sha256,
        "format_version": manifest.format_version,
        "bytes": sum(file.bytes for file in manifest.files),
        "samples": manifest.num_samples,
        "splits": {split: manifest.num_rows(split) for split in SPLITS},
        "asvs": manifest.num_asvs,
        "asvs_kept": manifest.num_kept_asvs,
        **sample_facts,
        "branches": manifest.num_branches,
        "rejected": {"samples": manifest.num_rejected_samples, "asvs": manifest.num_rejected_asvs},
        "choices": {name: getattr(choices, name) for name in choices.__dataclass_fields__},
        "metadata": manifest.metadata_types,
        "inputs": {
            f"{file.role} {file.name}": f"{file.kind} {file.uuid}".strip() for file in manifest.inputs
        },
        "versions": manifest.versions,
        "command": manifest.command,
    }


def _sample_facts(folder: Path, manifest: Manifest) -> Facts:
    columns: dict[str, list[npt.NDArray[np.float64]]] = {name: [np.zeros(0)] for name in _COLUMNS}
    for file in manifest.files:
        if file.split:
            with open_listed(folder, manifest, file.name) as reader:
                table = reader.read(_COLUMNS)
            for name in _COLUMNS:
                columns[name].append(table[name].to_numpy().astype(np.float64))
    depth, num_asvs = (np.concatenate(columns[name]) for name in _COLUMNS)
    size = len(depth) * manifest.num_asvs
    return {
        "non_zeros": int(num_asvs.sum()),
        "density": float(num_asvs.sum() / size) if size else 0.0,
        "reads_per_sample": _quantiles(depth),
        "asvs_per_sample": _quantiles(num_asvs),
    }


def id_kind(ids: Iterable[str]) -> str:
    """Return in words what ids look like: sequences, hashes or others."""
    names = list(ids)
    sequences = sum(map(is_sequence, names))
    hashes = sum(map(looks_like_hash, names))
    numbers = {"sequences": sequences, "hashes": hashes, "others": len(names) - sequences - hashes}
    parts = {words: number for words, number in numbers.items() if number}
    if len(parts) == 1:
        return next(iter(parts))
    return ", ".join(f"{number:,} {words}" for words, number in parts.items()) or "none"


def _quantiles(values: npt.NDArray[np.float64]) -> dict[str, float] | None:
    """Return the minimum, 5th percentile, median, 95th percentile and maximum of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    values_at = np.quantile(finite, [0, 0.05, 0.5, 0.95, 1]).tolist()
    return dict(zip(("min", "low", "median", "high", "max"), values_at, strict=True))


_DESCRIBE: dict[str, Callable[[Any], Facts]] = {
    "table": _table,
    "rep-seqs": _sequences,
    "tree": _tree,
    "metadata": _metadata,
    "distances": _distances,
    "taxonomy": _taxonomy,
}
