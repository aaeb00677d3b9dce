"""Values and lengths of Arrow list columns."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aamprep.arrays import Int64Array


def list_values(table: pa.Table, name: str) -> npt.NDArray[np.generic]:
    """Return the values of a list column, concatenated over all rows."""
    return table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)


def list_sizes(table: pa.Table, name: str) -> Int64Array:
    """Return the number of values in each row of a list column."""
    return pc.list_value_length(table[name]).to_numpy().astype(np.int64)
