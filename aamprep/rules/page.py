"""Generate the documentation of the rules: `python -m aamprep.rules.page > docs/rules.md`."""

import importlib
import re
from importlib.util import find_spec
from pathlib import Path

from aamprep.rules.rule import MERGE, SHARD, Effect, Rule

_MODULES = {"aamprep.rules.tables": "Tables and accompanying files", "aamprep.rules.shards": "Shard sets"}
"""Modules that define rules, and their headings. The section comments in a module become subheadings."""

_SECTION = re.compile(r"# -{3,} (.+?) -{3,}")
_RULE = re.compile(r"([A-Z_]+) = (?:error|warning|note)\(")

_HEAD = """# Rules

`aamprep` checks the rules on this page. It reports each violation as a finding, with the code of the rule,
the location, the value, the rule and a fix. There are three severities:

- **error**: the data are invalid. `aamprep validate` exits with 1. No value that an error names gets into
  a shard set. The table below shows whether `aamprep shard` then writes nothing, or what it leaves out.
- **warning**: the data are kept, but you should look at them.
- **note**: the data are fine. This is for your information.

Codes are stable, so scripts can rely on them. This page is generated from the rules with
`python -m aamprep.rules.page > docs/rules.md`.
"""


_EFFECTS = """## What `shard` and `merge` do at an error

`aamprep validate` does all that `aamprep shard` does, except that it keeps no shards. So both report the same
findings, and a table that is valid can be sharded. With `--strict`, `shard` writes nothing at any error.
Samples and features that are left out are listed in `rejected.parquet`. `aamprep merge` checks every set, and
the tree, and writes nothing at any error. Where a cell is empty, the rule is checked by the other command.

| error | `aamprep shard` | `aamprep merge` |
|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown: a heading for each module and each topic, and an entry for each rule."""
    parts = [_HEAD, _EFFECTS + "".join(map(_effects, _errors()))]
    for name, title in _MODULES.items():
        if find_spec(name):
            parts.append(f"## {title}\n")
            parts += [_section(topic, rules) for topic, rules in _topics(name)]
    return "\n".join(parts)


def _topics(module_name: str) -> list[tuple[str, list[Rule]]]:
    """Return the rules of a module in order, grouped by the section comment above them.

    Section comments exist in the source only, so the source is read in place of the module's attributes.
    """
    module = importlib.import_module(module_name)
    topics: list[tuple[str, list[Rule]]] = []
    for line in Path(str(module.__file__)).read_text(encoding="utf-8").split("\n"):
        if section := _SECTION.match(line):
            topics.append((section[1], []))
        elif rule := _RULE.match(line):
            topics[-1][1].append(getattr(module, rule[1]))
    return [(title, rules) for title, rules in topics if rules]


def _errors() -> list[Rule]:
    """Return the errors of all modules, in the order of the page."""
    topics = [topic for name in _MODULES for topic in _topics(name)]
    return [rule for _, rules in topics for rule in rules if rule.effect is not None]


def _effects(rule: Rule) -> str:
    """Return the row of an error in the table of effects."""
    shard = rule.effect if SHARD in rule.checked_by else ""
    merge = Effect.REFUSED if MERGE in rule.checked_by else ""
    return f"| [`{rule.code}`](#{rule.code}) | {shard} | {merge} |\n"


def _section(title: str, rules: list[Rule]) -> str:
    return f"### {title}\n\n" + "\n".join(_entry(rule) for rule in rules)


def _entry(rule: Rule) -> str:
    return (
        f"#### `{rule.code}`\n\n"
        f"{rule.severity.value.capitalize()}. Rule: {rule.requirement}.\n\n"
        f"- Example: {_quoted(rule.example)}\n"
        f"- Fix: {rule.fix}.\n"
    )


def _quoted(text: str) -> str:
    """Return text as Markdown code. Two backquotes enclose text that contains one."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}"


if __name__ == "__main__":
    print(page(), end="")
