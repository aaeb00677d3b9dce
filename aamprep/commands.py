"""Commands about what is there already: inspect, verify, merge, limits.

Every import of a stage waits for its command, so that `aamprep --help` answers at once.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.command import INVALID_DATA, print_json, say
from schemas.errors import InvalidDataError, UsageError

if TYPE_CHECKING:
    from aamprep.findings import Findings
    from aamprep.merge import Merged
    from aamprep.stored import StoredSet
    from schemas.manifest import Manifest

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to a program."""
    for command in (limits, inspect, verify, merge):
        app.command()(command)


def limits(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(help="BIOM tables or QIIME 2 artifacts. Default: table.biom or table.qza here."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what token limits and rarefaction depths would keep of the samples, to choose them by."""
    from aamprep.findings import Findings
    from aamprep.gather import find_tables
    from aamprep.limits import as_document, measure
    from aamprep.read import read_table

    findings = Findings()
    read = [read_table(path, findings) for path in find_tables(tables)]
    usable = [table for table in read if table is not None]
    if len(usable) < len(read):
        _refuse(findings, json)
    measured = measure(usable)
    if not len(measured.depth):
        raise InvalidDataError(
            "no sample has a read",
            ", ".join(table.path for table in usable),
            "see what `aamprep validate` says",
        )
    if json:
        print_json(as_document(measured))
    else:
        from aamprep.show import print_limits

        print_limits(measured)


def inspect(
    path: Annotated[Path, typer.Argument(help="Any file or folder.")],
    json: Json = False,
) -> None:
    """Say what a file is, and what is in it. Exit code 1 where it is nothing that is known."""
    from aamprep.findings import Findings
    from aamprep.inspect import inspect_path

    findings = Findings()
    facts = inspect_path(path, findings)
    if json:
        print_json(
            {"recognised": findings.valid, "facts": facts, "findings": [f.as_dict() for f in findings.found]}
        )
    else:
        from aamprep.show import print_facts

        print_facts(facts)
        if findings.found:
            _print_findings(findings, {}, json, on_stderr=True)
    if not findings.valid:
        raise typer.Exit(INVALID_DATA)


def verify(
    shards: Annotated[Path, typer.Argument(help="Folder of a shard set.")] = Path("shards"),
    json: Json = False,
) -> None:
    """Check every byte and every number of a shard set. Exit code 1 where anything is wrong."""
    from aamprep.findings import Findings
    from aamprep.verify import verify_shards

    findings = Findings()
    manifest = verify_shards(shards, findings)
    figures: dict[str, Any] = {}
    if manifest is not None:
        size = sum(file.bytes for file in manifest.files)
        figures = {"files": len(manifest.files), "bytes": size, "samples": manifest.num_samples}
    _print_findings(findings, figures, json)
    if figures and not json:
        words = f"{figures['files']:,} files, {figures['bytes']:,} bytes, {figures['samples']:,} samples"
        print(f"{shards}: {words}: {'all as they were written' if findings.valid else 'not sound'}")
    if not findings.valid:
        raise typer.Exit(INVALID_DATA)


def merge(
    sets: Annotated[list[Path], typer.Argument(help="Folders of two or more shard sets.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")] = Path("shards"),
    tree: Annotated[
        Path | None, typer.Option(help="Rooted tree of the ASVs of all sets (.nwk, .qza).")
    ] = None,
    token_limit: Annotated[
        int | None,
        typer.Option(help="Largest number of ASVs kept per sample. Default: the smallest of the sets'."),
    ] = None,
    prefix_samples: Annotated[
        bool, typer.Option("--prefix-samples", help="Write STUDY.SAMPLE for sample ids, to tell sets apart.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing, and exit 1, if any sample is rejected.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")] = False,
    json: Json = False,
) -> None:
    """Make one shard set of several: ASVs united by sequence, branches counted in the one tree given."""
    from aamprep.findings import Findings
    from aamprep.merge import prepare_merge
    from aamprep.read import read_tree
    from schemas.manifest import MANIFEST_FILE
    from schemas.publish import check_target, published_folder

    _check_merge(sets, tree, token_limit)
    check_target(output, overwrite, MANIFEST_FILE)
    findings = Findings()
    stored = _open_sets(sets, prefix_samples, findings)
    parsed_tree = read_tree(tree, findings) if tree is not None else None
    if not findings.valid:
        _refuse(findings, json)
    merged = prepare_merge(stored, parsed_tree, token_limit, findings)
    if merged is None:
        _refuse(findings, json)
    assert merged is not None
    with published_folder(output, MANIFEST_FILE, overwrite) as folder:
        manifest = _write_merged(merged, folder, strict, json)
    _print_merged(manifest, output, findings, json)


def _check_merge(sets: list[Path], tree: Path | None, token_limit: int | None) -> None:
    if len({path.absolute() for path in sets}) < 2:
        raise UsageError("merging needs two shard sets or more", str(sets[0]), "name their folders")
    if token_limit is not None and token_limit < 1:
        raise UsageError(f"a token limit of {token_limit} keeps no ASV", "--token-limit", "give 1 or more")
    if tree is not None and not tree.exists():
        raise UsageError("there is no such file for --tree", str(tree), "check the path")


def _open_sets(folders: list[Path], prefix_samples: bool, findings: "Findings") -> "list[StoredSet]":
    """Verify every set: what is not sound is not merged."""
    from aamprep.stored import StoredSet
    from aamprep.verify import verify_shards

    manifests = [(folder, verify_shards(folder, findings)) for folder in folders]
    return [StoredSet(folder, manifest, prefix_samples) for folder, manifest in manifests if manifest]


def _write_merged(merged: "Merged", folder: Path, strict: bool, json: bool) -> "Manifest":
    from aamprep.checks import check_samples

    manifest, summary = merged.write(folder, shlex.join(["aamprep", *sys.argv[1:]]))
    preparation = merged.preparation
    findings = preparation.rejected.findings
    if not manifest.num_samples or (strict and not findings.valid):
        _refuse(findings, json)
    check_samples(preparation.study, summary, merged.choices.rarefy_depth is not None, findings)
    return manifest


def _print_merged(manifest: "Manifest", output: Path, findings: "Findings", json: bool) -> None:
    figures = {
        "output": str(output),
        "samples": manifest.num_samples,
        "asvs": manifest.num_asvs,
        "branches": manifest.num_branches,
        "token_limit": manifest.choices.token_limit,
    }
    _print_findings(findings, figures, json, on_stderr=True)
    if not json:
        print(
            f"{output}: {manifest.num_samples:,} samples, {manifest.num_asvs:,} ASVs, "
            f"{manifest.num_branches:,} branches, token limit {manifest.choices.token_limit:,}"
        )


def _refuse(findings: "Findings", json: bool) -> None:
    """Print the findings, and stop: nothing is written."""
    _print_findings(findings, {}, json, on_stderr=True)
    say("nothing was written")
    raise typer.Exit(INVALID_DATA)


def _print_findings(
    findings: "Findings", figures: dict[str, Any], json: bool, on_stderr: bool = False
) -> None:
    from rich.console import Console

    from aamprep.report import as_json, print_report

    if json:
        print_json(as_json(findings, figures))
    else:
        print_report(findings, {}, Console(stderr=on_stderr))
