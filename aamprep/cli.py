"""The program `aamprep`: validate and shard BIOM tables, simulate studies."""

import shlex
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aamprep.commands import register
from schemas.command import INVALID_DATA, print_json, run, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from aamprep.findings import Findings
    from aamprep.prepare import Preparation
    from aamprep.report import Validation
    from aamprep.study import Paths, Study
    from schemas.manifest import Choices, Manifest

app = typer.Typer(
    help="BIOM tables in, validated and truncated Parquet shards out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


class Select(StrEnum):
    """Which ASVs of a sample the token limit keeps."""

    ABUNDANCE = "abundance"
    FIRST = "first"
    RANDOM = "random"


class Missing(StrEnum):
    """What becomes of ASVs that the tree lacks."""

    KEEP = "keep"
    DROP = "drop"
    REJECT = "reject"


BESIDE = "Files beside the table"
Tables = Annotated[
    list[Path] | None,
    typer.Argument(help="BIOM tables or QIIME 2 artifacts. Default: table.biom or table.qza here."),
]
RepSeqs = Annotated[
    Path | None, typer.Option(help="Sequences of the feature ids (.fasta, .qza).", rich_help_panel=BESIDE)
]
NoRepSeqs = Annotated[
    bool, typer.Option("--no-rep-seqs", help="Do not pick up rep-seqs.", rich_help_panel=BESIDE)
]
TreeFile = Annotated[
    Path | None, typer.Option(help="Rooted tree of the ASVs (.nwk, .qza).", rich_help_panel=BESIDE)
]
NoTree = Annotated[bool, typer.Option("--no-tree", help="Do not pick up a tree.", rich_help_panel=BESIDE)]
MetadataFile = Annotated[Path | None, typer.Option(help="Sample metadata (.tsv).", rich_help_panel=BESIDE)]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Do not pick up metadata.", rich_help_panel=BESIDE)
]
TaxonomyFile = Annotated[
    Path | None, typer.Option(help="Taxon of each feature (.tsv, .qza).", rich_help_panel=BESIDE)
]
NoTaxonomy = Annotated[
    bool, typer.Option("--no-taxonomy", help="Do not pick up a taxonomy.", rich_help_panel=BESIDE)
]
TokenLimit = Annotated[int, typer.Option(help="Largest number of ASVs kept per sample.")]
RarefyDepth = Annotated[int | None, typer.Option(help="Draw every sample down to so many reads.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Prefix = Annotated[
    bool, typer.Option("--prefix-samples", help="Write STUDY.SAMPLE for sample ids, to tell studies apart.")
]


@dataclass(frozen=True)
class Beside:
    """What was typed about the files beside the table: a path, and whether to look for one."""

    rep_seqs: tuple[Path | None, bool]
    tree: tuple[Path | None, bool]
    metadata: tuple[Path | None, bool]
    taxonomy: tuple[Path | None, bool]


@app.command()
def validate(
    tables: Tables = None,
    rep_seqs: RepSeqs = None,
    no_rep_seqs: NoRepSeqs = False,
    tree: TreeFile = None,
    no_tree: NoTree = False,
    metadata: MetadataFile = None,
    no_metadata: NoMetadata = False,
    taxonomy: TaxonomyFile = None,
    no_taxonomy: NoTaxonomy = False,
    token_limit: TokenLimit = 512,
    rarefy_depth: RarefyDepth = None,
    prefix_samples: Prefix = False,
    report: Annotated[Path | None, typer.Option(help="Write the report as one .html page.")] = None,
    findings: Annotated[Path | None, typer.Option(help="Write the findings as .parquet.")] = None,
    json: Json = False,
) -> None:
    """Say everything that is wrong with a table, at once. Exit code 1 where something would be rejected."""
    from rich.console import Console

    from aamprep.report import as_json, print_report

    _check_file(report, "--report", ".html")
    _check_file(findings, "--findings", ".parquet")
    beside = Beside(
        (rep_seqs, no_rep_seqs), (tree, no_tree), (metadata, no_metadata), (taxonomy, no_taxonomy)
    )
    choices = _choices(token_limit=token_limit, rarefy_depth=rarefy_depth)
    validation = _validate(_paths(tables, beside), choices, prefix_samples)
    _write_reports(validation, report, findings)
    if json:
        print_json(as_json(validation.findings, validation.figures))
    else:
        print_report(validation.findings, validation.figures, Console())
    if not validation.findings.valid:
        raise typer.Exit(INVALID_DATA)


def _check_file(path: Path | None, option: str, ending: str) -> None:
    """Refuse to write a report where it cannot be, or over something that is no report."""
    if path is None:
        return
    if path.suffix != ending:
        raise UsageError(
            f"the file for {option} does not end in {ending}", str(path), f"name it so: X{ending}"
        )
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "make it, or choose another")


