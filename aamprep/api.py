"""The Python interface: one function for each command of `aamprep`. The commands call these functions.

Objects are accepted in place of files: a `biom.Table` as a table, an `skbio.TreeNode` as a tree and an
`skbio.DistanceMatrix` as distances. Metadata may be a data frame of pandas or polars. Rep-seqs and a taxonomy
may be a dict or a pandas Series, from feature id to sequence or taxon.

Unlike the commands, these functions never use files only because they lie beside a table. Pass a tree or
metadata yourself, or call `find_beside` and pass the files that it returns.

Nothing is printed. Progress goes to the logger `aamprep` at level INFO.

Stages that load polars and pandera are imported by the functions that need them. So an invalid path or an
unreadable table is reported at once.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import OutputFolder, check_target, published_folder, replace_file
from aam_schemas.common.replaced import read_one_version, refusing_replaced
from aam_schemas.common.temporary import temporary_folder
from aam_schemas.kinds import SHARD_SET
from aam_schemas.manifest import Choices, Manifest
from aam_schemas.shards import SPLITS
from aamprep.checks.coverage import note_what_was_checked
from aamprep.checks.limits import KeptByLimits, kept_by_limits
from aamprep.checks.study_checks import check_samples, check_splits, read_checked_study
from aamprep.checks.summary import Summary
from aamprep.choices import DEFAULT_BUDGET, DEFAULT_TOKEN_LIMIT
from aamprep.errors import ParameterError
from aamprep.objects import as_file, as_files, given_paths
from aamprep.prepare.check_choices import check_choices, check_token_limit
from aamprep.read import read_metadata as read_metadata_file
from aamprep.read import read_tree
from aamprep.read.files import read_files
from aamprep.read.source import Limits, RefusedError
from aamprep.read.types import Metadata
from aamprep.report.documents import Prepared
from aamprep.report.documents import facts as study_facts
from aamprep.report.report import InvalidStudyError, Report
from aamprep.report.sharded import ShardSummary
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.shards.shard_set import ShardSet
from aamprep.shards.stored import StoredSet
from aamprep.study.discover import CONVENTIONAL_NAMES, find_file_beside
from aamprep.study.split_ids import SplitIdsLike, read_split_lists
from aamprep.study.study import Paths, Study
from aamprep.study.transposed import why_transposed
from aamprep.tree.midpoint import root_at_midpoint, to_newick

if TYPE_CHECKING:
    from aamprep.objects import DistancesLike, MetadataLike, TablesLike, TextsLike, TreeLike
    from aamprep.prepare.pipeline import SamplePipeline
    from aamprep.report.inspect import Inspection

LOGGER = logging.getLogger("aamprep")


def validate(
    table: "TablesLike",
    *,
    tree: "TreeLike | None" = None,
    rep_seqs: "TextsLike | None" = None,
    metadata: "MetadataLike | None" = None,
    taxonomy: "TextsLike | None" = None,
    distances: "DistancesLike | None" = None,
    token_limit: int = DEFAULT_TOKEN_LIMIT,
    rarefy_depth: int | None = None,
    prefix_samples: bool = False,
    isolate: bool = True,
    budget: float = DEFAULT_BUDGET,
) -> Report:
    """Check a table and the files that belong to it, and report every problem at once.

    Everything is done as by `shard`, in a temporary folder. So a valid table can be sharded, and both report
    the same findings. Invalid data never raise an error.

    Parameters
    ----------
    table : path, biom.Table, or list of them
        BIOM tables or QIIME 2 artifacts.
    tree : path or skbio.TreeNode, optional
        Rooted tree of the ASVs.
    rep_seqs : path, mapping or pandas.Series, optional
        Sequence of each feature. Needed if the feature ids are not sequences.
    metadata : path or data frame of pandas or polars, optional
        Sample metadata. The sample ids are the column whose name QIIME 2 accepts for ids, such as
        `sample-id`. Without such a column, they are the index of a pandas data frame, or the first column of
        a polars data frame. A column of numbers is numeric, and any other column is categorical.
    taxonomy : path, mapping or pandas.Series, optional
        Taxon of each feature.
    distances : path or skbio.DistanceMatrix, optional
        Precomputed distances of the samples.
    token_limit : int
        Maximum number of ASVs kept per sample.
    rarefy_depth : int, optional
        Number of reads that each sample is rarefied to. By default, samples are not rarefied.
    prefix_samples : bool
        Whether to name samples `STUDY.SAMPLE`, so that ids of different studies cannot collide.
    isolate : bool
        Whether to read files in a child process. A damaged file then cannot crash this process.
    budget : float
        Maximum unpacked size that a file may declare, in GiB.

    Returns
    -------
    Report

    Raises
    ------
    UsageError
        If a file does not exist, or an argument is invalid.
    """
    choices = check_choices(Choices(token_limit=token_limit, rarefy_depth=rarefy_depth))
    beside = {
        "tree": tree,
        "rep_seqs": rep_seqs,
        "metadata": metadata,
        "taxonomy": taxonomy,
        "distances": distances,
    }
    title, study, findings = _read(table, beside, budget, isolate)
    prepared = None
    if study is not None:
        from aamprep.prepare.pipeline import make_pipeline
        from aamprep.shards.build import write_shards

        pipeline = make_pipeline(study, choices, findings, prefix_samples=prefix_samples)
        # Only writing shows that the study can be written. The shards are removed with the folder.
        with temporary_folder() as folder:
            written = _write(
                pipeline, partial(write_shards, pipeline, folder, f"aamprep.validate({title!r})")
            )
        if written is not None:
            prepared = Prepared(choices, written[1], study.asvs.lengths)
    note_what_was_checked(study, rarefy_depth is not None, findings)
    facts = study_facts(study, prepared.summary if prepared else None)
    return Report(title, findings, facts, prepared=prepared)


def shard(
    tables: "TablesLike",
    *,
    output: str | Path = "shards",
    tree: "TreeLike | None" = None,
    rep_seqs: "TextsLike | None" = None,
    metadata: "MetadataLike | None" = None,
    taxonomy: "TextsLike | None" = None,
    distances: "DistancesLike | None" = None,
    token_limit: int = DEFAULT_TOKEN_LIMIT,
    select: str = "abundance",
    rarefy_depth: int | None = None,
    missing_from_tree: str = "keep",
    min_prevalence: int = 1,
    min_reads: float = 0,
    where: str | Sequence[str] = (),
    split_by: str | None = None,
    split_ids: "SplitIdsLike | None" = None,
    seed: int = 0,
    prefix_samples: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    isolate: bool = True,
    budget: float = DEFAULT_BUDGET,
    command: str | None = None,
) -> ShardSummary:
    """Write validated, truncated Parquet shards. Rejected samples are listed in `rejected.parquet`.

    Parameters that are not listed here are described in `validate`.

    Parameters
    ----------
    output : path
        Folder of the shard set.
    select : str
        Order in which ASVs are kept until the token limit is reached: most reads first (`abundance`), the
        order of the table (`first`), or a random order (`random`).
    missing_from_tree : str
        Treatment of ASVs that are not in the tree: keep them (`keep`), remove them (`drop`), or reject the
        samples that have them (`reject`).
    min_prevalence : int
        Remove ASVs that occur in fewer samples than this.
    min_reads : float
        Remove ASVs with fewer reads than this, summed over all samples.
    where : str or sequence of str
        Keep only samples whose metadata fulfill all conditions, such as `body-site=gut` and `age<10`.
    split_by : str, optional
        Metadata column, such as a subject. Samples with the same value go to the same split.
    split_ids : mapping of str to path or sequence of str, optional
        For each split (`train`, `validation`, `test`), the ids of its samples, or a text file with one id per
        line. Samples in no list are left out.
    seed : int
        Random seed of rarefaction and random selection.
    strict : bool
        Whether to write nothing if any sample is rejected.
    overwrite : bool
        Whether to replace the output folder if it exists.
    command : str, optional
        Command to record in the manifest. By default, this call is recorded.

    Returns
    -------
    ShardSummary
        The folder, the manifest and the report.

    Raises
    ------
    InvalidStudyError
        If a file cannot be used, no valid sample is left, or data are rejected and `strict` is set. Nothing
        is written. The `report` of the error gives the reasons. docs/rules.md says what each error causes.
    InvalidDataError
        If a list of samples is invalid, or no sample is in one.
    UsageError
        If a file does not exist, the output exists, or an argument is invalid.
    """
    choices = Choices(
        token_limit=token_limit,
        rarefy_depth=rarefy_depth,
        select=str(select),
        seed=seed,
        split_by=split_by,
        split_ids=bool(split_ids),
        missing_from_tree=str(missing_from_tree),
        min_prevalence=min_prevalence,
        min_reads=min_reads,
    )
    beside = {
        "tree": tree,
        "rep_seqs": rep_seqs,
        "metadata": metadata,
        "taxonomy": taxonomy,
        "distances": distances,
    }
    output = Path(output)
    given = given_paths(tables, *beside.values(), *(split_ids or {}).values())
    target = OutputFolder(output, SHARD_SET, overwrite, given)
    check_target(target)
    check_choices(choices)
    split_lists = read_split_lists(split_ids or {})
    title, study, findings = _read(tables, beside, budget, isolate)
    if study is None:
        raise InvalidStudyError("the files cannot be used together", Report(title, findings))
    from aamprep.prepare.pipeline import make_pipeline
    from aamprep.shards.build import write_shards

    conditions = [where] if isinstance(where, str) else list(where)
    study = replace(study, inputs=(*study.inputs, *(each.input for each in split_lists if each.input)))
    pipeline = make_pipeline(
        study, choices, findings, prefix_samples=prefix_samples, where=conditions, split_lists=split_lists
    )
    with published_folder(target) as folder:
        command = command or f"aamprep.shard({title!r}, ...)"
        written = _write(pipeline, partial(write_shards, pipeline, folder, command))
        manifest = _accepted(written, findings, title, strict)
        check_splits(manifest, findings)
    report = Report(title, findings, _shard_facts(output, manifest))
    ids = tuple(pipeline.name(table.study, i) for table in study.tables for i in table.sample_ids)
    return ShardSummary(output, manifest, report, ids)


def merge(
    sets: Sequence[str | Path | ShardSet | ShardSummary],
    *,
    output: str | Path = "shards",
    tree: "TreeLike | None" = None,
    token_limit: int | None = None,
    prefix_samples: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    command: str | None = None,
) -> ShardSummary:
    """Merge shard sets. ASVs with the same sequence become one ASV.

    Samples keep their split, their reads and the order of their ASVs. Branches are counted anew in the tree
    that you give, since each set holds a tree pruned to its own ASVs.

    Parameters
    ----------
    sets : sequence of path, ShardSet or ShardSummary
        At least two shard sets.
    output : path
        Folder of the merged shard set.
    tree : path or skbio.TreeNode, optional
        Rooted tree with the ASVs of all sets.
    token_limit : int, optional
        Maximum number of ASVs kept per sample. By default, the smallest limit of the sets is used.
    prefix_samples, strict, overwrite, command
        See `shard`.

    Returns
    -------
    ShardSummary

    Raises
    ------
    InvalidStudyError
        If a set is damaged, a sample is in two sets, or the tree is invalid or has other ASVs. Nothing is
        written.
    UsageError
        If there are fewer than two sets, the output exists, or an argument is invalid.
    """
    from aamprep.merging.study import prepare_merge

    # The same folder given twice is one set.
    folders, output = [_folder_of(shards) for shards in sets], Path(output)
    if len({folder.absolute() for folder in folders}) < 2:
        names = ", ".join(map(str, folders))
        fix = "name the folders of two different sets"
        raise UsageError("merging needs at least two shard sets", names or "sets", fix)
    if token_limit is not None:
        check_token_limit(token_limit)
    title, findings = ", ".join(map(str, folders)), Findings()
    target = OutputFolder(output, SHARD_SET, overwrite, (*folders, *given_paths(tree)))
    with as_file(tree, "tree") as tree_file, refusing_replaced(folders) as check_replaced:
        check_target(target)
        stored = _open_sets(folders, prefix_samples, findings)
        parsed_tree = read_tree(tree_file, findings) if tree_file is not None else None
        merged = prepare_merge(stored, parsed_tree, token_limit, findings) if findings.valid else None
        if merged is None or not findings.valid:
            raise InvalidStudyError("the shard sets cannot be merged", Report(title, findings))
        command = command or f"aamprep.merge({title!r}, ...)"
        with published_folder(target) as folder:
            written = _write(merged.pipeline, partial(merged.write, folder, command))
            manifest = _accepted(written, findings, title, strict)
            check_replaced()
    report = Report(title, findings, _merge_facts(output, manifest))
    return ShardSummary(output, manifest, report)


def verify(shards: str | Path | ShardSet | ShardSummary = "shards") -> Report:
    """Check every byte and every number of a shard set.

    Returns
    -------
    Report
        Valid if the set is unchanged and consistent.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    from aamprep.verification.verify import verify_shards

    folder = _folder_of(shards)

    def verified() -> tuple[Findings, Manifest | None]:
        findings = Findings()
        return findings, verify_shards(folder, findings)

    findings, manifest = read_one_version(folder, verified)
    facts = {}
    if manifest is not None:
        size = sum(file.bytes for file in manifest.files)
        facts = {"files": len(manifest.files), "bytes": size, "samples": manifest.num_samples}
    return Report(str(folder), findings, facts, task="Verification")


