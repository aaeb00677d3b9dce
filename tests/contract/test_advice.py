"""Advice that can be followed: the commands and options that messages name exist."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aamprep.rules import shards, tables

ROOT = Path(__file__).parents[2]
OPTIONS = {
    command: {name for parameter in parameters for name in parameter["names"]}
    for command, parameters in json.loads((ROOT / "tests/assets/options.json").read_text()).items()
}
"""Options of each command of ours, such as `aamprep shard`."""

OTHERS = {
    "biom convert": {"-i", "-o", "--to-hdf5", "--table-type"},
    "biom subset-table": set(),
    "cutadapt": {"--revcomp"},
    "vsearch": {"--orient"},
    "qiime deblur denoise-16S": {"--p-trim-length"},
    "qiime dada2 denoise-single": {"--p-trunc-len"},
    "qiime tools export": set(),
    "qiime tools peek": set(),
    "qiime feature-table filter-features": set(),
    "qiime feature-table filter-seqs": set(),
    "qiime feature-table transpose": set(),
    "qiime phylogeny filter-tree": set(),
    "qiime phylogeny midpoint-root": set(),
}
"""Options of commands of others that we name. Look them up in their documentation before you add one."""

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w-])")
_COMMAND = re.compile(r"`((?:aamprep|aammodel) [a-z]+)([^`]*)`")


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the constant parts of all texts in a syntax tree, joined for each expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def advice() -> Iterator[tuple[str, str]]:
    """Yield each fix of a rule, and each text of an error that is raised, with its origin."""
    for rule in (tables.catalogue() | shards.catalogue()).values():
        yield rule.code, rule.fix
    for package in ("aamprep", "aammodel", "schemas"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                name = ast.unparse(node.func).split(".")[-1] if isinstance(node, ast.Call) else ""
                if name.endswith(("Error", "refuse", "say", "warning")):
                    for text in texts(node):
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def test_options_of_advice_exist() -> None:
    known = set().union(*OPTIONS.values(), *OTHERS.values())
    missing = [
        (where, name) for where, text in advice() for name in _OPTION.findall(text) if name not in known
    ]
    assert missing == []


def test_commands_of_advice_exist_with_their_options() -> None:
    for where, text in advice():
        for command, rest in _COMMAND.findall(text):
            assert command in OPTIONS, where
            assert set(_OPTION.findall(rest)) <= OPTIONS[command], where


def test_commands_of_others_are_listed() -> None:
    for where, text in advice():
        for command in re.findall(r"`((?:biom|qiime|cutadapt|vsearch)[^`]*)`", text):
            name = next((known for known in OTHERS if command.startswith(known)), None)
            assert name is not None, (where, command)
            assert set(re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", command)) <= OTHERS[name], (where, command)


@pytest.mark.parametrize("code", sorted(tables.catalogue() | shards.catalogue()))
def test_a_fix_is_no_empty_word(code: str) -> None:
    fix = (tables.catalogue() | shards.catalogue())[code].fix
    assert fix.startswith("nothing") or len(fix.split()) > 3
