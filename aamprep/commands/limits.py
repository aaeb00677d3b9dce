"""`aamprep limits`: what token limits and rarefaction depths would keep."""

from typing import TYPE_CHECKING

from aam_schemas.common.cli import print_json
from aam_schemas.common.errors import InvalidDataError
from aamprep.commands import options

if TYPE_CHECKING:
    pass


def limits(
    tables: options.Tables = None,
    json: options.Json = False,
) -> None:
    """Show what token limits and rarefaction depths would keep of the samples, to choose them by."""
    from aamprep.checks.limits import as_document, measure
    from aamprep.commands.output import refuse
    from aamprep.read import read_table
    from aamprep.rules.findings import Findings
    from aamprep.study.discover import find_tables

    findings = Findings()
    read = [read_table(path, findings) for path in find_tables(tables)]
    usable = [table for table in read if table is not None]
    if len(usable) < len(read):
        raise refuse(findings, json)
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
        from aamprep.report.terminal import print_limits

        print_limits(measured)
