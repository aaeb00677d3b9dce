"""What both programs are: their commands, and `--version`."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Annotated

import typer

DISTRIBUTION = "aamprep"
"""What both programs are installed as."""


def make_program(about: str, commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """Make the application of a program.

    Parameters
    ----------
    about : str
        What the program is for, in a sentence.
    commands : mapping of str to callable
        The function of each command, by its name.
    """
    app = typer.Typer(help=about, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

    @app.callback()
    def _program(
        _: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
        ] = False,
    ) -> None:
        pass

    for name, function in commands.items():
        app.command(name)(function)
    return app


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        print(version(DISTRIBUTION))
        raise typer.Exit
