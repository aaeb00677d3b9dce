"""docs/rules.md matches the rules in the code."""

import pytest

from aamprep.rules import shards, tables
from aamprep.rules.page import page
from aamprep.rules.rule import Rule
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "rules.md"
RULES = [*tables.catalogue().values(), *shards.catalogue().values()]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m aamprep.rules.page > docs/rules.md"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_is_on_the_page_once_with_an_example_and_a_fix(rule: Rule) -> None:
    assert page().count(f"#### `{rule.code}`\n") == 1
    assert rule.example
    assert rule.fix
    assert rule.requirement in page()


def test_codes_are_unique() -> None:
    rules = [
        value for module in (tables, shards) for value in vars(module).values() if isinstance(value, Rule)
    ]
    assert len({rule.code for rule in rules}) == len(rules)
