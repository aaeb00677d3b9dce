"""`aamprep shard`: write validated, truncated Parquet shards."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import print_json
from aamprep.choices import DEFAULT_BUDGET, DEFAULT_TOKEN_LIMIT, MissingFromTree, Select
from aamprep.commands import options

if TYPE_CHECKING:
    from aam_schemas.manifest import Manifest
    from aamprep.prepare.pipeline import SamplePipeline


def shard(
    tables: options.Tables = None,
    token_limit: options.TokenLimit = DEFAULT_TOKEN_LIMIT,
    output: Annotated[Path, typer.Option(help="Folder to write.")] = Path("shards"),
    rep_seqs: options.RepSeqs = None,
    no_rep_seqs: options.NoRepSeqs = False,
    tree: options.TreeFile = None,
    no_tree: options.NoTree = False,
    metadata: options.MetadataFile = None,
    no_metadata: options.NoMetadata = False,
    taxonomy: options.TaxonomyFile = None,
    no_taxonomy: options.NoTaxonomy = False,
    distances: options.DistancesFile = None,
    no_distances: options.NoDistances = False,
    select: Annotated[Select, typer.Option(help="Which ASVs the token limit keeps.")] = Select.ABUNDANCE,
    rarefy_depth: options.RarefyDepth = None,
    missing_from_tree: Annotated[
        MissingFromTree, typer.Option(help="What becomes of ASVs that the tree lacks.")
    ] = MissingFromTree.KEEP,
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
    prefix_samples: options.PrefixSamples = False,
    strict: options.Strict = False,
    overwrite: options.Overwrite = False,
    no_isolate: options.NoIsolate = False,
    budget: options.Budget = DEFAULT_BUDGET,
    json: options.Json = False,
) -> None:
    """Write validated, truncated Parquet shards; samples that do not pass are left out, by name."""
    from aam_schemas.common.publish import check_target
    from aam_schemas.manifest import MANIFEST_FILE, Choices

    choices = Choices(
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

    from aam_schemas.common.publish import published_folder
    from aamprep.api import check_choices, make_pipeline, read_checked
    from aamprep.commands.output import find_paths, refuse

    check_choices(choices)
    beside = options.Beside(
        (rep_seqs, no_rep_seqs),
        (tree, no_tree),
        (metadata, no_metadata),
        (taxonomy, no_taxonomy),
        (distances, no_distances),
    )
    study, findings = read_checked(find_paths(tables, beside), budget, not no_isolate)
    if study is None:
        raise refuse(findings, json)
    pipeline = make_pipeline(study, choices, prefix_samples, findings, where)
    with published_folder(output, MANIFEST_FILE, overwrite) as folder:
        manifest = _write(pipeline, folder, strict, json)
    _print_written(manifest, pipeline, output, json)


def _write(pipeline: "SamplePipeline", folder: Path, strict: bool, json: bool) -> "Manifest":
    """Write the shards; where nothing, or not everything, passed, publish nothing."""
    from aamprep.checks.study_checks import check_samples, check_splits
    from aamprep.commands.output import refuse
    from aamprep.shards.build import write_shards

    findings = pipeline.rejected.findings
    manifest, summary = write_shards(pipeline, folder, shlex.join(["aamprep", *sys.argv[1:]]))
    if not manifest.num_samples or (strict and not findings.valid):
        raise refuse(findings, json, strict=bool(manifest.num_samples))
    check_samples(pipeline.study, summary, pipeline.choices.rarefy_depth is not None, findings)
    check_splits(manifest, findings)
    return manifest


def _print_written(manifest: "Manifest", pipeline: "SamplePipeline", output: Path, json: bool) -> None:
    from rich.console import Console

    from aamprep.report.documents import as_json, print_report

    findings = pipeline.rejected.findings
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
    outcome = "written" if findings.valid else "written, without what the errors name"
    print_report(findings, {}, Console(stderr=True), outcome)
    parts = ", ".join(f"{number:,} {split}" for split, number in splits.items())
    counts = f"{manifest.num_asvs:,} ASVs, {manifest.num_branches:,} branches"
    print(f"{output}: {manifest.num_samples:,} samples ({parts}), {counts}")
    if manifest.num_rejected_samples or manifest.num_rejected_asvs:
        rejected = f"samples: {manifest.num_rejected_samples:,}, ASVs: {manifest.num_rejected_asvs:,}"
        print(f"rejected {rejected}; their reasons are in {output}/rejected.parquet")
