"""Examples on the documentation pages are valid: commands and options exist, and code blocks parse.

Commands are parsed but not run, so the files that they name need not exist.
"""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import aammodel
import aamprep
from aammodel.cli import app as aammodel_app
from aammodel.config.toml import read_config
from aamprep.cli import app as aamprep_app
from tests.helpers.paths import ROOT

PROGRAMS: dict[str, Any] = {
    "aammodel": typer.main.get_command(aammodel_app),
    "aamprep": typer.main.get_command(aamprep_app),
}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE_COMMAND = re.compile(r"`((?:aamprep|aammodel) [^`]*)`")
INLINE_OPTION = re.compile(r"`(--[a-z-]+)[^`]*`")
INLINE_FILE = re.compile(r"`((?:aammodel|aamprep|benchmarks|docs|examples|schemas|tests)/[\w./-]+\.\w+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
OTHER_OPTIONS = {"--attention-heads", "--help", "--logdir"}
"""Options of jbk708/aam, of every command, and of `tensorboard`."""
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*$")
OUTPUT = ("|", ">", "&&", ";")
"""Where the shell takes over after a command."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the code blocks of a language, each with the name of its page."""
    return [
        (page.name, text)
        for page in PAGES
        for found, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if found == language
    ]


def words_of(line: str) -> list[str]:
    """Split a line as a shell does, without variables before the command or redirections after it."""
    words = shlex.split(line, comments=True)
    while words and ASSIGNMENT.match(words[0]):
        words.pop(0)
    ends = [index for index, word in enumerate(words) if word in OUTPUT]
    return words[: min(ends, default=len(words))]


def calls_in_blocks() -> list[tuple[str, list[str]]]:
    """Return every call of our programs in the shell blocks of the pages and in the demo."""
    sources = [*blocks("sh"), ("demo.sh", (ROOT / "examples" / "demo.sh").read_text(encoding="utf-8"))]
    calls = [
        (page, words_of(line))
        for page, text in sources
        for line in text.replace("\\\n", " ").splitlines()
        if re.match(r"\s*([A-Z_]+=\S* )*(aamprep|aammodel) ", line)
    ]
    assert len(calls) > 20
    return calls


def calls_in_prose() -> list[tuple[str, list[str]]]:
    """Return every command that stands in backquotes in the text of the pages."""
    texts = [(page.name, BLOCK.sub("", page.read_text(encoding="utf-8"))) for page in PAGES]
    return [(page, call.split()) for page, text in texts for call in INLINE_COMMAND.findall(text)]


@pytest.mark.parametrize(("page", "words"), calls_in_blocks(), ids=lambda value: " ".join(value)[:60])
def test_a_command_in_a_block_is_understood(page: str, words: list[str]) -> None:
    program = PROGRAMS[words[0]]
    assert words[1] in program.commands, page
    if "--help" not in words:
        program.commands[words[1]].make_context(words[1], words[2:])


def test_commands_in_the_text_have_the_options_that_it_names() -> None:
    for page, (program, name, *rest) in calls_in_prose():
        commands = PROGRAMS[program].commands
        if name.startswith("-"):
            assert name in ("--help", "--version"), f"{page}: {program} {name}"
            continue
        assert name in commands, f"{page}: {program} {name}"
        known = {option for each in commands[name].params for option in (*each.opts, *each.secondary_opts)}
        named = {word.split("=")[0].rstrip(".,") for word in rest if word.startswith("--")}
        assert named <= known | {"--help"}, f"{page}: {program} {name} {' '.join(rest)}"


def test_options_in_the_text_are_options_of_a_command() -> None:
    groups = PROGRAMS.values()
    commands = [command for group in groups for command in (group, *group.commands.values())]
    parameters = [each for command in commands for each in command.params]
    known = {option for each in parameters for option in (*each.opts, *each.secondary_opts)}
    for page in PAGES:
        if page.name != "benchmarks.md":  # Its options are those of the scripts.
            named = set(INLINE_OPTION.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))))
            assert named <= known | OTHER_OPTIONS, page.name


def test_files_that_the_pages_name_exist() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path in INLINE_FILE.findall(text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for path in LINK.findall(text):
            assert (page.parent / path).exists(), f"{page.name}: {path}"


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_a_configuration_on_a_page_is_valid(page: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    assert read_config(tmp_path / "config.toml"), page


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_on_a_page_uses_public_names(page: str, text: str) -> None:
    attributes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    for package in (aamprep, aammodel):
        used = {
            node.attr
            for node in attributes
            if isinstance(node.value, ast.Name) and node.value.id == package.__name__
        }
        # A package without __all__ has no Python interface yet.
        assert used <= set(getattr(package, "__all__", used)), page
