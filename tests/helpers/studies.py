"""Small studies for tests (random tables, sequences and trees), and the programs run as a user runs them."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from aammodel.cli import main as run_aammodel
from aamprep.cli import main as run_aamprep
from aamprep.read.biom.write import write_biom


@dataclass(frozen=True)
class Ran:
    """The exit code and the output of a program."""

    code: int
    out: str
    err: str


class Programs:
    """Runs `aamprep` and `aammodel` in this process, through their entry points."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, program: str, *arguments: object) -> Ran:
        """Run a program with arguments, and return its exit code and output."""
        self._monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        self._capsys.readouterr()
        try:
            {"aamprep": run_aamprep, "aammodel": run_aammodel}[program]()
            code: object = 0
        except SystemExit as end:
            code = end.code or 0
        captured = self._capsys.readouterr()
        assert isinstance(code, int)
        return Ran(code, captured.out, captured.err)


def processor_seconds() -> float:
    """Return the processor time of this process and its ended children; a busy machine changes it little."""
    return sum(os.times()[:4])


def random_sequences(number: int, seed: int = 0, bases: int = 60) -> list[str]:
    """Draw distinct sequences."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        found["".join(rng.choice(list("ACGT"), size=bases))] = None
    return list(found)


def random_counts(num_samples: int, num_asvs: int, seed: int = 0, density: float = 0.3) -> np.ndarray:
    """Draw integer counts with at least one read in each sample."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 50, size=(num_samples, num_asvs)) * (
        rng.random((num_samples, num_asvs)) < density
    )
    counts[np.arange(num_samples), rng.integers(num_asvs, size=num_samples)] += 1
    return counts.astype(np.float64)


def random_newick(names: Sequence[str], seed: int = 0) -> str:
    """Draw a tree whose nodes have two or three children; some branch lengths are zero."""
    rng = np.random.default_rng(seed)

    def branch(text: str) -> str:
        return f"{text}:{rng.choice([0.0, 0.25, rng.random(), rng.random()]):.6f}"

    nodes = list(names)
    while len(nodes) > 1:
        size = 2 if len(nodes) <= 3 else int(rng.integers(2, 4))  # two children at the root: rooted
        chosen = [nodes.pop(int(rng.integers(len(nodes)))) for _ in range(size)]
        nodes.append(f"({','.join(branch(node) for node in chosen)})")
    return nodes[0] + ";"


def write_table(
    folder: Path, counts: np.ndarray, sequences: Sequence[str], sample_ids: Sequence[str] | None = None
) -> Path:
    """Write table.biom into a folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = tuple(sample_ids or [f"S{number}" for number in range(len(counts))])
    write_biom(folder / "table.biom", ids, tuple(sequences), sp.csr_matrix(counts))
    return folder / "table.biom"


def write_table_with_an_empty_sample(folder: Path) -> Path:
    """Write a table of 12 samples, of which S4 has no reads."""
    counts = random_counts(12, 20)
    counts[4] = 0
    return write_table(folder, counts, random_sequences(20))


def run_quietly(patch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `aamprep` and return its exit code, for tests without fixtures, as under Hypothesis."""
    patch.setattr(sys, "argv", ["aamprep", *map(str, arguments)])
    try:
        run_aamprep()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
