"""Child processes that each do one piece of work on request, so that methods can be timed in turn.

They are forked, so that modules are imported only once. Each child's memory is its own.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

Answer = dict[str, Any]
Work = Callable[..., Iterator[Answer]]
"""A generator. It prepares, answers that it is ready, and then does its work once for each further answer."""


class Child:
    """A process that prepares its work when it is made.

    Parameters
    ----------
    work : callable
    arguments : objects
        Arguments of the work.
    """

    def __init__(self, work: Work, *arguments: object) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.facts = self.ask()
        """The first answer of the work."""

    def ask(self) -> Answer:
        """Do the work once more, and return its answer."""
        self._connection.send(True)
        try:
            return self._connection.recv()
        except EOFError as error:
            self._process.join()
            raise RuntimeError(f"a child ended with {self._process.exitcode}") from error

    def end(self) -> None:
        """End the process."""
        self._connection.send(False)
        self._process.join()


@contextmanager
def children(work: Work, names: list[str], *arguments: object) -> Iterator[dict[str, Child]]:
    """Run a child for each name, which is the first argument of its work; end them all on leaving."""
    with ExitStack() as stack:
        made = {}
        for name in names:
            made[name] = Child(work, name, *arguments)
            stack.callback(made[name].end)
        yield made


def _serve(connection: Connection, work: Work, arguments: tuple[object, ...]) -> None:
    answers = work(*arguments)
    while connection.recv():
        connection.send(next(answers))
