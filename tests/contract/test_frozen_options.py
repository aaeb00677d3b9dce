"""Names, types and defaults of all options and configuration keys are frozen.

`tests/helpers/frozen.py` explains how to regenerate the assets.
"""

import importlib
from collections.abc import Callable
from dataclasses import MISSING, fields
from enum import Enum
from inspect import formatannotation
from pathlib import Path
from typing import Any, get_type_hints

import typer

from tests.helpers.frozen import kept
from tests.helpers.settings import TABLES

PROPERTIES = ("required", "multiple", "nargs", "is_flag", "envvar", "metavar", "min", "max")


def plain(value: object) -> object:
    """Return a value as JSON stores it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def kind_of(annotation: Any) -> str:
    """Return a type in words, or its choices."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(choice.value for choice in annotation)
    return formatannotation(annotation)


def parameters(command: Any, function: Callable[..., None]) -> list[dict[str, Any]]:
    """Return the names, type and default of each option and argument of a command."""
    hints = get_type_hints(function)
    found = []
    for each in command.params:
        document = {"names": [*each.opts, *each.secondary_opts], "type": kind_of(hints[each.name])}
        values = {name: plain(getattr(each, name, None)) for name in PROPERTIES}
        document |= {name: value for name, value in values.items() if value not in (None, False)}
        found.append(document | {"default": plain(each.default)})
    return found


def test_options_are_those_of_before() -> None:
    found: dict[str, Any] = {}
    for program in ("aamprep", "aammodel"):
        app = importlib.import_module(f"{program}.cli").app
        group: Any = typer.main.get_command(app)
        found[program] = parameters(group, app.registered_callback.callback)
        for each in app.registered_commands:
            found[f"{program} {each.name}"] = parameters(group.commands[each.name], each.callback)
    assert len(found) == 20
    assert found == kept("options.json", found)


def test_keys_of_the_configuration_are_those_of_before() -> None:
    found = {table: {each.name: key(each) for each in fields(kind)} for table, kind in TABLES.items()}
    assert found == kept("configuration.json", found)


def key(found: Any) -> dict[str, Any]:
    """Return the type and default of a key. A key without a default is required or computed."""
    document: dict[str, Any] = {"type": kind_of(found.type)}
    if found.default_factory is not MISSING:
        document["default"] = plain(found.default_factory())
    elif found.default is not MISSING:
        document["default"] = plain(found.default)
    return document
