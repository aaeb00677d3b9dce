"""The program `aamprep`: one module in `commands/` for each command.

Every import of a stage waits for its command, so that `aamprep --help` answers at once.
"""

import typer

from aamprep.commands.existing import inspect, limits, verify
from aamprep.commands.merge import merge
from aamprep.commands.root import root
from aamprep.commands.shard import shard
from aamprep.commands.simulate import simulate
from aamprep.commands.validate import validate
from schemas.command import run

app = typer.Typer(
    help="BIOM tables in, validated and truncated Parquet shards out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
for _command in (validate, shard, merge, verify, inspect, limits, root, simulate):
    app.command()(_command)


def main() -> None:
    """Run `aamprep`."""
    run(app, "aamprep")
