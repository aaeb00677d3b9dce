"""Write tables as BIOM files: simulated studies, and tables from Python."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import scipy.sparse as sp

NO_TABLE_ID = "No Table ID"
"""Id that the biom-format library writes for a table without an id."""


def write_biom(
    path: Path, sample_ids: tuple[str, ...], feature_ids: tuple[str, ...], counts: "sp.csr_matrix"
) -> None:
    """Write a table as BIOM 2.1 (http://biom-format.org/documentation/format_versions/biom-2.1.html).

    Parameters
    ----------
    path : Path
    sample_ids, feature_ids : tuple of str
    counts : scipy.sparse.csr_matrix of float64, shape (samples, features)
    """
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["id"] = NO_TABLE_ID
        file.attrs["type"] = "OTU table"
        file.attrs["format-url"] = "http://biom-format.org"
        file.attrs["format-version"] = (2, 1)
        file.attrs["generated-by"] = "aamprep simulate"
        # A fixed date, so that the same study gives the same bytes.
        file.attrs["creation-date"] = "2026-01-01T00:00:00"
        file.attrs["shape"] = (len(feature_ids), len(sample_ids))
        file.attrs["nnz"] = counts.nnz
        for axis, ids, matrix in (
            ("sample", sample_ids, counts),
            ("observation", feature_ids, counts.T.tocsr()),
        ):
            group = file.create_group(axis)
            group.create_dataset("ids", data=[name.encode() for name in ids], dtype=h5py.string_dtype())
            group.create_group("metadata")
            group.create_group("group-metadata")
            arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
            for name, values in arrays.items():
                # HDF5 cannot compress an empty array.
                compression = {"compression": "gzip", "compression_opts": 1} if len(values) else {}
                group.create_dataset(f"matrix/{name}", data=values, **compression)
