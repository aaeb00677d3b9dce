"""Damage files of a run at random, with their hashes left wrong or made right again."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from aammodel.runs.tensor_file import Tensors, tensor_file
from tests.helpers.old_keys import metadata_of

_NUMBERS = (0, 1, -1, 3, 7, 2**31, 2**63, 10**18, 10**30, 0.5, -0.5, 1e300, 1e-300, 1e999, float("nan"))
_TEXTS = ("", "x", "cpu", "é" * 300, "\x1b[31m", "\ud800", "a\0b", "../..")
ODD: tuple[Any, ...] = (None, True, False, *_NUMBERS, *_TEXTS, [], [1], [[[]]], {}, {"a": 1}, {"step": 3})


def damage_bytes(path: Path, numbers: random.Random) -> str:
    """Flip a bit, or remove, repeat or insert some bytes."""
    content = bytearray(path.read_bytes())
    start = numbers.randrange(len(content))
    end = min(len(content), start + numbers.choice([1, 2, 7, 40, 1000]))
    kind = numbers.choice(["flip", "remove", "repeat", "insert", "truncate"])
    if kind == "flip":
        content[start] ^= 1 << numbers.randrange(8)
    elif kind == "remove":
        del content[start:end]
    elif kind == "repeat":
        content[start:start] = content[start:end]
    elif kind == "insert":
        content[start:start] = numbers.choice(
            [b"\0", b"[" * 3000, b'"', b"{", b"}", b",", b"9" * 5000, b"\xff"]
        )
    else:
        del content[start:]
    path.write_bytes(content)
    return f"{kind} {start}:{end}"


def damage_json(document: Any, numbers: random.Random) -> str:
    """Change, remove or add one value of a document, at any depth."""
    place, name = document, "$"
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return f"{name}: nothing"
        key = numbers.choice(keys)
        name += f".{key}"
        if isinstance(place[key], dict | list) and place[key] and numbers.random() < 0.8:
            place = place[key]
            continue
        break
    kind = numbers.choice(["set", "set", "set", "remove", "rename", "near"])
    if kind == "remove":
        del place[key]
    elif kind == "rename" and isinstance(place, dict):
        place[numbers.choice(["x", f"{key}x", "step", "heads", "read_share"])] = place.pop(key)
    elif kind == "near" and isinstance(place[key], int | float):
        place[key] = place[key] * numbers.choice([-1, 2, 10, 0]) + numbers.choice([0, 1, -1])
    else:
        place[key] = numbers.choice(ODD)
    return f"{kind} {name}"


def damage_json_file(path: Path, numbers: random.Random) -> str:
    """Change one value of a JSON file, or of one line of a file with a document on each line."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    number = numbers.randrange(len(lines))
    document = json.loads(lines[number])
    what = damage_json(document, numbers)
    lines[number] = json.dumps(document, indent=None if path.suffix == ".jsonl" else 2)
    path.write_text("\n".join(lines) + "\n")
    return what


def damage_state(path: Path, numbers: random.Random) -> str:
    """Change one value of a `state.json`, and make its hash right again."""
    what = damage_json_file(path, numbers)
    hash_state(path)
    return what


def hash_state(path: Path) -> None:
    """Give a `state.json` the hash of its values, if it has one."""
    document = json.loads(path.read_text())
    if isinstance(document, dict) and "sha256" in document:
        rest = {name: value for name, value in document.items() if name != "sha256"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        document["sha256"] = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        path.write_text(json.dumps(document))


def damage_tensors(path: Path, numbers: random.Random) -> str:
    """Change one tensor of a file, or its header, and make all hashes right again."""
    tensors, metadata = load_file(path), metadata_of(path)
    metadata.pop("sha256")
    name = numbers.choice(sorted(tensors))
    kind = numbers.choice(sorted(_CHANGES) + (["header"] if metadata else []))
    if kind == "header":
        key = numbers.choice(sorted(metadata))
        # In a list, a number can be changed, too.
        document = [json.loads(metadata[key])]
        name = f"{key} {damage_json(document, numbers)}"
        metadata[key] = json.dumps(document[0] if document else None)
    else:
        _CHANGES[kind](tensors, name)
    content = tensor_file(tensors, metadata)
    path.write_bytes(bytes(content))
    state = path.with_name("state.json")
    if state.exists():
        document = json.loads(state.read_text())
        document["files"][path.name] = content.sha256
        state.write_text(json.dumps(document))
        hash_state(state)
    return f"{kind} {name}"


def _remove(tensors: Tensors, name: str) -> None:
    del tensors[name]


def _remove_half(tensors: Tensors, name: str) -> None:
    for each in sorted(tensors)[::2]:
        del tensors[each]


def _remove_all(tensors: Tensors, name: str) -> None:
    tensors.clear()


def _rename(tensors: Tensors, name: str) -> None:
    tensors[f"{name}x"] = tensors.pop(name)


def _add(tensors: Tensors, name: str) -> None:
    tensors[f"{name}x"] = tensors[name].clone()


def _longer(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.zeros(tensors[name].numel() + 1)


def _flat(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].flatten()[None, None, None]


def _integers(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].to(torch.int64)


def _doubles(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].to(torch.float64)


def _with_nan(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.full_like(tensors[name], float("nan"), dtype=torch.float32)


def _infinite(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.full_like(tensors[name], float("-inf"), dtype=torch.float32)


_CHANGES: dict[str, Callable[[Tensors, str], None]] = {
    function.__name__: function
    for function in (
        _remove, _remove_half, _remove_all, _rename, _add, _longer, _flat, _integers, _doubles, _with_nan,
        _infinite,
    )
}  # fmt: skip
