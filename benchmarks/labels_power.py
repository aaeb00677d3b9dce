"""How many samples each method needs to find a planted signal: `python benchmarks/labels_power.py`.

Half of the samples of a simulated study get a label, at random. In these samples, the reads of some
neighboring ASVs are multiplied. Methods are cross-validated on 20 to 320 samples. A signal counts as found
where the 95 % interval of the balanced accuracy lies above 1/2. With `--factor 1` there is no signal.

    python benchmarks/labels_power.py              # five studies, about 10 minutes
    python benchmarks/labels_power.py --factor 1
"""

import argparse
import shutil
import subprocess
from pathlib import Path

import numpy as np
from scipy import sparse

import aammodel
from aammodel.methods.registry import words_of
from aamprep.read.biom.write import write_biom
from aamprep.simulation import SimulatedStudy, simulate_study

NUMBERS = (20, 40, 80, 160, 320)
METHODS = (
    "forest",
    "linear_clr",
    "kernel_jaccard",
    "kernel_braycurtis",
    "kernel_unweighted_unifrac",
    "kernel_weighted_unifrac",
    "neighbors_braycurtis",
    "kmer_ridge",
)
NUM_CHANGED = 20
"""Number of ASVs whose reads are multiplied. They are neighbors among the tips, so a clade or two."""


def main() -> None:
    """Print the mean balanced accuracy by number of samples, and in how many studies the signal was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--factor", type=float, default=4.0, help="Factor of the reads of the changed ASVs.")
    parser.add_argument("--work", type=Path, default=Path("labels-power-work"))
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    scores = {name: np.zeros((given.studies, len(NUMBERS))) for name in METHODS}
    found = {name: np.zeros(len(NUMBERS), dtype=int) for name in METHODS}
    for seed in range(given.studies):
        study = simulate_study(max(NUMBERS), 1000, seed)
        for column, number in enumerate(NUMBERS):
            shards = planted(study, number, given.factor, seed, given.work)
            result = aammodel.crossval(shards, "label", methods=METHODS)
            for name in METHODS:
                score = result.interval(name)
                scores[name][seed, column] = score.value
                found[name][column] += score.low > 0.5
    print("| method | " + " | ".join(f"{number} samples" for number in NUMBERS) + " |")
    print("|---" * (len(NUMBERS) + 1) + "|")
    for name in METHODS:
        cells = [
            f"{mean:.2f}, {times} of {given.studies}"
            for mean, times in zip(scores[name].mean(axis=0), found[name], strict=True)
        ]
        print(f"| {words_of(name)} | " + " | ".join(cells) + " |", flush=True)


def planted(study: SimulatedStudy, number: int, factor: float, seed: int, work: Path) -> Path:
    """Shard some samples of a study, with a signal planted in half of them."""
    random = np.random.default_rng(seed)
    has_signal = random.permutation(np.arange(number) % 2 == 1)
    counts = study.counts[:number].toarray().astype(float)
    # Only ASVs that many samples have can show a signal.
    common = np.flatnonzero((counts > 0).mean(axis=0) > 0.2)
    first = int(random.integers(0, max(1, len(common) - NUM_CHANGED)))
    changed = common[first : first + NUM_CHANGED]
    counts[np.ix_(has_signal, changed)] *= factor
    folder = work / f"study-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    ids = study.sample_ids[:number]
    write_biom(folder / "table.biom", ids, study.sequences, sparse.csr_matrix(np.floor(counts)))
    (folder / "tree.nwk").write_text(study.newick)
    rows = [f"{name}\t{'case' if label else 'control'}" for name, label in zip(ids, has_signal, strict=True)]
    (folder / "metadata.tsv").write_text("\n".join(["sample-id\tlabel", *rows]) + "\n")
    command = [
        "aamprep",
        "shard",
        folder / "table.biom",
        "--token-limit",
        "512",
        "--output",
        folder / "shards",
    ]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return folder / "shards"


if __name__ == "__main__":
    main()
