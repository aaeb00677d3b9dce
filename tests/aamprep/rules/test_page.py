"""The page of rules is what the rules say."""

import pytest

from aamprep.rules import shards, tables
from aamprep.rules.page import page
from aamprep.rules.rule import Rule
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "rules.md"
RULES = [one for module in (tables, shards) for one in vars(module).values() if isinstance(one, Rule)]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m aamprep.rules.page > docs/rules.md"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_is_on_the_page_once_with_example_and_remedy(rule: Rule) -> None:
    assert page().count(f"#### `{rule.code}`\n") == 1
    assert rule.example
    assert rule.remedy
    assert rule.rule in page()


def test_no_two_rules_share_a_code() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)
