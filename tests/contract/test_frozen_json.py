"""The keys and types of every JSON document that `--json` prints are frozen, and so is the exit code.

`tests/helpers/frozen.py` explains how to regenerate the assets.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.frozen import kept
from tests.helpers.studies import Programs, write_table_with_an_empty_sample

CONFIG = """
[train]
max_steps = 2
batch_size = 8
device = "cpu"
[train.targets]
unweighted_unifrac = 1.0
braycurtis = 0.5
[model]
width = 16
attention_heads = 2
asv_layers = 1
sample_layers = 1
soft_branches = 8
"""

PREPARATION = (
    ("aamprep", "simulate", "study", "--samples", 40, "--asvs", 60, "--seed", 3),
    ("aamprep", "shard", "study/table.biom", "--token-limit", 24),
    ("aamprep", "shard", "study/table.biom", "--where", "habitat=gut", "--output", "gut"),
    ("aamprep", "shard", "study/table.biom", "--where", "habitat!=gut", "--output", "rest"),
    ("aammodel", "pretrain", "shards", "--config", "config.toml"),
    ("aammodel", "pretrain", "shards", "--config", "config.toml", "--seed", 1, "--output", "other"),
)
SHARD = ("aamprep", "shard", "study/table.biom", "--json", "--output", "sharded")
CONFIGURED = ("shards", "--config", "config.toml", "--json")
CALLS: dict[str, tuple[str | int, ...]] = {
    "validate": ("aamprep", "validate", "study/table.biom", "--json"),
    "validate, rarefied": ("aamprep", "validate", "study/table.biom", "--rarefy-depth", 50, "--json"),
    "validate, invalid": ("aamprep", "validate", "invalid/table.biom", "--json"),
    "validate, not a table": ("aamprep", "validate", "damaged/table.biom", "--json"),
    "shard": (*SHARD, "--token-limit", 24),
    "shard, nothing left": (*SHARD, "--rarefy-depth", 10**9, "--overwrite"),
    "shard, strict": ("aamprep", "shard", "invalid/table.biom", "--strict", "--output", "none", "--json"),
    "merge": ("aamprep", "merge", "gut", "rest", "--tree", "study/tree.nwk", "--output", "merged", "--json"),
    "merge, samples twice": ("aamprep", "merge", "gut", "copy", "--output", "none", "--json"),
    "verify": ("aamprep", "verify", "shards", "--json"),
    "verify, not shards": ("aamprep", "verify", "study", "--json"),
    "limits": ("aamprep", "limits", "study/table.biom", "--json"),
    "limits, not a table": ("aamprep", "limits", "damaged/table.biom", "--json"),
    "inspect, table": ("aamprep", "inspect", "study/table.biom", "--json"),
    "inspect, tree": ("aamprep", "inspect", "study/tree.nwk", "--json"),
    "inspect, metadata": ("aamprep", "inspect", "study/metadata.tsv", "--json"),
    "inspect, shards": ("aamprep", "inspect", "shards", "--json"),
    "inspect, unknown": ("aamprep", "inspect", "damaged/table.biom", "--json"),
    "plan": ("aammodel", "plan", *CONFIGURED),
    "plan, not shards": ("aammodel", "plan", "study", "--json"),
    "tune": ("aammodel", "tune", *CONFIGURED, "--steps", 10, "--memory", "64GB"),
    "trace": ("aammodel", "trace", *CONFIGURED),
    "trace, NaN": ("aammodel", "trace", *CONFIGURED, "--inject", "sample_encoder.transformer.norm"),
    "evaluate": ("aammodel", "evaluate", "run", "shards", "--split", "train", "--json"),
    "compare": ("aammodel", "compare", "run", "other", "--json"),
}
"""The programs' arguments, in order, by what they show."""


DATA = re.compile(r"S?\d+")
"""Keys that come from the data."""


def paths_of(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Return the path and type of a value and of everything nested in it.

    All items of a list share a path, and so do keys that are numbers or sample ids.
    """
    if isinstance(value, dict):
        yield path, "object"
        for name, inner in value.items():
            yield from paths_of(inner, f"{path}.{'*' if DATA.fullmatch(name) else name}")
    elif isinstance(value, list):
        yield path, "list"
        for inner in value:
            yield from paths_of(inner, f"{path}[]")
    else:
        yield path, type(value).__name__


def keys_of(document: Any) -> dict[str, str]:
    """Return the types of the values at each path of a document."""
    kinds: dict[str, set[str]] = {}
    for path, kind in paths_of(document):
        kinds.setdefault(path or ".", set()).add(kind)
    return {path: "|".join(sorted(each)) for path, each in kinds.items()}


def prepare(run: Programs, folder: Path) -> None:
    """Write the tables, shards and runs that the commands read."""
    write_table_with_an_empty_sample(folder / "invalid")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "table.biom").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    (folder / "copy").symlink_to("gut")
    (folder / "config.toml").write_text(CONFIG)
    for program, *arguments in PREPARATION:
        ran = run(str(program), *arguments)
        assert ran.code == 0, ran.err


@pytest.mark.usefixtures("one_thread")
def test_keys_of_json_documents_are_those_of_before(
    run: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(run, tmp_path)
    found = {}
    for name, (program, *arguments) in CALLS.items():
        ran = run(str(program), *arguments)
        assert ran.code in (0, 1), (name, ran.err)
        found[name] = {"exit code": ran.code, "keys": keys_of(json.loads(ran.out))}
    assert found == kept("json_keys.json", found)