def open_shards(folder: str | Path = "shards") -> ShardSet:
    """Open a shard set to read its samples, ASVs, metadata, tree and distances. Only the manifest is checked.

    Raises
    ------
    UsageError
        If there is no such folder.
    InvalidDataError
        If the folder is not a shard set, or its manifest was changed. `verify` checks all other files.
    """
    return ShardSet.open(folder)


def inspect(path: str | Path) -> "Inspection":
    """Return the type and content of a file or folder.

    Raises
    ------
    UsageError
        If the file does not exist, or you have no permission to read it.
    """
    from aamprep.report.inspect import Inspection, inspect_path

    findings = Findings()
    return Inspection(inspect_path(Path(path), findings), findings)


def limits(tables: "TablesLike", *, isolate: bool = True, budget: float = DEFAULT_BUDGET) -> KeptByLimits:
    """Return how many reads, ASVs and samples different token limits and rarefaction depths would keep.

    Raises
    ------
    InvalidDataError
        If a table cannot be read or is transposed (InvalidStudyError, with a report), or no valid sample has
        reads.
    UsageError
        If a file does not exist.
    """
    findings = Findings()
    with as_files(tables) as paths:
        title = _title(paths)
        tables_to_read = [("table", path) for path in paths.tables]
        opened = read_files(tables_to_read, findings, _limits(budget), isolate)
    results = [file.product for file in opened]
    usable = [table for table in results if table is not None]
    if len(usable) < len(results):
        raise InvalidStudyError("a table cannot be read", Report(title, findings))
    for table in usable:
        if reason := why_transposed(table):
            findings.add(rules.TRANSPOSED, table.path, reason)
    if rules.TRANSPOSED in findings.counts():
        raise InvalidStudyError("a table is transposed", Report(title, findings))
    kept = kept_by_limits(usable)
    if kept is None:
        raise InvalidDataError(
            "no valid sample has reads", title, "run `aamprep validate` to see the reasons"
        )
    return kept


