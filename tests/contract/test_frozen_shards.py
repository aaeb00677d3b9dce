"""Every file of some shard sets of a simulated study is frozen: rarefied, token-limited, selected and merged.

`tests/helpers/frozen.py` explains how to regenerate the assets. Files are byte-equal only with the same
versions of the libraries that write them. Their contents are equal everywhere.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.frozen import kept
from tests.helpers.studies import Programs

WRITERS = ("h5py", "numpy", "polars", "pyarrow", "scipy")
RAREFIED = ("--rarefy-depth", 500, "--seed", 7, "--token-limit", 24)
STEPS = {
    "study": ("simulate", "study", "--samples", 40, "--asvs", 60, "--seed", 3),
    "whole": ("shard", "study/table.biom", *RAREFIED, "--split-by", "habitat", "--output", "whole"),
    "random": ("shard", "study/table.biom", "--select", "random", "--token-limit", 9, "--output", "random"),
    "gut": ("shard", "study/table.biom", *RAREFIED, "--where", "habitat=gut", "--output", "gut"),
    "rest": ("shard", "study/table.biom", *RAREFIED, "--where", "habitat!=gut", "--output", "rest"),
    "merged": ("merge", "gut", "rest", "--tree", "study/tree.nwk", "--output", "merged"),
}
"""The arguments of `aamprep`, by the folder that they write."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest_of(path: Path) -> dict[str, Any]:
    """Read a manifest without its versions and the manifest hashes of merged sets, which depend on them."""
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["versions"]
    for row in document["inputs"]:
        if row["role"] == "shards":
            del row["sha256"], row["bytes"]
    return document


def without_bytes(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest without the entries that depend on the encoding of its files."""
    for row in manifest["files"] + manifest["inputs"]:
        for name in ("sha256", "footer_sha256", "row_group_sha256", "bytes"):
            row.pop(name, None)
    return manifest


def hashes(path: Path) -> dict[str, str]:
    """Return the hash of the bytes of a file and the hash of its content."""
    if path.name == "manifest.json":
        document = manifest_of(path)
        return {
            "bytes": sha256(json.dumps(document, indent=2, ensure_ascii=False).encode()),
            "content": sha256(json.dumps(without_bytes(document)).encode()),
        }
    found = {"bytes": sha256(path.read_bytes())}
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        content = f"{table.schema.to_string()}\n{table.to_pylist()}"
        found["content"] = sha256(content.encode())
    # The bytes of HDF5 depend on its version, and simulated.json has the hash of table.biom.
    elif path.name not in ("table.biom", "simulated.json"):
        found["content"] = found["bytes"]
    return found


def of_kind(document: dict[str, Any], kind: str) -> dict[str, str | None]:
    """Return one kind of hash of every file, by its path."""
    return {path: both.get(kind) for path, both in document["files"].items()}


def test_shard_sets_are_those_of_before(
    run: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {"versions": {name: version(name) for name in WRITERS}, "files": {}}
    for folder, arguments in STEPS.items():
        ran = run("aamprep", *arguments)
        assert ran.code == 0, ran.err
        for path in sorted((tmp_path / folder).iterdir()):
            if path.name != "manifest.sha256":  # the hash of the whole manifest, versions included
                found["files"][f"{folder}/{path.name}"] = hashes(path)
    expected = kept("shards.json", found)
    assert found["files"].keys() == expected["files"].keys()
    kinds = ("bytes", "content") if found["versions"] == expected["versions"] else ("content",)
    for kind in kinds:
        assert of_kind(found, kind) == of_kind(expected, kind), kind
