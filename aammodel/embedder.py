"""Embeddings of samples as a transformer of scikit-learn. scikit-learn is imported with this module."""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.text import shorten
from aammodel.api import Model, Run, load
from aammodel.workflows.prepared import counts_in_memory, open_data, rejects_samples_only

if TYPE_CHECKING:
    from aamprep.counts import Counts

Float32Array = npt.NDArray[np.float32]
_REJECTED = ("error", "nan")
_NAMED = 5


@dataclass
class _Embedded:
    """Embedded samples of an embedder and its clones, so that folds do not embed a sample again."""

    source: tuple[object, ...] = ()
    """Path, state on disk and device of the model."""
    model: Model | None = None
    rows: dict[bytes, Float32Array | str] = field(default_factory=dict)
    """Embedding of each sample, or the reason why it was rejected, by a digest of its content."""
    lock: threading.RLock = field(default_factory=threading.RLock)


class AamEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed samples with a pretrained model, in a pipeline of scikit-learn.

    Nothing is fitted: the row of a sample depends on the sample and the model alone. So a pipeline cannot
    leak from test samples to training samples, and a table may have other ASVs than that of the fit.

    Parameters
    ----------
    run : path or Run
        Folder of a run, of one of its checkpoints, or a model file. A pickle has the path, and not the
        weights.
    rep_seqs : optional
        Sequences of the ASVs, if the columns of X are no sequences: a mapping or pandas Series from the names
        of columns, or a FASTA file or artifact. For an array, which has no names of columns: a list of one
        sequence for each column.
    rejected : {"error", "nan"}
        What to do with a sample that cannot be embedded, such as one without reads, or with fewer reads than
        the model's samples were rarefied to: raise an error that names it, or return a row of NaN.
    device : str
        Such as "cpu" or "cuda". "auto" takes a GPU if there is one.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> pipeline = make_pipeline(AamEmbedder("run"), LogisticRegression())  # doctest: +SKIP
    >>> cross_val_score(pipeline, X, y, groups=subjects, cv=GroupKFold())  # doctest: +SKIP
    """

    def __init__(
        self, run: str | Path | Run, *, rep_seqs: Any = None, rejected: str = "error", device: str = "auto"
    ) -> None:
        self.run = run
        self.rep_seqs = rep_seqs
        self.rejected = rejected
        self.device = device

    def fit(self, X: Any, y: Any = None) -> "AamEmbedder":
        """Load the model. Nothing is learned from X.

        Raises
        ------
        UsageError
            If there is no such run, the device cannot be used, or a parameter is invalid.
        """
        if self.rejected not in _REJECTED:
            raise UsageError(
                f"there is no choice {self.rejected!r}", "rejected", f"choose among: {', '.join(_REJECTED)}"
            )
        self._loaded()
        return self

    def transform(self, X: Any) -> Float32Array:
        """Embed samples.

        Parameters
        ----------
        X : data frame, AnnData, array, sparse matrix, biom.Table, path, or shards
            In a data frame of pandas or polars, rows are samples and columns are sequences. In an AnnData,
            the sequences are `var["sequence"]` or `var_names`. scikit-learn can take rows of these, and of
            arrays. A biom.Table, the path of a table or artifact, and shards are embedded whole.

        Returns
        -------
        ndarray of float32, shape (samples, D)
            A row for each sample, in the order of X. Shards are in the order of their manifest.

        Raises
        ------
        UsageError
            If the model cannot read X, or it has no sequences.
        InvalidDataError
            If a sample cannot be embedded, and `rejected` is "error".
        """
        with self._embedded().lock:
            self.fit(X)
            counts = counts_in_memory(X, self.rep_seqs)
            if counts is None:
                return self._stacked(*self._of_files(X))
            names = counts.sample_ids or [f"row {row}" for row in range(counts.matrix.shape[0])]
            return self._stacked(names, self._of_counts(counts))

    def __sklearn_clone__(self) -> "AamEmbedder":
        clone = super().__sklearn_clone__()
        clone._cache = self._embedded()
        return clone

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        # Columns of X are sequences, and their number differs between tables.
        tags.no_validation = True
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_cache"}

    @property
    def _n_features_out(self) -> int:
        """Number of columns of the result, from which their names are made."""
        return self._loaded().network.config.width

    def _embedded(self) -> _Embedded:
        if "_cache" not in self.__dict__:
            self._cache = _Embedded()
        return self._cache

    def _loaded(self) -> Model:
        """Return the model. It is loaded again if another run is at its path."""
        path = _path_of(self.run)
        # A run that does not exist is named by `load`.
        state = os.stat(path) if os.path.exists(path) else None
        source = (path, state and (state.st_ino, state.st_mtime_ns), str(self.device))
        cache = self._embedded()
        with cache.lock:
            if cache.model is None or cache.source != source:
                cache.rows.clear()
                cache.source, cache.model = source, load(path, device=self.device)
            return cache.model

    def _of_files(self, data: Any) -> tuple[tuple[str, ...], list[Float32Array | str]]:
        """Return the ids of the samples of tables or shards, and the row of each or why it has none."""
        model = self._loaded()
        with open_data(data, model.preparation, self._files()) as opened:
            found = model.embed(opened.shards)
            rejected = opened.rejected()
        rows = dict(zip(found.sample_ids, found.embedding, strict=True))
        ids = opened.table_ids or found.sample_ids
        return ids, [rows.get(name, rejected.get(name, "was rejected")) for name in ids]

    def _of_counts(self, counts: "Counts") -> list[Float32Array | str]:
        """Return the row of each sample, or why it has none. New samples are embedded, each content once."""
        keys = list(self._keys(counts))
        rows = self._embedded().rows
        new = {key: row for row, key in reversed(list(enumerate(keys))) if key not in rows}
        if new:
            self._embed(counts, new)
        return [rows[key] for key in keys]

    def _embed(self, counts: "Counts", new: Mapping[bytes, int]) -> None:
        """Embed samples, given as the row of each key, and remember them."""
        # Rarefaction draws by the id of a sample. Without ids, equal samples get equal draws.
        names = {key: counts.sample_ids[row] if counts.sample_ids else key.hex() for key, row in new.items()}
        if len(set(names.values())) < len(names):
            twice = max(names.values(), key=list(names.values()).count)
            raise UsageError(
                f"rows with different counts have the same name {shorten(twice, 80)!r}",
                "X",
                "give each sample a name of its own in the index",
            )
        model = self._loaded()
        selected = counts.rows(list(new.values()), list(names.values()))
        try:
            with open_data(selected, model.preparation, self._files()) as opened:
                found, rejected = model.embed(opened.shards), opened.rejected()
            embedded = dict(zip(found.sample_ids, found.embedding, strict=True))
        except InvalidDataError as error:
            if not rejects_samples_only(error):
                raise
            embedded, rejected = {}, dict.fromkeys(names.values(), error.what)
        for key, name in names.items():
            self._embedded().rows[key] = embedded[name] if name in embedded else rejected[name]

    def _files(self) -> dict[str, Any]:
        """Return what goes with a table. A list of sequences has become the names of its columns."""
        is_list = isinstance(self.rep_seqs, list | tuple | np.ndarray)
        return {} if self.rep_seqs is None or is_list else {"rep_seqs": self.rep_seqs}

    def _keys(self, counts: "Counts") -> Iterator[bytes]:
        """Yield a digest of each sample: its id, and the sequences and counts of its ASVs."""
        sequences = counts.sequences or {}
        if isinstance(self.rep_seqs, Mapping) or hasattr(self.rep_seqs, "items"):
            sequences = dict(self.rep_seqs.items())
        source = repr(self.rep_seqs) if isinstance(self.rep_seqs, str | os.PathLike) else ""
        names = [_digest(f"{source}{sequences.get(name, name)}".encode()) for name in counts.feature_ids]
        features, matrix = np.array(names, dtype="S16"), counts.matrix
        for row, (start, stop) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
            name = counts.sample_ids[row] if counts.sample_ids else ""
            columns = matrix.indices[start:stop]
            parts = (_digest(name.encode()), features[columns].tobytes(), matrix.data[start:stop].tobytes())
            yield _digest(b"".join(parts))

    def _stacked(self, names: Any, rows: list[Float32Array | str]) -> Float32Array:
        missing = {row: reason for row, reason in enumerate(rows) if isinstance(reason, str)}
        if missing and self.rejected == "error":
            listed = "; ".join(
                f"{shorten(names[row], 80)} {reason}" for row, reason in [*missing.items()][:_NAMED]
            )
            more = f"; and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
            raise InvalidDataError(
                f"{len(missing):,} of {len(rows):,} samples cannot be embedded: {listed}{more}",
                "X",
                "leave these samples out of X and y, or set rejected='nan' to get rows of NaN",
            )
        found = np.full((len(rows), self._n_features_out), np.nan, dtype=np.float32)
        for row, values in enumerate(rows):
            if row not in missing:
                found[row] = values
        return found


def _path_of(run: Any) -> str:
    if isinstance(run, str | os.PathLike):
        return os.fspath(run)
    raise UsageError(f"{type(run).__name__} is not a run", "run", "give the folder of a run, or a Run")


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()
