"""What both programs are: their commands, and `--version`."""

from collections.abc import Callable, Mapping
from copy import copy
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from aam_schemas.common.lazy import DISTRIBUTION


def make_program(about: str, commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """Make the application of a program.

    Parameters
    ----------
    about : str
        What the program is for, in a sentence.
    commands : mapping of str to callable
        The function of each command, by its name.
    """
    app = typer.Typer(
        cls=_Group, help=about, no_args_is_help=True, add_completion=False, rich_markup_mode="rich"
    )

    @app.callback()
    def _program(
        _: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
        ] = False,
    ) -> None:
        pass

    for name, function in commands.items():
        app.command(name, cls=_Command)(function)
    return app


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        print(version(DISTRIBUTION))
        raise typer.Exit


class _Command(TyperCommand):
    """A command whose help texts are shown as they are written, `[train]` included."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        TyperCommand.format_help(_without_markup(self), ctx, formatter)


class _Group(TyperGroup):
    """A program whose help texts are shown as they are written."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        TyperGroup.format_help(_without_markup(self), ctx, formatter)


def _without_markup(command: Any) -> Any:
    """Return a copy of a command that has no markup in its help texts.

    Rich reads a word in brackets as markup and drops it. Typer has no layout with columns but without markup.
    """
    shown = copy(command)
    shown.help, shown.short_help = _escape(command.help), _escape(command.short_help)
    shown.params = [copy(each) for each in command.params]
    for each in shown.params:
        each.help = _escape(each.help)
    if isinstance(shown, TyperGroup):
        shown.commands = {name: _without_markup(each) for name, each in shown.commands.items()}
    return shown


def _escape(text: str | None) -> str | None:
    from rich.markup import escape

    return escape(text) if text else text
