"""The program `aamprep`: one module in `commands/` for each command.

A command imports the stages that it runs, and this module imports none of them. So `aamprep --help` answers
at once.
"""

from aam_schemas.common.cli import run
from aam_schemas.common.program import make_program
from aamprep.commands.inspect import inspect
from aamprep.commands.limits import limits
from aamprep.commands.merge import merge
from aamprep.commands.root import root
from aamprep.commands.shard import shard
from aamprep.commands.simulate import simulate
from aamprep.commands.validate import validate
from aamprep.commands.verify import verify

app = make_program(
    "Turn BIOM tables into validated, truncated Parquet shards.",
    {
        command.__name__: command
        for command in (validate, shard, merge, verify, inspect, limits, root, simulate)
    },
)

_ADDRESS_SPACE = 2_500_000_000
"""Bytes of address space that polars and pyarrow reserve for their threads. They use far less memory."""


def main() -> None:
    """Run `aamprep`."""
    run(app, "aamprep", _ADDRESS_SPACE)
