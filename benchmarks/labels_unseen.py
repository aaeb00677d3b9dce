"""Predict labels of samples whose ASVs training never saw: `python benchmarks/labels_unseen.py`.

Clades with a quarter of the ASVs of ibd-2538 are held out (as in `transfer.py`). Each sample becomes two: one
with the other ASVs, one with the held-out ones. A model is pretrained on the first kind. Each method learns
labels from samples of the first kind, and predicts those of the second kind, of other subjects. A forest on
ASVs is at chance by construction. The rivals are ridge on 6-mers, and kernels on UniFrac, which need a
tree of all ASVs.

    python benchmarks/labels_unseen.py                        # one draw of clades, about 10 minutes
    python benchmarks/labels_unseen.py --draws 3 --objective embedding_distance=0.3
"""

import argparse
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import biom
import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import hstack

import aammodel
from aammodel.cross_validation.fit import Predictions, predict_all
from aammodel.cross_validation.folds import Folds, Split, grouped_folds
from aammodel.cross_validation.scores import interval_of, score_methods
from aammodel.data.shards import open_shards
from aammodel.methods.registry import choose_methods, words_of
from aammodel.workflows.crossval import CrossvalOptions, inputs_of, open_study
from helpers.paths import STUDIES_FOLDER
from labels import pretrained, shard
from transfer import held_out_asvs

STUDY, TARGET, SUBJECT = "ibd-2538", "ibd", "host_subject_id"
RIVAL = "kmer_ridge"
FEWEST_READS = 100
"""Samples with fewer reads of either kind are left out."""


@dataclass(frozen=True)
class UnseenFolds(Folds):
    """Folds of subjects. Fits see the known ASVs of a fold's training samples, and predict unseen ASVs."""

    is_known: npt.NDArray[np.bool_] | None = None

    def splits(self, repeat: int) -> Iterator[Split]:
        """Yield training and test rows of each fold."""
        assert self.is_known is not None
        for train, test in super().splits(repeat):
            yield train[self.is_known[train]], test[~self.is_known[test]]


def main() -> None:
    """Print a table of methods for each draw of clades."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--train", type=int, default=150, help="Steps of pretraining.")
    parser.add_argument("--objective", nargs="*", default=[], help="NAME=WEIGHT of pretraining.")
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--work", type=Path, default=Path("labels-unseen-work"))
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    whole = shard(STUDY, given.work)
    for draw in range(3, 3 + given.draws):
        work = given.work / f"draw-{draw}"
        work.mkdir(exist_ok=True)
        known, both = two_kinds(whole, draw, work)
        show(both, pretrained(known, work, given.train, given.objective), given.methods)


def two_kinds(whole: Path, draw: int, work: Path) -> tuple[Path, Path]:
    """Shard the samples of known ASVs, and those of both kinds."""
    clades, folder = held_out_asvs(whole, draw), STUDIES_FOLDER / STUDY
    table = biom.load_table(str(folder / "table.biom"))
    is_unseen = np.isin(table.ids(axis="observation"), sorted(clades))
    counts = table.matrix_data.tocsr()
    reads = {name: np.asarray(counts[rows].sum(axis=0)).ravel() for name, rows in kinds(is_unseen)}
    kept = np.flatnonzero(np.minimum(*reads.values()) >= FEWEST_READS)
    parts, ids = [], []
    for name, rows in kinds(is_unseen):
        part = counts[:, kept].tolil()
        part[~rows] = 0
        parts.append(part.tocsr())
        ids += [f"{sample}.{name}" for sample in table.ids()[kept]]
    doubled = biom.Table(hstack(parts).tocsr(), table.ids(axis="observation"), ids)
    (work / "table.biom").write_text(doubled.to_json("benchmark"))
    write_metadata(ids, work / "metadata.tsv")
    common = ["--tree", folder / "tree.qza", "--metadata", work / "metadata.tsv", "--token-limit", "512"]
    outputs = {"known": ["--where", "kind=known"], "both": []}
    for name, options in outputs.items():
        if not (work / name).exists():
            command = ["aamprep", "shard", work / "table.biom", "--output", work / name, *common, *options]
            subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return work / "known", work / "both"


def kinds(is_unseen: npt.NDArray[np.bool_]) -> tuple[tuple[str, npt.NDArray[np.bool_]], ...]:
    """Return the ASVs of each kind."""
    return (("known", ~is_unseen), ("unseen", is_unseen))


def write_metadata(ids: list[str], path: Path) -> None:
    """Write subject and label of each sample, and its kind."""
    frame = pl.read_csv(
        STUDIES_FOLDER / STUDY / "metadata.tsv", separator="\t", infer_schema=False, quote_char=None
    )
    row_of = {name: row for row, name in enumerate(frame[frame.columns[0]].to_list())}
    rows = [row_of[name.rsplit(".", 1)[0]] for name in ids]
    kind = [name.rsplit(".", 1)[1] for name in ids]
    columns = {"sample-id": ids, TARGET: frame[TARGET][rows], SUBJECT: frame[SUBJECT][rows], "kind": kind}
    pl.DataFrame(columns).write_csv(path, separator="\t")


def show(both: Path, run: Path, names: list[str] | None) -> None:
    """Fit all methods, and print balanced accuracy and AUROC with their intervals."""
    shards, loaded = open_shards(both), aammodel.load(run)
    study = open_study(shards, CrossvalOptions(target=TARGET, group_by=SUBJECT))
    kind = study.metadata.columns["kind"].as_text()
    metadata = replace(study.metadata, columns={})
    inputs = inputs_of(
        replace(study, metadata=metadata), study.groups, loaded.network, loaded.limit_for(shards)
    )
    assert study.groups is not None
    plain = grouped_folds(study.target, study.groups, SUBJECT, 5, 1, seed=0)
    folds = UnseenFolds(plain.fold, plain.groups, plain.words, is_known=kind == "known")
    found = predict_all(choose_methods(names), inputs, study.target, folds, print)
    rows = np.flatnonzero(kind == "unseen")
    target = replace(study.target, rows=study.target.rows[rows], values=study.target.values[rows])
    tested = {name: Predictions(each.values[:, rows], None) for name, each in found.items()}
    units = np.unique(study.groups[rows].astype(str), return_inverse=True)[1]
    scores = score_methods(target, tested, units, 1000, 0)
    print(
        f"| {len(rows)} samples | balanced accuracy | ahead of ridge on 6-mers | AUROC |\n|---|---|---|---|"
    )
    for name in sorted(scores, key=lambda name: -scores[name]["balanced_accuracy"][0]):
        accuracy = scores[name]["balanced_accuracy"]
        ahead = accuracy - scores.get(RIVAL, scores[name])["balanced_accuracy"]
        cells = [
            f"{each.value:.3f} ({each.low:.3f} to {each.high:.3f})"
            for each in map(interval_of, (accuracy, ahead, scores[name]["auroc"]))
        ]
        print("| " + " | ".join([words_of(name), *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
