"""What the samples of a study are like: the figures that the reports show."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_COLUMNS = ("depth_before_rarefaction", "depth", "depth_kept", "num_asvs", "num_asvs_kept")


@dataclass
class Summary:
    """Figures per sample, gathered block by block."""

    sample_ids: list[str] = field(default_factory=list)
    _parts: list[list[npt.NDArray[np.float64]]] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Take in a block of prepared samples."""
        self.sample_ids.extend(table["sample_id"].to_pylist())
        self._parts.append([table[name].to_numpy().astype(np.float64) for name in _COLUMNS])

    def per_sample(self, column: str) -> npt.NDArray[np.float64]:
        """Give one figure for each sample: a depth column or a number of ASVs, as the shards name it."""
        index = _COLUMNS.index(column)
        return np.concatenate([np.zeros(0), *(part[index] for part in self._parts)])

    @property
    def share_kept(self) -> npt.NDArray[np.float64]:
        """Share of each sample's reads that the token limit keeps."""
        return self.per_sample("depth_kept") / self.per_sample("depth")
