"""Child processes that do one piece of work whenever they are told to, so that ways can be timed in turn."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


class Child:
    """A script beside this one, which answers each line with one line of JSON.

    Parameters
    ----------
    script : str
    arguments : objects
        What it is called with.
    """

    def __init__(self, script: str, *arguments: object) -> None:
        command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self._answer()
        """What it said when it was ready."""

    def ask(self) -> Answer:
        """Have the work done once more."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Let it go: it ends where its input does."""
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> Answer:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(line)


@contextmanager
def children(script: str, names: list[str], *arguments: object) -> Iterator[dict[str, Child]]:
    """Have a child for each name, its first argument, for a while."""
    with ExitStack() as stack:
        made = {}
        for name in names:
            made[name] = Child(script, name, *arguments)
            stack.callback(made[name].end)
        yield made
