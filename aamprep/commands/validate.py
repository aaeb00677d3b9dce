"""`aamprep validate`: say everything that is wrong, and write nothing but reports."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import INVALID_DATA, print_json, say
from aam_schemas.common.errors import UsageError
from aamprep.choices import DEFAULT_BUDGET, DEFAULT_TOKEN_LIMIT
from aamprep.commands import options

if TYPE_CHECKING:
    from aam_schemas.manifest import Choices
    from aamprep.report.documents import Validation
    from aamprep.study.study import Paths


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
    from rich.console import Console

    from aam_schemas.manifest import Choices
    from aamprep.api import check_choices
    from aamprep.commands.output import find_paths
    from aamprep.report.documents import as_json, print_report

    _check_file(report, "--report", ".html")
    _check_file(findings, "--findings", ".parquet")
    beside = options.Beside(
        (rep_seqs, no_rep_seqs),
        (tree, no_tree),
        (metadata, no_metadata),
        (taxonomy, no_taxonomy),
        (distances, no_distances),
    )
    choices = check_choices(Choices(token_limit=token_limit, rarefy_depth=rarefy_depth))
    paths = find_paths(tables, beside)
    validation = _validate(paths, choices, prefix_samples, budget, not no_isolate)
    if json:
        print_json(as_json(validation.findings, validation.figures))
    else:
        print_report(validation.findings, validation.figures, Console())
    _write_reports(validation, report, findings)  # last: where they cannot be, the findings are told
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
    if path.is_dir():
        raise UsageError(f"the file for {option} is a folder", str(path), "name another")
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "make it, or choose another")


def _validate(
    paths: "Paths", choices: "Choices", prefix_samples: bool, budget: float, isolate: bool
) -> "Validation":
    """Prepare every sample as `shard` does, and write nothing."""
    from aamprep.api import make_pipeline, read_checked
    from aamprep.checks.coverage import note_what_was_checked
    from aamprep.checks.study_checks import check_samples
    from aamprep.checks.summary import Summary
    from aamprep.report.documents import Validation

    study, findings = read_checked(paths, budget, isolate)
    summary, rarefied = None, choices.rarefy_depth is not None
    if study is not None:
        summary = Summary()
        for block in make_pipeline(study, choices, prefix_samples, findings).blocks():
            summary.add(block)
        check_samples(study, summary, rarefied, findings)
    note_what_was_checked(study, rarefied, findings)
    return Validation(", ".join(map(str, paths.tables)), findings, choices, study, summary)


def _write_reports(validation: "Validation", report: Path | None, findings: Path | None) -> None:
    from aam_schemas.common.publish import replace_file
    from aamprep.report.documents import as_parquet

    if report is not None:
        from aamprep.report.html import as_html

        replace_file(report, as_html(validation).encode())
        say(f"wrote {report}")
    if findings is not None:
        replace_file(findings, as_parquet(validation.findings))
        say(f"wrote {findings}")
