"""`aamprep validate`: say everything that is wrong, and write nothing but reports."""

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
    report: Annotated[Path | None, typer.Option(help="Write the report as one .html page.")] = None,
    findings: Annotated[Path | None, typer.Option(help="Write the findings as .parquet.")] = None,
    no_isolate: options.NoIsolate = False,
    budget: options.Budget = DEFAULT_BUDGET,
    json: options.Json = False,
) -> None:
    """Say everything that is wrong with a table, at once. Exit code 1 where something would be rejected."""
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
        found = find_tables(tables or [])
        result = api.validate(
            found,
            **files_beside(found, beside),
            token_limit=token_limit,
            rarefy_depth=rarefy_depth,
            prefix_samples=prefix_samples,
            isolate=not no_isolate,
            budget=budget,
        )
    print_report(result, json)
    # Last, so that the findings are shown where these files cannot be written.
    if report is not None:
        say(f"wrote {result.to_html(report)}")
    if findings is not None:
        say(f"wrote {result.to_parquet(findings)}")
    if not result.is_valid:
        raise typer.Exit(INVALID_DATA)


def _check_file(path: Path | None, option: str, ending: str) -> None:
    """Refuse to write a report where it cannot be, or over something that is no report."""
    if path is None:
        return
    if path.suffix != ending:
        raise UsageError(
            f"the file for {option} does not end in {ending}", str(path), f"name it so: X{ending}"
        )
    if path.is_dir():
        raise UsageError(f"the file for {option} is a folder", str(path), "name another")
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "make it, or choose another")
