"""The program `aamprep`: one module in `commands/` for each command.

Every import of a stage waits for its command, so that `aamprep --help` answers at once.
"""

from aamprep.commands.existing import inspect, limits, verify
from aamprep.commands.merge import merge
from aamprep.commands.root import root
from aamprep.commands.shard import shard
from aamprep.commands.simulate import simulate
from aamprep.commands.validate import validate
from schemas.command import run
from schemas.program import make_program

app = make_program(
    "BIOM tables in, validated and truncated Parquet shards out.",
    {one.__name__: one for one in (validate, shard, merge, verify, inspect, limits, root, simulate)},
)


def main() -> None:
    """Run `aamprep`."""
    run(app, "aamprep")