def simulate(
    folder: str | Path, *, samples: int = 200, asvs: int = 1000, seed: int = 0, overwrite: bool = False
) -> Path:
    """Write a simulated study with known properties: table.biom, tree.nwk and metadata.tsv.

    Parameters
    ----------
    folder : path
        Folder of the study.
    samples, asvs : int
        Numbers of samples and ASVs.
    seed : int
        Random seed. The same seed gives the same study.
    overwrite : bool
        Whether to replace the folder if it exists.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        If the folder exists, or a number is too small.
    """
    from aamprep.simulation import SIMULATED_STUDY, simulate_study, write_study

    for name, number, least in (("samples", samples, 1), ("asvs", asvs, 2), ("seed", seed, 0)):
        if number < least:
            raise ParameterError(f"{number} is too small", name, f"give {least} or more")
    with published_folder(OutputFolder(Path(folder), SIMULATED_STUDY, overwrite)) as target:
        write_study(simulate_study(samples, asvs, seed), target)
    return Path(folder)


@dataclass(frozen=True)
class RootedTree:
    """Result of `root`: a tree rooted at its midpoint."""

    path: Path
    """Newick file of the rooted tree."""
    num_tips: int
    was_rooted: bool
    """Whether the tree had a root before. UniFrac distances change with the root."""
    findings: Findings
    """Problems of the tree that did not prevent rooting."""


