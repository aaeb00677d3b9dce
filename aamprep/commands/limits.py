"""`aamprep limits`: compare token limits and rarefaction depths."""

from aam_schemas.common.cli import print_json
from aamprep.commands import options


def limits(
    tables: options.Tables = None,
    json: options.Json = False,
) -> None:
    """Show how many reads, ASVs and samples different token limits and rarefaction depths would keep."""
    from aamprep import api
    from aamprep.commands.output import refuse
    from aamprep.report.report import InvalidStudyError
    from aamprep.report.terminal import print_limits
    from aamprep.study.discover import find_tables

    try:
        kept = api.limits(find_tables(tables or []))
    except InvalidStudyError as error:
        raise refuse(error, json) from None
    if json:
        print_json(kept.to_dict())
    else:
        print_limits(kept)