def _validate(paths: "Paths", choices: "Choices", prefix_samples: bool) -> "Validation":
    """Prepare every sample as `shard` does, and write nothing."""
    from aamprep.checked import note_what_was_checked
    from aamprep.checks import check_samples
    from aamprep.report import Validation
    from aamprep.summary import Summary

    study, findings = _read(paths)
    summary, rarefied = None, choices.rarefy_depth is not None
    if study is not None:
        summary = Summary()
        for block in _preparation(study, choices, prefix_samples, findings).blocks():
            summary.add(block)
        check_samples(study, summary, rarefied, findings)
    note_what_was_checked(study, rarefied, findings)
    return Validation(", ".join(map(str, paths.tables)), findings, choices, study, summary)


def _write_reports(validation: "Validation", report: Path | None, findings: Path | None) -> None:
    from aamprep.report import as_parquet
    from schemas.publish import replace_file

    if report is not None:
        from aamprep.report_html import as_html

        replace_file(report, as_html(validation).encode())
        say(f"wrote {report}")
    if findings is not None:
        replace_file(findings, as_parquet(validation.findings))
        say(f"wrote {findings}")


@app.command()
def shard(
    tables: Tables = None,
    token_limit: TokenLimit = 512,
    output: Annotated[Path, typer.Option(help="Folder to write.")] = Path("shards"),
    rep_seqs: RepSeqs = None,
    no_rep_seqs: NoRepSeqs = False,
    tree: TreeFile = None,
    no_tree: NoTree = False,
    metadata: MetadataFile = None,
    no_metadata: NoMetadata = False,
    taxonomy: TaxonomyFile = None,
    no_taxonomy: NoTaxonomy = False,
    select: Annotated[Select, typer.Option(help="Which ASVs the token limit keeps.")] = Select.ABUNDANCE,
    rarefy_depth: RarefyDepth = None,
    missing_from_tree: Annotated[
        Missing, typer.Option(help="What becomes of ASVs that the tree lacks.")
    ] = Missing.KEEP,
    min_prevalence: Annotated[int, typer.Option(help="Leave out ASVs that occur in fewer samples.")] = 1,
    min_reads: Annotated[
        float, typer.Option(help="Leave out ASVs with fewer reads in all samples together.")
    ] = 0,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Keep samples by metadata: COLUMN=VALUE, also !=, <, >. May be repeated."),
    ] = None,
    split_by: Annotated[
        str | None, typer.Option(help="Metadata column whose values stay in one split.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of rarefaction and random selection.")] = 0,
    prefix_samples: Prefix = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing, and exit 1, if any sample is rejected.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")] = False,
    json: Json = False,
) -> None:
    """Write validated, truncated Parquet shards; samples that do not pass are left out, by name."""
    from schemas.manifest import MANIFEST_FILE
    from schemas.publish import check_target, published_folder

    choices = _choices(
        token_limit=token_limit,
        rarefy_depth=rarefy_depth,
        select=select.value,
        seed=seed,
        split_by=split_by,
        missing_from_tree=missing_from_tree.value,
        min_prevalence=min_prevalence,
        min_reads=min_reads,
    )
    check_target(output, overwrite, MANIFEST_FILE)
    beside = Beside(
        (rep_seqs, no_rep_seqs), (tree, no_tree), (metadata, no_metadata), (taxonomy, no_taxonomy)
    )
    study, findings = _read(_paths(tables, beside))
    if study is None:
        _refuse(findings, json)
    assert study is not None
    preparation = _preparation(study, choices, prefix_samples, findings, where)
    with published_folder(output, MANIFEST_FILE, overwrite) as folder:
        manifest = _write(preparation, folder, strict, json)
    _print_written(manifest, preparation, output, json)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    samples: Annotated[int, typer.Option(help="Number of samples.", min=1)] = 200,
    asvs: Annotated[int, typer.Option(help="Number of ASVs.", min=2)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Make a study with a known answer: table.biom, tree.nwk and metadata.tsv."""
    from aamprep.simulate import SIGN, simulate_study, write_study
    from schemas.publish import published_folder

    with published_folder(folder, SIGN, overwrite) as target:
        write_study(simulate_study(samples, asvs, seed), target)
    say(f"wrote {folder}/table.biom, tree.nwk and metadata.tsv: {samples} samples, {asvs} ASVs")


def _choices(**values: object) -> "Choices":
    """Check what was chosen; what is not given is the default."""
    from schemas.manifest import Choices

    choices = Choices(**values)  # type: ignore[arg-type]
    if choices.token_limit < 1:
        raise UsageError(
            f"a token limit of {choices.token_limit} keeps no ASV", "--token-limit", "give 1 or more"
        )
    if choices.rarefy_depth is not None and choices.rarefy_depth < 1:
        raise UsageError(
            f"a depth of {choices.rarefy_depth} keeps no read", "--rarefy-depth", "give 1 or more"
        )
    return choices


def _paths(tables: list[Path] | None, beside: Beside) -> "Paths":
    """Find the files of the study, and say which were taken."""
    from aamprep.gather import find_beside, find_tables
    from aamprep.study import Paths

    found = find_tables(tables)
    roles = {
        "rep-seqs": beside.rep_seqs,
        "tree": beside.tree,
        "metadata": beside.metadata,
        "taxonomy": beside.taxonomy,
    }
    taken = {role: None if no else find_beside(role, found[0], path) for role, (path, no) in roles.items()}
    names = [str(path) for path in found] + [f"{path} ({role})" for role, path in taken.items() if path]
    say(f"reading {', '.join(names)}")
    return Paths(found, **{role.replace("-", "_"): path for role, path in taken.items()})


def _read(paths: "Paths") -> "tuple[Study | None, Findings]":
    from aamprep.checks import check_study
    from aamprep.findings import Findings
    from aamprep.study import read_study

    findings = Findings()
    study = read_study(paths, findings)
    if study is not None:
        check_study(study, findings)
    return study, findings


def _preparation(
    study: "Study",
    choices: "Choices",
    prefix_samples: bool,
    findings: "Findings",
    where: list[str] | None = None,
) -> "Preparation":
    from aamprep.prepare import Preparation
    from aamprep.rejected import Rejected
    from aamprep.where import left_out

    if choices.split_by is not None and (
        study.metadata is None or choices.split_by not in study.metadata.columns
    ):
        known = ", ".join(study.metadata.columns) if study.metadata else "none, since no metadata were given"
        raise UsageError(
            f"there is no metadata column {choices.split_by!r}", "--split-by", f"choose one of: {known}"
        )
    unwanted = left_out(where or [], study.metadata, (i for table in study.tables for i in table.sample_ids))
    return Preparation(study, choices, prefix_samples, Rejected(findings), left_out=unwanted)


def _write(preparation: "Preparation", folder: Path, strict: bool, json: bool) -> "Manifest":
    """Write the shards; where nothing, or not everything, passed, publish nothing."""
    from aamprep.checks import check_samples
    from aamprep.shard import write_shards

    findings = preparation.rejected.findings
    manifest, summary = write_shards(preparation, folder, shlex.join(["aamprep", *sys.argv[1:]]))
    if not manifest.num_samples or (strict and not findings.valid):
        _refuse(findings, json, strict=bool(manifest.num_samples))
    check_samples(preparation.study, summary, preparation.choices.rarefy_depth is not None, findings)
    return manifest


def _refuse(findings: "Findings", json: bool, strict: bool = False) -> None:
    """Print the findings, and stop: nothing is written."""
    from rich.console import Console

    from aamprep.report import as_json, print_report

    if json:
        print_json(as_json(findings, {}))
    else:
        print_report(findings, {}, Console(stderr=True), "not written")
    say("nothing was written" + (", since --strict was given and something was rejected" if strict else ""))
    raise typer.Exit(INVALID_DATA)


def _print_written(manifest: "Manifest", preparation: "Preparation", output: Path, json: bool) -> None:
    from rich.console import Console

    from aamprep.report import as_json, print_report

    findings = preparation.rejected.findings
    splits = {split: manifest.num_rows(split) for split in ("train", "validation", "test")}
    figures = {
        "output": str(output),
        "samples": manifest.num_samples,
        **splits,
        "asvs": manifest.num_asvs,
        "rejected_samples": manifest.num_rejected_samples,
        "rejected_asvs": manifest.num_rejected_asvs,
    }
    if json:
        print_json(as_json(findings, figures))
        return
    print_report(findings, {}, Console(stderr=True), "written")
    parts = ", ".join(f"{number:,} {split}" for split, number in splits.items())
    counts = f"{manifest.num_asvs:,} ASVs, {manifest.num_branches:,} branches"
    print(f"{output}: {manifest.num_samples:,} samples ({parts}), {counts}")
    if manifest.num_rejected_samples or manifest.num_rejected_asvs:
        print(
            f"rejected: {manifest.num_rejected_samples:,} samples and {manifest.num_rejected_asvs:,} ASVs, "
            f"listed with their reasons in {output}/rejected.parquet"
        )


register(app)


def main() -> None:
    """Run `aamprep`."""
    run(app, "aamprep")
