"""Simulate a study: a phylogeny, sequences that evolve along it, and communities that depend on metadata.

The demo and the tests use simulated studies. They are not a model of real evolution, but have its main
features: similar sequences are close in the tree, communities depend on habitat and age, and depths differ.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from aam_schemas.common.folders import HDF5, JSON, FolderKind, json_or_none
from aam_schemas.shards import file_sha256
from aamprep.read.biom.write import write_biom

MARKER_FILE = "simulated.json"
"""File that marks a folder as a simulated study, and has the SHA-256 of its files."""
_FILES = {"table.biom": HDF5, "tree.nwk": b"(", "metadata.tsv": b"sample-id\t"}

HABITATS = ("gut", "skin", "soil", "sea")
SEQUENCE_BASES = 100
MEDIAN_DEPTH = 5000
ASVS_PER_SAMPLE = 120
"""Typical number of ASVs per sample, if the study has enough."""
MUTATIONS_PER_BASE = 0.6
"""Expected substitutions per base from the root to a tip: close relatives share most of their bases."""


@dataclass(frozen=True)
class SimulatedStudy:
    """A simulated study, with the metadata that its communities depend on."""

    sequences: tuple[str, ...]
    newick: str
    counts: sp.csr_matrix
    """Number of reads, shape (samples, ASVs)."""
    sample_ids: tuple[str, ...]
    habitat: tuple[str, ...]
    """Habitat of each sample. It determines the clades that are abundant."""
    age: npt.NDArray[np.float64]
    """Age of each sample in years, shape (samples,). It shifts abundances along the phylogeny."""


def simulate_study(num_samples: int, num_asvs: int, seed: int) -> SimulatedStudy:
    """Simulate a study.

    Parameters
    ----------
    num_samples, num_asvs : int
    seed : int
        Seed. The same seed yields the same study.

    Returns
    -------
    SimulatedStudy
    """
    rng = np.random.default_rng(seed)
    parent, length = _phylogeny(num_asvs, rng)
    sequences = _evolve(parent, length, num_asvs, rng)
    traits = _diffuse(parent, length, num_asvs, rng)
    habitat = rng.integers(len(HABITATS), size=num_samples)
    age = np.round(rng.uniform(20, 80, size=num_samples), 1)
    counts = _communities(traits, habitat, age, rng)
    return SimulatedStudy(
        sequences=tuple(sequences),
        newick=_newick(parent, length, sequences),
        counts=counts,
        sample_ids=tuple(f"S{number:05d}" for number in range(num_samples)),
        habitat=tuple(HABITATS[index] for index in habitat),
        age=age,
    )


def write_study(study: SimulatedStudy, folder: Path) -> None:
    """Write table.biom (BIOM 2.1), tree.nwk, metadata.tsv and the marker file to a folder."""
    write_biom(folder / "table.biom", study.sample_ids, study.sequences, study.counts)
    (folder / "tree.nwk").write_text(study.newick + "\n")
    rows = ["sample-id\thabitat\tage"]
    rows += [f"{i}\t{h}\t{a:g}" for i, h, a in zip(study.sample_ids, study.habitat, study.age, strict=True)]
    (folder / "metadata.tsv").write_text("\n".join(rows) + "\n")
    marker = {
        "samples": len(study.sample_ids),
        "asvs": len(study.sequences),
        "files": {name: file_sha256(folder / name) for name in _FILES},
    }
    (folder / MARKER_FILE).write_text(json.dumps(marker))


def _is_simulated(folder: Path) -> bool:
    """Return whether a study was simulated. None of its files may have been edited since."""
    marker = json_or_none(folder / MARKER_FILE)
    if not isinstance(marker, dict) or not {"samples", "asvs"} <= marker.keys():
        return False
    files = marker.get("files", {})  # earlier versions wrote no hashes
    return isinstance(files, dict) and all(
        file_sha256(folder / name) == files[name]
        for name in _FILES
        if name in files and (folder / name).exists()
    )


SIMULATED_STUDY = FolderKind(
    noun="an unchanged simulated study",
    is_ours=_is_simulated,
    entries={re.escape(name): begins for name, begins in {**_FILES, MARKER_FILE: JSON}.items()},
)


def _phylogeny(
    num_tips: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Simulate a Yule tree backwards, by joining random pairs.

    Tips are nodes 0 to num_tips - 1, and the root is the last node. The distance from the root to every tip
    is 1.
    """
    num_nodes = 2 * num_tips - 1
    parent, age = np.full(num_nodes, -1, dtype=np.int64), np.zeros(num_nodes)
    lines = list(range(num_tips))
    now = 0.0
    for node in range(num_tips, num_nodes):
        now += rng.exponential(1.0 / len(lines))
        for _ in range(2):
            chosen = int(rng.integers(len(lines)))
            lines[chosen], lines[-1] = lines[-1], lines[chosen]
            parent[lines.pop()] = node
        age[node] = now
        lines.append(node)
    length = np.where(parent >= 0, age[parent] - age, 0.0) / max(now, 1e-12)
    return parent, length


