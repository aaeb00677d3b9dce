"""The program `aammodel`. Each command is a module in `commands/`.

The commands import torch and other large packages only when they run, so that `aammodel --help` is fast.
"""

import os

from aam_schemas.common.cli import run
from aam_schemas.common.program import make_program
from aammodel.commands.compare import compare
from aammodel.commands.crossval import crossval
from aammodel.commands.distances import distances
from aammodel.commands.embed import embed
from aammodel.commands.evaluate import evaluate
from aammodel.commands.import_ import import_
from aammodel.commands.plan import plan
from aammodel.commands.pretrain import pretrain
from aammodel.commands.trace import trace
from aammodel.commands.tune import tune

app = make_program(
    "Stream shards into a padding-safe transformer, and train it.",
    # `import` is a keyword of Python, so the function has another name than the command.
    {
        command.__name__: command
        for command in (pretrain, evaluate, crossval, embed, distances, compare, plan, trace, tune)
    }
    | {"import": import_},
)


def main() -> None:
    """Run `aammodel`."""
    # By default, waiting OpenMP threads spin. On a machine shared with others, that makes every step many
    # times slower. Torch reads this variable when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run(app, "aammodel")


if __name__ == "__main__":
    main()
