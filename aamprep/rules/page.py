"""The page of rules in the documentation: `python -m aamprep.rules.page > docs/rules.md`."""

import importlib
import re
from importlib.util import find_spec
from pathlib import Path

from aamprep.rules.rule import Rule

_MODULES = {"aamprep.rules.tables": "Tables and what goes with them", "aamprep.rules.shards": "Shard sets"}
"""Where rules are written; each module has section comments, which become headings."""

_SECTION = re.compile(r"# -{3,} (.+?) -{3,}")
_RULE = re.compile(r"([A-Z_]+) = (?:error|warning|note)\(")

_HEAD = """# Rules

Everything that `aamprep` checks. A finding has the code of its rule, the place, the value found there, the
rule in words and what to do. An **error** would be rejected: `aamprep validate` exits with 1; `aamprep shard`
leaves such a sample out, on record, and goes on. A **warning** is kept but worth knowing. A **note** is good
to know.

Codes are stable: scripts may rely on them. This page is generated from the rules, with
`python -m aamprep.rules.page > docs/rules.md`.
"""


def page() -> str:
    """Write the page: a heading for each module and topic, then each rule."""
    parts = [_HEAD]
    for name, title in _MODULES.items():
        if find_spec(name):
            parts.append(f"## {title}\n")
            parts += [_section(topic, rules) for topic, rules in _topics(name)]
    return "\n".join(parts)


def _topics(module_name: str) -> list[tuple[str, list[Rule]]]:
    """Give the rules of a module in order, by the section comment that they stand under."""
    module = importlib.import_module(module_name)
    topics: list[tuple[str, list[Rule]]] = []
    for line in Path(str(module.__file__)).read_text(encoding="utf-8").splitlines():
        if section := _SECTION.match(line):
            topics.append((section[1], []))
        elif rule := _RULE.match(line):
            topics[-1][1].append(getattr(module, rule[1]))
    return [(title, rules) for title, rules in topics if rules]


def _section(title: str, rules: list[Rule]) -> str:
    return f"### {title}\n\n" + "\n".join(_entry(rule) for rule in rules)


def _entry(rule: Rule) -> str:
    return (
        f"#### `{rule.code}`\n\n"
        f"{rule.severity.value.capitalize()}. Should be: {rule.rule}.\n\n"
        f"- Example: {_quoted(rule.example)}\n"
        f"- To do: {rule.remedy}.\n"
    )


def _quoted(text: str) -> str:
    """Quote as code, whatever backquotes are in it."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}"


if __name__ == "__main__":
    print(page(), end="")