def root(tree: "TreeLike", *, output: str | Path, overwrite: bool = False) -> RootedTree:
    """Root a tree halfway between its two most distant tips, and write it as newick.

    Parameters
    ----------
    tree : path or skbio.TreeNode
        Tree to root. An existing root is replaced.
    output : path
        Newick file of the rooted tree.
    overwrite : bool
        Whether to replace the file if it exists.

    Raises
    ------
    InvalidDataError
        If the tree is invalid (InvalidStudyError, with a report), or has fewer than two tips.
    UsageError
        If the output exists or is the input, or there is no such tree.
    """
    output, findings = Path(output), Findings()
    if output.exists() and not overwrite:
        raise UsageError("this file exists already", str(output), "choose another file, or allow overwriting")
    if isinstance(tree, str | Path) and output.exists() and Path(tree).exists() and output.samefile(tree):
        raise UsageError("this file is the input", str(output), "choose another file for the rooted tree")
    with as_file(tree, "tree") as file:
        title = str(file)
        [opened] = read_files([("tree to root", file)], findings) if file is not None else [None]
        unrooted = opened.product if opened is not None else None
    if unrooted is None or not findings.valid:
        raise InvalidStudyError("the tree cannot be read", Report(title, findings))
    if len(unrooted.tips) < 2:
        raise InvalidDataError("this tree has fewer than two tips", title, "give a tree with more tips")
    replace_file(output, to_newick(root_at_midpoint(unrooted)).encode())
    # By convention, the root has two children in newick, and an unrooted tree is written with three.
    was_rooted = bool((unrooted.parent == 0).sum() == 2)
    return RootedTree(output, len(unrooted.tips), was_rooted, findings)


