"""Small BIOM files and QIIME 2 artifacts as other tools write them, for tests to damage."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp

UUID = "0bec954b-5d7d-4602-a829-9b6dba375033"
COUNTS = np.array([[1.0, 0, 2], [0, 3, 4], [5, 0, 0]])
"""One row per feature, one column per sample."""
FEATURES = ["ACGT" * 10, "GGGG" * 10, "TTTT" * 10]
SAMPLES = ["S1", "S2", "S3"]


def write_hdf5(
    path: Path,
    counts: Any = COUNTS,
    samples: list[str] = SAMPLES,
    features: list[str] = FEATURES,
    fixed_ids: bool = False,
) -> Path:
    """Write a BIOM 2.1 table as its specification says."""
    matrix = sp.csc_array(np.asarray(counts, dtype=float).reshape(len(features), len(samples)))
    with h5py.File(path, "w") as file:
        file.attrs["id"] = "none"
        file.attrs["type"] = "OTU table"
        file.attrs["format-url"] = "http://biom-format.org"
        file.attrs["format-version"] = np.array([2, 1])
        file.attrs["generated-by"] = "tests"
        file.attrs["creation-date"] = "2026-01-01T00:00:00"
        file.attrs["shape"] = np.array(matrix.shape)
        file.attrs["nnz"] = matrix.nnz
        _write_half(file, "sample", samples, matrix, fixed_ids)
        _write_half(file, "observation", features, matrix.tocsr(), fixed_ids)
    return path


def _write_half(file: h5py.File, axis: str, ids: list[str], matrix: Any, fixed_ids: bool) -> None:
    group = file.create_group(axis)
    group.create_group("metadata")
    group.create_group("group-metadata")
    raw = [name.encode() for name in ids]
    dtype = f"S{max(map(len, raw), default=1)}" if fixed_ids else h5py.string_dtype()
    group.create_dataset("ids", data=np.array(raw, dtype=dtype), **_packed(raw))
    for name in ("data", "indices", "indptr"):
        values = getattr(matrix, name)
        group.create_dataset(f"matrix/{name}", data=values, **_packed(values))


def _packed(values: Any) -> dict[str, str]:
    return {"compression": "gzip"} if len(values) else {}


def as_json(
    counts: Any = COUNTS, samples: list[str] = SAMPLES, features: list[str] = FEATURES, dense: bool = False
) -> dict[str, Any]:
    """Return a BIOM 1.0 document."""
    matrix = np.asarray(counts).reshape(len(features), len(samples))
    triples = [
        [int(row), int(column), matrix[row, column].item()] for row, column in np.argwhere(matrix != 0)
    ]
    return {
        "id": None,
        "format": "Biological Observation Matrix 1.0.0",
        "format_url": "http://biom-format.org",
        "type": "OTU table",
        "generated_by": "tests",
        "date": "2026-01-01T00:00:00",
        "rows": [{"id": name, "metadata": None} for name in features],
        "columns": [{"id": name, "metadata": None} for name in samples],
        "matrix_type": "dense" if dense else "sparse",
        "matrix_element_type": "float",
        "shape": [len(features), len(samples)],
        "data": matrix.tolist() if dense else triples,
    }


def write_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_artifact(
    path: Path, semantic_type: str, member: str, content: bytes, archive: float | str = 5, **changes: bytes
) -> Path:
    """Write a QIIME 2 artifact; `changes` replace files after the checksums were computed."""
    major = int(str(archive).split(".")[0])
    files = {
        "VERSION": f"QIIME 2\narchive: {archive}\nframework: 2024.10.0\n".encode(),
        "metadata.yaml": f"uuid: {UUID}\ntype: {semantic_type}\nformat: Some\n".encode(),
        member: content,
    }
    if major >= 5:
        algorithm = "md5" if major < 7 else "sha512"
        files[f"checksums.{algorithm}"] = checksums(files, algorithm)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for name, data in (files | changes).items():
            archive_file.writestr(f"{UUID}/{name}", data)
    return path


def checksums(files: dict[str, bytes], algorithm: str) -> bytes:
    """Return a file of checksums as QIIME 2 writes it."""
    sums = {name: hashlib.new(algorithm, data, usedforsecurity=False) for name, data in files.items()}
    return "".join(f"{digest.hexdigest()}  {name}\n" for name, digest in sums.items()).encode()


def dense(table: Any) -> np.ndarray:
    """Return the counts of a table, one row per feature; entries of the same cell are summed."""
    matrix = np.zeros((len(table.feature_ids), len(table.sample_ids)))
    sample = np.repeat(np.arange(len(table.sample_ids)), np.diff(table.indptr))
    np.add.at(matrix, (np.asarray(table.feature), sample), np.asarray(table.count))
    return matrix
