"""Cross-validate labels of published studies: `python benchmarks/labels.py [STUDY ...]`.

Each row is a question: a study, a column, and how samples are divided. All methods are fitted on the same
folds. With `--train`, a model is pretrained first, and methods that use it are among them. `--shuffled`
permutes the labels of whole groups first, so that every method must be at chance.

    python benchmarks/labels.py                          # all questions without a model, about 40 minutes
    python benchmarks/labels.py ibd-2538 --train 150     # pretrain for 150 steps first, and compare
    python benchmarks/labels.py ibd-2538 --shuffled
"""

import argparse
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import aammodel
from aammodel.cross_validation.result import Crossval
from aammodel.methods.registry import sees_microbes, uses_model, words_of
from helpers.paths import STUDIES_FOLDER


@dataclass(frozen=True)
class Question:
    """A metadata column to predict in a study, and how samples are divided."""

    study: str
    target: str
    words: str
    how: dict[str, Any] = field(default_factory=dict)
    """Folds: parameters of `aammodel.crossval`."""
    only: str | None = None
    """Qiita study whose samples keep their label. By default all samples do."""


QUESTIONS = (
    Question("moving-pictures", "body-site", "each subject left out", {"leave_out": "subject"}),
    Question("ibd-2538", "ibd", "folds of subjects", {"group_by": "host_subject_id"}),
    Question("crc-udca2", "host_sex", "folds of subjects", {"group_by": "host_subject_id"}),
    Question("crc-udca2", "host_age", "folds of subjects", {"group_by": "host_subject_id"}),
    Question("mackerel-11721", "sample_type_body_site", "folds of fish", {"group_by": "host_subject_id"}),
    Question("cfs", "Subject", "random folds, one sample per person"),
    Question("anemia-11402", "anemia", "random folds, one sample per child"),
    Question("oral-age", "age", "American Gut alone, random folds", only="10317"),
    Question("oral-age", "age", "each study left out", {"leave_out": "qiita_study"}),
)


def main() -> None:
    """Print a row of a Markdown table for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*")
    parser.add_argument("--train", type=int, default=0, help="Steps of pretraining. 0 uses no model.")
    parser.add_argument("--objective", nargs="*", default=[], help="NAME=WEIGHT of pretraining.")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--work", type=Path, default=Path("labels-work"))
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    for question in QUESTIONS:
        if not given.studies or question.study in given.studies:
            print(row(question, given), flush=True)


def row(question: Question, given: argparse.Namespace) -> str:
    """Answer a question, as a row of a table."""
    shards = shard(question.study, given.work)
    run = pretrained(shards, given.work, given.train, given.objective) if given.train else None
    metadata = labels(question, shards, given.work, given.shuffled)
    start = time.monotonic()
    found = aammodel.crossval(
        shards, question.target, metadata=metadata, model=run, methods=given.methods, **question.how
    )
    seconds = time.monotonic() - start
    found.table().write_csv(given.work / f"{question.study}-{question.target}-{len(question.how)}.csv")
    cells = [question.study, question.target, question.words, f"{len(found.target.values):,}"]
    kinds = (
        lambda name: not sees_microbes(name),
        lambda name: sees_microbes(name) and not uses_model(name),
        uses_model,
    )
    cells += [best_of(found, [name for name in found.ranking if kind(name)]) for kind in kinds]
    return "| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |"


def best_of(found: Crossval, names: list[str]) -> str:
    """Return the best of some methods, with its interval."""
    if not names:
        return "-"
    score = found.interval(names[0])
    return f"{words_of(names[0])} {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def shard(study: str, work: Path) -> Path:
    """Shard the whole table of a study, not rarefied."""
    output = work / f"{study}-shards"
    if not output.exists():
        folder = STUDIES_FOLDER / study
        names = ("table-seqids.biom", "table.biom", "table.qza")
        table = next(folder / name for name in names if (folder / name).exists())
        subprocess.run(["aamprep", "shard", table, "--token-limit", "512", "--output", output], check=True)
    return output


def pretrained(shards: Path, work: Path, steps: int, objectives: list[str]) -> Path:
    """Pretrain a model on all training samples of a study. It sees no label."""
    run = work / f"{shards.name}-run-{steps}-{'-'.join(objectives) or 'plain'}"
    if not (run / "report.html").exists():
        weights = dict(pair.split("=") for pair in objectives)
        aammodel.pretrain(
            shards,
            output=run,
            overwrite=True,
            max_steps=steps,
            batch_size=16,
            token_limit=128,
            objectives={name: float(weight) for name, weight in weights.items()},
        )
    return run


def labels(question: Question, shards: Path, work: Path, is_shuffled: bool) -> Path | None:
    """Write metadata with fewer labels or permuted ones, if the question asks for that."""
    if question.only is None and not is_shuffled:
        return None
    # As text, so that numbers stay as they were written.
    frame = pl.read_csv(
        STUDIES_FOLDER / question.study / "metadata.tsv", separator="\t", infer_schema=False, quote_char=None
    )
    ids = frame.columns[0]
    if question.only is not None:
        study = pl.col(ids).str.split(".").list.first()
        frame = frame.filter(study == question.only)
    if is_shuffled:
        frame = shuffled(frame, question)
    path = work / f"{question.study}-{question.target}-{'shuffled' if is_shuffled else 'some'}.tsv"
    frame.write_csv(path, separator="\t")
    return path


def shuffled(frame: pl.DataFrame, question: Question) -> pl.DataFrame:
    """Permute the labels. The samples of a group, whose labels agree, stay together."""
    random, target = np.random.default_rng(0), question.target
    group = question.how.get("group_by")
    if group is None:
        return frame.with_columns(pl.Series(target, random.permutation(frame[target].to_numpy())))
    first = frame.group_by(group, maintain_order=True).agg(pl.col(target).first())
    moved = first.with_columns(pl.Series(target, random.permutation(first[target].to_numpy())))
    return frame.drop(target).join(moved, on=group, how="left")


if __name__ == "__main__":
    main()
