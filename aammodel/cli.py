"""The program `aammodel`: one module in `commands/` for each command.

Every import of a stage waits for its command, so that `aammodel --help` answers at once.
"""

import os

from aam_schemas.common.cli import run
from aam_schemas.common.program import make_program
from aammodel.commands.compare import compare
from aammodel.commands.distances import distances
from aammodel.commands.evaluate import evaluate
from aammodel.commands.import_ import import_
from aammodel.commands.plan import plan
from aammodel.commands.pretrain import pretrain
from aammodel.commands.trace import trace
from aammodel.commands.tune import tune

app = make_program(
    "Stream shards into a padding-safe transformer, and train it.",
    # `import` is a word of Python, which no function can be called.
    {one.__name__: one for one in (pretrain, evaluate, distances, compare, plan, trace, tune)}
    | {"import": import_},
)


def main() -> None:
    """Run `aammodel`."""
    # Threads that wait must not spin: on a machine shared with others, spinning makes every step many times
    # slower. Torch reads this when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run(app, "aammodel")


if __name__ == "__main__":
    main()
