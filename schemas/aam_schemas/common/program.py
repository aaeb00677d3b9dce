"""Application of both programs: their commands, `--version` and the layout of help texts."""

from collections.abc import Callable, Mapping
from copy import copy
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from aam_schemas.common.lazy import DISTRIBUTION
from aam_schemas.common.surroundings import EscapedError


def make_program(about: str, commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """Return the Typer application of a program.

    Parameters
    ----------
    about : str
        Purpose of the program, in one sentence.
    commands : mapping of str to callable
        The function of each command, by its name.
    """
    app = typer.Typer(
        cls=_Group, help=about, no_args_is_help=True, add_completion=False, rich_markup_mode="rich"
    )

    @app.callback()
    def _program(
        _: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
        ] = False,
    ) -> None:
        pass

    for name, function in commands.items():
        app.command(name, cls=_Command)(function)
    return app


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(version(DISTRIBUTION))
        raise typer.Exit


class _Command(TyperCommand):
    """Command that shows its help texts verbatim, including words in brackets such as `[train]`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (EOFError, KeyboardInterrupt, BrokenPipeError) as error:
            raise EscapedError from error

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        TyperCommand.format_help(_without_markup(self), ctx, formatter)


class _Group(TyperGroup):
    """Program that shows its help texts verbatim."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        TyperGroup.format_help(_without_markup(self), ctx, formatter)


def _without_markup(command: Any) -> Any:
    """Return a copy of a command whose help texts have their markup escaped.

    Rich takes a word in brackets for markup and drops it. Typer has its column layout only with markup on.
    """
    shown = copy(command)
    shown.help, shown.short_help = _escape(command.help), _escape(command.short_help)
    shown.params = [copy(param) for param in command.params]
    for param in shown.params:
        param.help = _escape(param.help)
    if isinstance(shown, TyperGroup):
        shown.commands = {name: _without_markup(child) for name, child in shown.commands.items()}
    return shown


def _escape(text: str | None) -> str | None:
    from rich.markup import escape

    return escape(text) if text else text
