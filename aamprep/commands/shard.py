"""`aamprep shard`: write validated, truncated Parquet shards."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from aamprep.choices import DEFAULT_BUDGET, DEFAULT_TOKEN_LIMIT, MissingFromTree, Select
from aamprep.commands import options


def shard(
    tables: options.Tables = None,
    token_limit: options.TokenLimit = DEFAULT_TOKEN_LIMIT,
    output: Annotated[Path, typer.Option(help="Folder of the shard set.")] = Path("shards"),
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
    select: Annotated[
        Select, typer.Option(help="Order in which ASVs are kept until the token limit is reached.")
    ] = Select.ABUNDANCE,
    rarefy_depth: options.RarefyDepth = None,
    missing_from_tree: Annotated[
        MissingFromTree,
        typer.Option(
            help="How to treat ASVs that are not in the tree: keep them, drop them, or reject their samples."
        ),
    ] = MissingFromTree.KEEP,
    min_prevalence: Annotated[
        int, typer.Option(help="Remove ASVs that occur in fewer samples than this.")
    ] = 1,
    min_reads: Annotated[
        float, typer.Option(help="Remove ASVs with fewer reads than this, summed over all samples.")
    ] = 0,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep only samples whose metadata fulfill this condition: COLUMN=VALUE, or with !=, < or >. "
            "You can give the option several times. All conditions must then hold."
        ),
    ] = None,
    split_by: Annotated[
        str | None,
        typer.Option(
            help="Metadata column, such as a subject. Samples with the same value go to the same split."
        ),
    ] = None,
    split_ids: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPLIT=FILE",
            help="Samples of a split (train, validation or test): a text file with one sample id per line. "
            "Give the option once for each split. Samples in no list are left out.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of rarefaction and random selection.")] = 0,
    prefix_samples: options.PrefixSamples = False,
    strict: options.Strict = False,
    overwrite: options.Overwrite = False,
    no_isolate: options.NoIsolate = False,
    budget: options.Budget = DEFAULT_BUDGET,
    json: options.Json = False,
) -> None:
    """Write validated, truncated Parquet shards. Rejected samples are listed in rejected.parquet."""
    from aamprep import api
    from aamprep.commands.output import files_beside, options_named, print_report, refuse
    from aamprep.report.report import InvalidStudyError
    from aamprep.study.discover import find_tables
    from aamprep.study.split_ids import parse_split_options

    beside = options.Beside(
        (rep_seqs, no_rep_seqs),
        (tree, no_tree),
        (metadata, no_metadata),
        (taxonomy, no_taxonomy),
        (distances, no_distances),
    )
    try:
        with options_named():
            api.check_target(api.OutputFolder(output, api.SHARD_SET, overwrite))
            table_files = find_tables(tables or [])
            summary = api.shard(
                table_files,
                output=output,
                **files_beside(table_files, beside),
                token_limit=token_limit,
                select=select.value,
                rarefy_depth=rarefy_depth,
                missing_from_tree=missing_from_tree.value,
                min_prevalence=min_prevalence,
                min_reads=min_reads,
                where=where or [],
                split_by=split_by,
                split_ids=parse_split_options(split_ids or []),
                seed=seed,
                prefix_samples=prefix_samples,
                strict=strict,
                overwrite=overwrite,
                isolate=not no_isolate,
                budget=budget,
                command=shlex.join(["aamprep", *sys.argv[1:]]),
            )
    except InvalidStudyError as error:
        reason = "--strict was given and data were rejected" if error.is_strict else ""
        raise refuse(error, json, reason) from None
    outcome = "written" if summary.report.is_valid else "written without the rejected data"
    print_report(summary.report, json, on_stderr=True, outcome=outcome)
    if not json:
        print(summary)
