"""A precomputed distance matrix, put in the order of the samples that are written."""

import numpy as np
import numpy.typing as npt

from aamprep.inputs import Distances


def aligned(distances: Distances, sample_ids: list[str]) -> npt.NDArray[np.float32]:
    """Take the rows and columns of the written samples.

    Parameters
    ----------
    distances : Distances
    sample_ids : list of str
        As the metadata and the matrix name them, in manifest order.

    Returns
    -------
    ndarray of float32, shape (samples, samples)
        NaN where the matrix lacks a sample.
    """
    row_of = {sample_id: row for row, sample_id in enumerate(distances.ids)}
    rows = np.array([row_of.get(sample_id, -1) for sample_id in sample_ids], dtype=np.int64)
    matrix = distances.matrix[np.ix_(rows, rows)]
    matrix[rows < 0, :] = matrix[:, rows < 0] = np.nan
    # What differs by less than the reader minds may be rounded apart: the mean is the same both ways.
    return ((matrix + matrix.T) / 2).astype(np.float32)
