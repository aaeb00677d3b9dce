"""Change a sound shard set at random, as a faulty or hostile program would write it: with hashes that agree.

`mutate` draws a change from a random generator, makes it, and describes it. `repair` makes the sizes, rows
and hashes in the manifest agree with the files again, so that only the content can be found to be wrong.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import aamprep
from aam_schemas.manifest import CHECKSUM_FILE, MANIFEST_FILE
from aam_schemas.shards import footer_sha256, row_group_sha256, write_parquet
from tests.helpers.studies import random_counts, random_newick, random_sequences, write_table

Rng = np.random.Generator
Document = dict[str, Any]

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 7, 10**6, 2**31, 2**32, 2**63 - 1, 0.5, -0.5, 1e300, "", "a", "../a",
    "/etc/passwd", "train", "test", "\x1b[31m", "é", [], [0], [[]], {}, {"a": 1}, "0" * 64,
)  # fmt: skip
"""Values that may take the place of any value of a manifest."""
NUMBERS = (0.0, -1.0, 1.0, 0.5, 1e9, 1e300, -1e300, np.nan, np.inf, -np.inf, 2.0**53)
TYPES = (
    pa.int8(), pa.int64(), pa.uint32(), pa.float32(), pa.float64(), pa.string(), pa.large_string(),
    pa.binary(), pa.bool_(), pa.list_(pa.uint32()), pa.list_(pa.float64()), pa.large_list(pa.float64()),
    pa.list_(pa.string()),
    pa.timestamp("us"), pa.null(), pa.struct([("a", pa.int32())]), pa.dictionary(pa.int32(), pa.string()),
)  # fmt: skip


def sound_shards(folder: Path) -> Path:
    """Shard 24 samples, one of them empty, with everything that a set can have, and return its folder."""
    sequences = [s[: 40 + index % 20] for index, s in enumerate(random_sequences(16))]
    counts = random_counts(24, 16)
    counts[7] = 0
    table = write_table(folder, counts, sequences)
    (folder / "tree.nwk").write_text(random_newick(sequences[1:]))
    rows = "".join(f"S{n}\t{n}\tM{n % 4}\n" for n in range(24))
    (folder / "metadata.tsv").write_text("sample-id\tage\tsubject\n" + rows)
    values = np.abs(np.subtract.outer(np.arange(24.0), np.arange(24.0))) / 24
    header = "".join(f"\tS{n}" for n in range(24))
    rows = "".join(f"S{n}\t" + "\t".join(map(str, row)) + "\n" for n, row in enumerate(values))
    (folder / "distances.tsv").write_text(f"{header}\n{rows}")
    aamprep.shard(
        table, output=folder / "shards", token_limit=5, isolate=False, distances=folder / "distances.tsv",
        tree=folder / "tree.nwk", metadata=folder / "metadata.tsv",
    )  # fmt: skip
    return folder / "shards"


def mutate(folder: Path, rng: Rng) -> str:
    """Make a random change of a shard set, and return it in words."""
    change = CHANGES[int(rng.integers(len(CHANGES)))]
    return f"{change.__name__}: {change(folder, rng)}"


def repair(folder: Path, *names: str) -> None:
    """Make the entries of some files in the manifest agree with the files, and the rest with the entries."""
    document = read(folder)
    for file in document["files"]:
        if file["name"] in names:
            describe(folder / file["name"], file)
    rows = {file["name"]: file["rows"] for file in document["files"]}
    document["num_samples"] = sum(file["rows"] for file in document["files"] if file["split"])
    document["num_asvs"] = rows["asvs.parquet"]
    document["num_branches"] = rows.get("tree.parquet", 0)
    write(folder, document)


def describe(path: Path, file: Document) -> None:
    """Update the entry of a file. If its footer cannot be read, its rows stay as they were."""
    content = path.read_bytes()
    file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if path.suffix != ".parquet":
        return
    try:
        file["footer_sha256"] = footer_sha256(path)
        metadata = pq.read_metadata(path)
        rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
        hashes = list(row_group_sha256(path, metadata))
    except (ValueError, OSError, OverflowError, MemoryError, pa.ArrowException):
        return
    file |= {"rows": sum(rows), "row_group_rows": rows, "row_group_sha256": hashes}


def read(folder: Path) -> Document:
    """Return the document of the manifest."""
    return dict(json.loads((folder / MANIFEST_FILE).read_bytes()))


def write(folder: Path, document: Any, text: str | None = None) -> None:
    """Write a manifest, valid or not, with the right hash."""
    content = (json.dumps(document) if text is None else text).encode()
    (folder / MANIFEST_FILE).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (folder / CHECKSUM_FILE).write_text(f"{digest}  {MANIFEST_FILE}\n")


def manifest_value(folder: Path, rng: Rng) -> str:
    """Replace, remove or repeat a value anywhere in the manifest."""
    document = read(folder)
    path, parent, key = _draw_value(document, rng)
    action = int(rng.integers(4))
    if action == 0:
        del parent[key]
        words = "removed"
    elif action == 1 and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
        words = "repeated"
    elif action == 2 and isinstance(parent[key], int):
        step = int(rng.choice([-1, 1, 10, 2**16]))
        parent[key] += step
        words = f"plus {step}"
    else:
        parent[key] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
        words = f"is {parent[key]!r}"
    write(folder, document)
    return f"{path} {words}"


def manifest_text(folder: Path, rng: Rng) -> str:
    """Write JSON that readers understand differently, or not at all."""
    text = json.dumps(read(folder))
    name = str(rng.choice(["num_samples", "files", "format_version", "name", "rows"]))
    texts = {
        "name twice": text.replace(f'"{name}":', f'"{name}": 1, "{name}":', 1),
        "NaN": text.replace('"seed": 0', '"seed": NaN'),
        "large": text.replace('"seed": 0', '"seed": 1e999'),
        "deep": text[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "surrogate": text.replace('"command": "', '"command": "\\ud800'),
        "cut": text[: int(rng.integers(len(text)))],
        "a list": f"[{text}]",
        "utf-16": "\ufeff" + text,
    }
    kind = str(rng.choice(list(texts)))
    write(folder, None, texts[kind])
    return f"{kind}: {name}"


def column_type(folder: Path, rng: Rng) -> str:
    """Write a column with another type, or the nearest to it that its values allow."""
    path, table = _draw_table(folder, rng)
    index = int(rng.integers(table.num_columns))
    kind = TYPES[int(rng.integers(len(TYPES)))]
    try:
        column = table.column(index).cast(kind)
    except (pa.ArrowException, ValueError):
        column = pa.nulls(len(table), kind)
    name = table.column_names[index]
    _rewrite(folder, path, table.set_column(index, pa.field(name, kind), column))
    return f"{path.name}: column {name} is {kind}"


def columns(folder: Path, rng: Rng) -> str:
    """Remove, repeat, rename or reorder columns, or add one."""
    path, table = _draw_table(folder, rng)
    index = int(rng.integers(table.num_columns))
    name = table.column_names[index]
    action = str(rng.choice(["remove", "repeat", "rename", "reorder", "add", "add below"]))
    if action == "remove":
        table = table.remove_column(index)
    elif action == "rename":
        table = table.rename_columns([*table.column_names[:index], "x", *table.column_names[index + 1 :]])
    elif action == "reorder":
        table = table.select(table.column_names[::-1])
    else:
        new = {"repeat": name, "add": "added", "add below": f"{name}.below"}[action]
        table = table.append_column(new, table.column(index))
    _rewrite(folder, path, table)
    return f"{path.name}: {action} {name}"


def column_value(folder: Path, rng: Rng) -> str:
    """Change a value in a row: a number, a list, a text, or nothing in its place."""
    path, table = _draw_table(folder, rng)
    index, row = int(rng.integers(table.num_columns)), int(rng.integers(max(len(table), 1)))
    field = table.schema.field(index)
    values = table.column(index).to_pylist()
    if not values:
        return f"{path.name} is empty"
    values[row] = _changed(values[row], rng)
    try:
        column = pa.array(values, field.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return f"{path.name}: unchanged"
    _rewrite(folder, path, table.set_column(index, field.with_nullable(True), column))
    return f"{path.name}: {field.name}[{row}] is {str(values[row])[:50]}"


def rows(folder: Path, rng: Rng) -> str:
    """Remove, repeat or reorder rows."""
    path, table = _draw_table(folder, rng)
    order = np.arange(len(table))
    action = str(rng.choice(["none", "half", "repeat", "reverse", "swap"]))
    if action == "none":
        order = order[:0]
    elif action == "half":
        order = order[: len(order) // 2]
    elif action == "repeat":
        order = np.concatenate([order, order[:1]])
    elif action == "reverse":
        order = order[::-1]
    elif len(order):
        order[[0, -1]] = order[[-1, 0]]
    _rewrite(folder, path, table.take(pa.array(order)))
    return f"{path.name}: {action}"


def parquet_bytes(folder: Path, rng: Rng) -> str:
    """Change some bytes of a Parquet file: pages, footer, or the end."""
    path = _draw_file(folder, rng)
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little") + 8
    part = str(rng.choice(["pages", "footer", "end", "cut", "headers"]))
    first = {"footer": len(content) - length, "end": len(content) - 8}.get(part, 4)
    last = {"pages": len(content) - length, "headers": 60}.get(part, len(content))
    for _ in range(int(rng.integers(1, 4))):
        position = int(rng.integers(min(first, last - 1), last))
        flipped = content[position] ^ 1 << int(rng.integers(8))
        content[position] = flipped if rng.integers(2) else int(rng.integers(256))
    if part == "cut":
        content = content[: int(rng.integers(len(content)))]
    path.write_bytes(content)
    repair(folder, path.name)
    return f"{path.name}: {part}"


def bomb(folder: Path, rng: Rng) -> str:
    """Write few bytes that stand for very many values."""
    (path,) = folder.glob("samples-train-*")
    table = pq.read_table(path)
    kind = str(rng.choice(["list", "text", "rows"]))
    if kind == "list":
        value = pa.array(np.zeros(30_000_000, dtype=np.float64))
        lists = pa.ListArray.from_arrays(pa.array([0, *[len(value)] * len(table)], pa.int32()), value)
        table = table.set_column(table.column_names.index("count"), table.schema.field("count"), lists)
        _rewrite(folder, path, table)
    elif kind == "text":
        study = pa.array(["x" * 1_000_000] * len(table))
        table = table.set_column(1, table.schema.field("study"), study)
        _rewrite(folder, path, pa.concat_tables([table] * 40))
    else:
        path = folder / "asvs.parquet"
        table = pq.read_table(path).slice(0, 1)
        write_parquet(table.take(pa.array(np.zeros(400_000, dtype=np.int64))), path, 1 << 20)
        repair(folder, path.name)
    return f"{path.name}: {kind}"


def tree(folder: Path, rng: Rng) -> str:
    """Change the tree: cycles, lengths, ASVs."""
    path = folder / "tree.parquet"
    table = pq.read_table(path)
    name = str(rng.choice(table.column_names))
    values = table[name].to_pylist()
    row = int(rng.integers(len(values)))
    drawn = [None, row, len(values) - 1, 0, len(values), 2**32 - 1]
    values[row] = float(rng.choice(NUMBERS)) if name == "length" else drawn[int(rng.integers(len(drawn)))]
    field = table.schema.field(name).with_nullable(True)
    column = pa.array(values, field.type)
    _rewrite(folder, path, table.set_column(table.column_names.index(name), field, column))
    return f"{name}[{row}] is {values[row]}"


def distances(folder: Path, rng: Rng) -> str:
    """Change distances.npy: values, shape, type, order, header."""
    path = folder / "distances.npy"
    matrix = np.load(path)
    kind = str(rng.choice(["value", "shape", "type", "order", "header", "pickle", "cut"]))
    if kind == "value":
        largest = np.finfo(matrix.dtype).max
        row, column = rng.integers(len(matrix), size=2)
        matrix[row, column] = np.clip(rng.choice(NUMBERS), -largest, largest)
    elif kind == "shape":
        matrix = matrix.reshape(1, *matrix.shape) if rng.integers(2) else matrix.ravel()
    elif kind == "type":
        matrix = matrix.astype(rng.choice(["<i4", "<f8", ">f4", "<c8", "<u4", "<f2"]))
    elif kind == "order":
        matrix = np.asfortranarray(matrix)
    elif kind == "pickle":
        matrix = matrix.astype(object)
    np.save(path, matrix)
    content = bytearray(path.read_bytes())
    if kind == "header":
        for _ in range(3):
            content[int(rng.integers(128))] = int(rng.integers(256))
    if kind == "cut":
        content = content[: int(rng.integers(len(content)))]
    path.write_bytes(content)
    repair(folder, path.name)
    return kind


CHANGES: tuple[Callable[[Path, Rng], str], ...] = (
    manifest_value, manifest_value, manifest_text, column_type, columns, column_value, column_value, rows,
    parquet_bytes, parquet_bytes, tree, distances,
)  # fmt: skip
"""Changes that `mutate` draws from. `bomb` is slow, and not among them."""


def _draw_value(document: Any, rng: Rng) -> tuple[str, Any, Any]:
    """Draw a value of a JSON document. Return its path, and its parent with the key of it there."""
    path, parent = "", document
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = keys[int(rng.integers(len(keys)))]
        path += f".{key}"
        value = parent[key]
        if not isinstance(value, dict | list) or not value or rng.integers(4) == 0:
            return path, parent, key
        parent = value


def _draw_file(folder: Path, rng: Rng) -> Path:
    paths = sorted(folder.glob("*.parquet"))
    return paths[int(rng.integers(len(paths)))]


def _draw_table(folder: Path, rng: Rng) -> tuple[Path, pa.Table]:
    path = _draw_file(folder, rng)
    return path, pq.read_table(path)


def _rewrite(folder: Path, path: Path, table: pa.Table) -> None:
    write_parquet(table, path)
    repair(folder, path.name)


def _changed(value: Any, rng: Rng) -> Any:
    """Return another value of about the same type."""
    if rng.integers(6) == 0:
        return None
    if isinstance(value, list):
        if not value or rng.integers(4) == 0:
            return [] if value else [0]
        value = list(value)
        if rng.integers(4) == 0:
            return value[:-1] if rng.integers(2) else [*value, value[-1]]
        index = int(rng.integers(len(value)))
        value[index] = _changed(value[index], rng)
        return value
    if isinstance(value, float):
        return float(rng.choice(NUMBERS))
    if isinstance(value, int):
        return int(rng.choice([0, 1, value + 1, 2**31, 2**32 - 1, 255]))
    return str(rng.choice(["", " ", "x", "\n", "\t", "\x00", "é", "N" * 200, "-", "S1"]))