def _evolve(
    parent: npt.NDArray[np.int64], length: npt.NDArray[np.float64], num_tips: int, rng: np.random.Generator
) -> list[str]:
    """Return the sequences of the tips, evolved along the tree (Jukes and Cantor 1969) and made unique."""
    num_nodes = len(parent)
    bases = np.zeros((num_nodes, SEQUENCE_BASES), dtype=np.uint8)
    bases[-1] = rng.integers(4, size=SEQUENCE_BASES)
    for node in range(num_nodes - 2, -1, -1):
        changed = rng.random(SEQUENCE_BASES) < -np.expm1(-MUTATIONS_PER_BASE * length[node])
        bases[node] = np.where(changed, rng.integers(4, size=SEQUENCE_BASES), bases[parent[node]])
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    seen: set[str] = set()
    for tip in range(num_tips):
        while (sequence := letters[bases[tip]].tobytes().decode()) in seen:
            bases[tip, rng.integers(SEQUENCE_BASES)] = rng.integers(4)
        seen.add(sequence)
    return [letters[bases[tip]].tobytes().decode() for tip in range(num_tips)]


def _diffuse(
    parent: npt.NDArray[np.int64], length: npt.NDArray[np.float64], num_tips: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return traits that evolve along the tree by Brownian motion, shape (tips, habitats + 1).

    They are the preference for each habitat, and a trend with age in the last column.
    """
    trait = np.zeros((len(parent), len(HABITATS) + 1))
    for node in range(len(parent) - 2, -1, -1):
        trait[node] = trait[parent[node]] + rng.normal(size=trait.shape[1]) * np.sqrt(length[node])
    return trait[:num_tips] / trait[:num_tips].std(axis=0)


def _communities(
    traits: npt.NDArray[np.float64],
    habitat: npt.NDArray[np.int64],
    age: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> sp.csr_matrix:
    """Draw the ASVs of each sample by their preference for its habitat and age, and reads for each ASV."""
    num_asvs = len(traits)
    richness = max(1, min(ASVS_PER_SAMPLE, num_asvs // 2))
    rows = []
    for where, years in zip(habitat, age, strict=True):
        # Adding Gumbel noise and taking the largest draws without replacement (Gumbel-top-k).
        preference = 1.5 * traits[:, where] + traits[:, -1] * (years - 50) / 30
        present = np.argsort(-(preference + rng.gumbel(size=num_asvs)))[
            : rng.integers(richness // 2, richness * 3 // 2) + 1
        ]
        abundance = rng.lognormal(sigma=1.5, size=len(present))
        depth = int(rng.lognormal(np.log(MEDIAN_DEPTH), 0.5)) + len(present)
        reads = rng.multinomial(depth, abundance / abundance.sum())
        reads[0] = max(reads[0], 1)  # No sample is empty.
        row = np.zeros(num_asvs)
        row[present] = reads
        rows.append(sp.csr_matrix(row))
    return sp.vstack(rows, format="csr")


def _newick(parent: npt.NDArray[np.int64], length: npt.NDArray[np.float64], names: list[str]) -> str:
    """Return the tree as Newick. Children precede their parents, so one pass is enough."""
    text = list(names) + [""] * (len(parent) - len(names))
    children: list[list[str]] = [[] for _ in parent]
    for node in range(len(parent)):
        if children[node]:
            text[node] = f"({','.join(children[node])})"
        if parent[node] >= 0:
            children[parent[node]].append(f"{text[node]}:{length[node]:.8g}")
    return text[-1] + ";"
