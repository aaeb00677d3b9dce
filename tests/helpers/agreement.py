"""`validate` and `shard` report the same, and what is valid can be sharded and verified."""

from pathlib import Path
from typing import Any

import aamprep

ONLY_SHARD = ("missing_from_tree", "min_prevalence", "min_reads", "select", "where", "split_by", "strict")
"""Arguments that `validate` does not have."""


def same_findings(tables: Any, output: Path, **arguments: Any) -> aamprep.Report:
    """Shard a study into a folder, compare the findings with those of `validate`, and verify the shards.

    Returns the report of `shard`. With arguments that only `shard` has, the findings may differ.
    """
    given = {name: value for name, value in arguments.items() if name not in ONLY_SHARD}
    validated = aamprep.validate(tables, **given)
    try:
        report = aamprep.shard(tables, output=output, **arguments).report
    except aamprep.InvalidStudyError as refused:
        report = refused.report
        assert not validated.is_valid, f"valid, but refused: {report}"
        assert not output.exists()
    else:
        verified = aamprep.verify(output)
        assert verified.is_valid, str(verified)
    if given == arguments:
        assert list(validated.findings) == list(report.findings)
        assert validated.counts == report.counts
    return report