def read_metadata(path: str | Path) -> Metadata:
    """Read sample metadata by QIIME 2's rules, as `shard` does.

    Parameters
    ----------
    path : path
        Tab-separated text, gzipped or not, or an artifact of metadata.

    Returns
    -------
    Metadata
        `ids`, `columns` (cells as text, None if missing) and `types` (numeric or categorical).

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidStudyError
        If the file is invalid. Its report lists the problems.
    """
    title, findings = str(path), Findings()
    if not Path(path).exists():
        raise UsageError("there is no such file", title, "check the path")
    metadata = read_metadata_file(Path(path), findings)
    if metadata is None or not findings.valid:
        raise InvalidStudyError("the metadata cannot be read", Report(title, findings))
    return metadata


def find_beside(tables: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """Return the files with conventional names beside tables, such as tree.nwk and metadata.tsv.

    Returns
    -------
    dict of str to Path
        Files by parameter of `validate` and `shard`. You can pass them on:
        `shard("table.biom", **find_beside("table.biom"))`.

    Raises
    ------
    UsageError
        If several files fit one parameter.
    """
    given = [tables] if isinstance(tables, str | Path) else tables
    paths = [Path(table) for table in given]
    files = {role: find_file_beside(role, paths) for role in CONVENTIONAL_NAMES}
    return {role: path for role, path in files.items() if path is not None}


def _read(
    tables: "TablesLike", beside: Mapping[str, object], budget: float, isolate: bool
) -> tuple[str, Study | None, Findings]:
    """Read and check a study. Return its title, the study (None if it is invalid) and the findings."""
    limits, findings = _limits(budget), Findings()
    with as_files(tables, **beside) as paths:
        title = _title(paths)
        names = [str(path) for path in paths.tables]
        names += [
            f"{getattr(paths, role)} ({role.replace('_', '-')})" for role in beside if getattr(paths, role)
        ]
        LOGGER.info("reading %s", ", ".join(names))
        return title, read_checked_study(paths, findings, limits, isolate), findings


def _limits(budget: float) -> Limits:
    if not math.isfinite(budget * 2**30):
        raise ParameterError(
            f"the budget must be finite, but it is {budget} GiB", "budget", "give a number of GiB"
        )
    return Limits(declared_bytes=int(budget * 2**30))


def _title(paths: Paths) -> str:
    return ", ".join(map(str, paths.tables))


def _write(
    pipeline: "SamplePipeline", write: Callable[[], tuple[Manifest, Summary]]
) -> tuple[Manifest, Summary] | None:
    """Write a shard set, and check its samples. Return None, with a finding, if it cannot be written."""
    findings = pipeline.rejected.findings
    try:
        manifest, summary = write()
    except RefusedError as refused:
        refused.report(findings)
        return None
    check_samples(summary, manifest.choices.rarefy_depth is not None, findings)
    return manifest, summary


def _accepted(
    written: tuple[Manifest, Summary] | None, findings: Findings, title: str, strict: bool
) -> Manifest:
    """Return the manifest of a shard set that may be published. Raise InvalidStudyError for any other."""
    if written is None or findings.refused:
        raise InvalidStudyError("the files cannot be used together", Report(title, findings))
    manifest, _ = written
    if not manifest.num_samples:
        raise InvalidStudyError("no valid sample is left", Report(title, findings))
    if strict and not findings.valid:
        what = "data were rejected, and `strict` was set"
        raise InvalidStudyError(what, Report(title, findings), is_strict=True)
    return manifest


def _open_sets(folders: list[Path], prefix_samples: bool, findings: Findings) -> list[StoredSet]:
    """Verify every set and open the valid ones. Damage must not be copied into a merged set."""
    from aamprep.verification.verify import verify_shards

    manifests = [(folder, verify_shards(folder, findings)) for folder in folders]
    return [StoredSet(folder, manifest, prefix_samples) for folder, manifest in manifests if manifest]


def _shard_facts(output: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "output": str(output),
        "samples": manifest.num_samples,
        **{split: manifest.num_rows(split) for split in SPLITS},
        "asvs": manifest.num_asvs,
        "rejected_samples": manifest.num_rejected_samples,
        "rejected_asvs": manifest.num_rejected_asvs,
    }


def _merge_facts(output: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "output": str(output),
        "samples": manifest.num_samples,
        "asvs": manifest.num_asvs,
        "branches": manifest.num_branches,
        "token_limit": manifest.choices.token_limit,
    }


def _folder_of(shards: str | Path | ShardSet | ShardSummary) -> Path:
    return shards.path if isinstance(shards, ShardSet | ShardSummary) else Path(shards)
