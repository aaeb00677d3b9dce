"""`aamprep merge`: make one shard set of several."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.errors import UsageError
from aamprep.commands import options

if TYPE_CHECKING:
    from aam_schemas.manifest import Manifest
    from aamprep.merging.study import Merged
    from aamprep.rules.findings import Findings
    from aamprep.shards.stored import StoredSet


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
    prefix_samples: options.PrefixSamples = False,
    strict: options.Strict = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Make one shard set of several: ASVs united by sequence, branches counted in the one tree given."""
    from aam_schemas.common.publish import check_target, published_folder
    from aam_schemas.manifest import MANIFEST_FILE
    from aamprep.commands.output import refuse
    from aamprep.merging.study import prepare_merge
    from aamprep.read import read_tree
    from aamprep.rules.findings import Findings

    _check_merge(sets, tree, token_limit)
    check_target(output, overwrite, MANIFEST_FILE)
    findings = Findings()
    stored = _open_sets(sets, prefix_samples, findings)
    parsed_tree = read_tree(tree, findings) if tree is not None else None
    if not findings.valid:
        raise refuse(findings, json)
    merged = prepare_merge(stored, parsed_tree, token_limit, findings)
    if merged is None:
        raise refuse(findings, json)
    with published_folder(output, MANIFEST_FILE, overwrite) as folder:
        manifest = _write_merged(merged, folder, strict, json)
    _print_merged(manifest, output, findings, json)


def _check_merge(sets: list[Path], tree: Path | None, token_limit: int | None) -> None:
    from aamprep.api import check_token_limit

    if len({path.absolute() for path in sets}) < 2:
        raise UsageError("merging needs two shard sets or more", str(sets[0]), "name their folders")
    if token_limit is not None:
        check_token_limit(token_limit)
    if tree is not None and not tree.exists():
        raise UsageError("there is no such file for --tree", str(tree), "check the path")


def _open_sets(folders: list[Path], prefix_samples: bool, findings: "Findings") -> "list[StoredSet]":
    """Verify every set: what is not sound is not merged."""
    from aamprep.shards.stored import StoredSet
    from aamprep.verification.verify import verify_shards

    manifests = [(folder, verify_shards(folder, findings)) for folder in folders]
    return [StoredSet(folder, manifest, prefix_samples) for folder, manifest in manifests if manifest]


def _write_merged(merged: "Merged", folder: Path, strict: bool, json: bool) -> "Manifest":
    from aamprep.checks.study_checks import check_samples
    from aamprep.commands.output import refuse

    manifest, summary = merged.write(folder, shlex.join(["aamprep", *sys.argv[1:]]))
    pipeline = merged.pipeline
    findings = pipeline.rejected.findings
    if not manifest.num_samples or (strict and not findings.valid):
        raise refuse(findings, json)
    check_samples(pipeline.study, summary, merged.choices.rarefy_depth is not None, findings)
    return manifest


def _print_merged(manifest: "Manifest", output: Path, findings: "Findings", json: bool) -> None:
    figures = {
        "output": str(output),
        "samples": manifest.num_samples,
        "asvs": manifest.num_asvs,
        "branches": manifest.num_branches,
        "token_limit": manifest.choices.token_limit,
    }
    from aamprep.commands.output import print_findings

    print_findings(findings, figures, json, on_stderr=True)
    if not json:
        print(
            f"{output}: {manifest.num_samples:,} samples, {manifest.num_asvs:,} ASVs, "
            f"{manifest.num_branches:,} branches, token limit {manifest.choices.token_limit:,}"
        )
