"""`aamprep validate`: report every problem of a table, and write nothing but reports."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import INVALID_DATA, say
from aam_schemas.common.errors import UsageError
from aamprep.choices import DEFAULT_BUDGET, DEFAULT_TOKEN_LIMIT
from aamprep.commands import options


def validate(
    tables: options.Tables = None,
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
    token_limit: options.TokenLimit = DEFAULT_TOKEN_LIMIT,
    rarefy_depth: options.RarefyDepth = None,
    prefix_samples: options.PrefixSamples = False,
    report: Annotated[
        Path | None, typer.Option(help="Also write the report, with plots, to this .html file.")
    ] = None,
    findings: Annotated[
        Path | None, typer.Option(help="Also write the findings to this .parquet file.")
    ] = None,
    no_isolate: options.NoIsolate = False,
    budget: options.Budget = DEFAULT_BUDGET,
    json: options.Json = False,
) -> None:
    """Report every problem of a table at once. The exit code is 1 if any data would be rejected."""
    from aamprep import api
    from aamprep.commands.output import files_beside, options_named, print_report
    from aamprep.study.discover import find_tables

    _check_file(report, "--report", ".html")
    _check_file(findings, "--findings", ".parquet")
    beside = options.Beside(
        (rep_seqs, no_rep_seqs),
        (tree, no_tree),
        (metadata, no_metadata),
        (taxonomy, no_taxonomy),
        (distances, no_distances),
    )
    with options_named():
        table_files = find_tables(tables or [])
        result = api.validate(
            table_files,
            **files_beside(table_files, beside),
            token_limit=token_limit,
            rarefy_depth=rarefy_depth,
            prefix_samples=prefix_samples,
            isolate=not no_isolate,
            budget=budget,
        )
    print_report(result, json)
    # These files are written last, so that you see the findings even if the disk is full.
    if report is not None:
        say(f"wrote {result.to_html(report)}")
    if findings is not None:
        say(f"wrote {result.to_parquet(findings)}")
    if not result.is_valid:
        raise typer.Exit(INVALID_DATA)


def _check_file(path: Path | None, option: str, ending: str) -> None:
    """Raise if a report cannot be written to a path, or could overwrite something else by mistake."""
    if path is None:
        return
    if path.suffix != ending:
        raise UsageError(f"the file for {option} must end in {ending}", str(path), f"add the ending {ending}")
    if path.is_dir():
        raise UsageError(f"the file for {option} is a folder", str(path), "give the name of a file")
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "create it, or choose another")
