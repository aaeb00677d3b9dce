"""The examples in docstrings of the data room run as they stand, in a folder with shards."""

import doctest
import importlib
from pathlib import Path

import pytest

from tests.helpers.shards import make_shards
from tests.helpers.studies import Programs

MODULES = {
    "aammodel.data.collate": 1,
    "aammodel.data.masking": 1,
    "aammodel.data.order": 2,
    "aammodel.data.samples": 1,
    "aammodel.data.shards": 1,
    "aammodel.data.stream": 2,
    "aammodel.data.workers": 1,
    "aammodel.distances.metrics": 1,
}
"""Modules, and how many docstrings of each have an example."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, run: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shards(run, tmp_path)
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert len(found) == MODULES[name]
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)
