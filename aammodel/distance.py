"""True distances of samples, from the branches that they cover: exact for any pair, with no N x N matrix."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def unweighted_unifrac(
    branches: Sequence[npt.NDArray[np.integer]], branch_length: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Compute the unweighted UniFrac distance of all pairs of samples (Lozupone and Knight 2005).

    The share of the branch length that two samples cover together which only one of them covers.

    Parameters
    ----------
    branches : sequence of ndarray of int, one per sample
        Branches that each sample covers, as rows of the tree table.
    branch_length : ndarray of float64, shape (branches of the tree,)

    Returns
    -------
    ndarray of float64, shape (B, B)
        NaN for pairs with a sample that covers no branch: no read of it is in the tree.
    """
    sizes = [len(one) for one in branches]
    row = np.repeat(np.arange(len(branches)), sizes)
    distinct, column = np.unique(np.concatenate(branches), return_inverse=True)
    covers = np.zeros((len(branches), len(distinct)))
    covers[row, column] = 1.0
    shared = (covers * branch_length[distinct]) @ covers.T
    covered = np.diag(shared)
    either = covered[:, None] + covered[None, :] - shared
    # Two samples that cover branches of length 0 alone are not apart.
    distance = np.where(either > 0, 1.0 - shared / np.where(either > 0, either, 1.0), 0.0)
    is_empty = np.array(sizes) == 0
    distance[is_empty, :] = distance[:, is_empty] = np.nan
    np.fill_diagonal(distance, np.where(is_empty, np.nan, 0.0))
    return distance
