"""Print the help of every command of a program as one JSON document.

Usage: `python -m tests.helpers.show_help aamprep`.
"""

import contextlib
import importlib
import io
import json
import sys

import typer


def help_texts(program: str) -> dict[str, str]:
    """Return the help of a program and of each of its commands, by the words to type."""
    app = importlib.import_module(f"{program}.cli").app
    calls = [[], *([name] for name in typer.main.get_command(app).commands)]
    return {" ".join([program, *call]): _help(app, program, call) for call in calls}


def _help(app: typer.Typer, program: str, call: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        app([*call, "--help"], prog_name=program, standalone_mode=False)
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


if __name__ == "__main__":
    print(json.dumps(help_texts(sys.argv[1])))
