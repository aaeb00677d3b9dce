"""From files to a study that is ready to be prepared."""

import math
from typing import TYPE_CHECKING

from aam_schemas.common.errors import UsageError
from aam_schemas.manifest import LARGEST_TOKEN_LIMIT, Choices
from aamprep.checks.study_checks import check_study, fits_together
from aamprep.prepare.rarefy import MOST_READS
from aamprep.prepare.rejected import Rejected
from aamprep.read.source import Limits
from aamprep.rules.findings import Findings
from aamprep.study.study import Paths, Study, read_study
from aamprep.study.where import left_out

if TYPE_CHECKING:
    from aamprep.prepare.pipeline import SamplePipeline


def read_checked(paths: Paths, budget: float, isolate: bool) -> tuple[Study | None, Findings]:
    """Read a study and check it as a whole; the study is None where it cannot be used.

    Raises
    ------
    UsageError
        If the budget is no finite number.
    """
    if not math.isfinite(budget * 2**30):
        raise UsageError(f"a budget of {budget} GiB is none", "--budget", "give a number of gibibytes")
    findings = Findings()
    study = read_study(paths, findings, Limits(declared_bytes=int(budget * 2**30)), isolate)
    if study is None or not fits_together(study, findings):
        return None, findings
    check_study(study, findings)
    return study, findings


def check_choices(choices: Choices) -> Choices:
    """Refuse choices that keep nothing, or that no sample can meet.

    Raises
    ------
    UsageError
    """
    check_token_limit(choices.token_limit)
    if not math.isfinite(choices.min_reads):
        raise UsageError(f"{choices.min_reads} is no number of reads", "--min-reads", "give a finite number")
    if choices.rarefy_depth is not None and choices.rarefy_depth < 1:
        raise UsageError(
            f"a depth of {choices.rarefy_depth} keeps no read", "--rarefy-depth", "give 1 or more"
        )
    if choices.rarefy_depth is not None and choices.rarefy_depth > MOST_READS:
        words = f"a depth of {choices.rarefy_depth} is beyond what a sample can be rarefied to"
        raise UsageError(words, "--rarefy-depth", f"give {MOST_READS:,} at most")
    return choices


def check_token_limit(token_limit: int) -> None:
    """Refuse a token limit that keeps nothing, or that no sample can reach.

    Raises
    ------
    UsageError
    """
    if token_limit < 1:
        raise UsageError(f"a token limit of {token_limit} keeps no ASV", "--token-limit", "give 1 or more")
    if token_limit > LARGEST_TOKEN_LIMIT:
        words = f"a token limit of {token_limit} is beyond what the shards' lists can hold"
        raise UsageError(words, "--token-limit", f"give {LARGEST_TOKEN_LIMIT:,} at most")


def make_pipeline(
    study: Study, choices: Choices, prefix_samples: bool, findings: Findings, where: list[str] | None = None
) -> "SamplePipeline":
    """Settle how the samples are prepared.

    Raises
    ------
    UsageError
        If a metadata column that was named does not exist.
    """
    from aamprep.prepare.pipeline import SamplePipeline

    columns = list(study.metadata.columns) if study.metadata else []
    if choices.split_by is not None and choices.split_by not in columns:
        known = ", ".join(columns) or "none, since no metadata were given"
        raise UsageError(
            f"there is no metadata column {choices.split_by!r}", "--split-by", f"choose one of: {known}"
        )
    if study.tree is None and choices.missing_from_tree != "keep":
        raise UsageError(
            "there is no tree that an ASV could be missing from",
            "--missing-from-tree",
            "give one with --tree",
        )
    unwanted = left_out(where or [], study.metadata, (i for table in study.tables for i in table.sample_ids))
    return SamplePipeline(study, choices, prefix_samples, Rejected(findings), left_out=unwanted)
