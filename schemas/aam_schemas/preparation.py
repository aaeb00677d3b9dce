"""Record of how a model's samples were prepared, so that other samples are prepared the same way.

A run's `config.json` and the header of every model file hold a `Preparation`. It lists what changes the
content of a sample (token limit, selection, rarefaction, tree policy) and the amplicon region that the ASVs
cover: a model trained on V4 sequences is of no use for sequences that begin at other primers.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aam_schemas.common.records import record_from_json
from aam_schemas.common.text import exact_number
from aam_schemas.manifest import Manifest
from aam_schemas.vocabulary import NAMES, PAD, START, A, C, G, T, decode

VERSION = 1
"""Version of the stored form. Fields may be added to it; a change of meaning needs another version."""

REGION_BASES = 20
"""Bases at each end of an ASV that describe the region: about the length of a primer."""

AGREEING_BASES = 15
"""Number of the `REGION_BASES` that must equal the consensus. A random sequence reaches it once in 260,000
times (binomial, p = 1/4)."""

CONSERVED_FRACTION = 0.5
"""An end is compared only if this fraction of the model's ASVs agrees with their own consensus."""

MOST_ASVS = 1 << 16
"""Largest number of ASVs that are described. From more, an evenly spaced selection is taken, since millions
would take seconds."""

_LEAST = {"token_limit": 1, "rarefy_depth": 1, "sequence_length": 1, "min_prevalence": 0}
"""Smallest values of stored numbers."""

Tokens = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """Ends and lengths of ASVs, of `MOST_ASVS` at most. Each counts once, however many reads it has."""

    start: str
    """Most frequent base at each of the first `REGION_BASES` positions."""
    start_fraction: float
    """Fraction of ASVs that agree with `start` at `AGREEING_BASES` positions or more."""
    end: str
    """Most frequent base at each of the last `REGION_BASES` positions."""
    end_fraction: float
    shortest: int
    """Bases of the shortest ASV."""
    median: float
    longest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """Record of how samples were prepared. None means unknown, as for published checkpoints.

    Only for `rarefy_depth`, None has a second meaning: see `is_rarefied`.
    """

    token_limit: int | None = None
    """Most ASVs per sample."""
    select: str | None = None
    """How ASVs are chosen where a sample has more: see `aamprep shard --select`."""
    is_rarefied: bool | None = None
    rarefy_depth: int | None = None
    """Reads per sample after rarefaction; None where samples are not rarefied."""
    seed: int | None = None
    """Seed of rarefaction and of a random selection."""
    has_tree: bool | None = None
    missing_from_tree: str | None = None
    """Treatment of ASVs that the tree lacks: see `aamprep shard --missing-from-tree`."""
    min_prevalence: int | None = None
    """ASVs in fewer samples were removed."""
    min_reads: float | None = None
    """ASVs with fewer reads in the whole table were removed."""
    sequence_length: int | None = None
    """Tokens per ASV, L: START and the bases of the longest one."""
    vocabulary: tuple[str, ...] = NAMES
    """Name of each token; its position is its id."""
    region: Region | None = None

    @staticmethod
    def from_shards(
        manifest: Manifest, tokens: Tokens | None = None, token_limit: int | None = None
    ) -> "Preparation":
        """Describe how a shard set was prepared.

        Parameters
        ----------
        manifest : Manifest
        tokens : ndarray of uint8, shape (U, L), optional
            Its ASVs (`tokens` of asvs.parquet); without them, the region is None.
        token_limit : int, optional
            Most ASVs of a sample that are used, if fewer than the shards hold.
        """
        choices = manifest.choices
        return Preparation(
            token_limit=min(token_limit or choices.token_limit, choices.token_limit),
            select=choices.select,
            is_rarefied=choices.rarefy_depth is not None,
            rarefy_depth=choices.rarefy_depth,
            seed=choices.seed,
            has_tree=manifest.num_branches > 0,
            missing_from_tree=choices.missing_from_tree,
            min_prevalence=choices.min_prevalence,
            min_reads=choices.min_reads,
            sequence_length=manifest.sequence_length,
            vocabulary=manifest.vocabulary,
            region=None if tokens is None or not len(tokens) else describe_region(tokens),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form: JSON values, with the version of the form."""
        return {"version": VERSION, **json.loads(json.dumps(asdict(self)))}

    @staticmethod
    def from_dict(values: object) -> "Preparation":
        """Read the stored form. Unknown names are ignored.

        Raises
        ------
        ValueError
            If it has another version, or a number is impossible.
        TypeError
            If a value has a wrong type; the message names it.
        """
        if isinstance(values, dict) and values.get("version") != VERSION:
            raise ValueError(
                f"the preparation has version {values.get('version')!r}, and this program reads {VERSION}"
            )
        preparation = record_from_json(Preparation, values)
        for name, least in _LEAST.items():
            value = getattr(preparation, name)
            if value is not None and not least <= value < 2**31:
                raise ValueError(f"{name} must be at least {least}, and is {value}")
        return preparation

    def mismatches(self, manifest: Manifest, tokens: Tokens | None = None) -> list[str]:
        """List how a shard set differs from the samples that this model was trained on.

        Parameters
        ----------
        manifest : Manifest
        tokens : ndarray of uint8, shape (U, L), optional
            Its ASVs; without them, regions are not compared.

        Returns
        -------
        list of str
            A sentence for each difference, with both figures; empty if nothing differs. What is not known of
            the model is not compared.
        """
        other = Preparation.from_shards(manifest)
        found = [*self._lengths(other), *self._choices(other)]
        if tokens is not None and len(tokens) and self.region is not None:
            longest = int(_num_bases(tokens).max())
            if longest < self.region.shortest:
                least = self.region.shortest
                found.append(f"ASVs have at most {longest} bases; the model's had at least {least}")
            found += region_mismatches(self.region, tokens)
        return found

    def _lengths(self, other: "Preparation") -> Iterator[str]:
        longest, limit = self.sequence_length, self.token_limit
        if longest is not None and other.sequence_length is not None and other.sequence_length > longest:
            yield f"ASVs have up to {other.sequence_length - 1} bases; the model's had up to {longest - 1}"
        if limit is not None and other.token_limit is not None and other.token_limit < limit:
            yield f"samples keep up to {other.token_limit:,} ASVs; the model's kept up to {limit:,}"

    def _choices(self, other: "Preparation") -> Iterator[str]:
        if self.is_rarefied is not None and self.rarefy_depth != other.rarefy_depth:
            yield f"samples are {_rarefied(other)}; the model's were {_rarefied(self)}"
        if self.select is not None and self.select != other.select:
            yield f"ASVs over the token limit are selected by {other.select}; the model's by {self.select}"
        for name, verb, noun in (("min_prevalence", "in", "samples"), ("min_reads", "with", "reads")):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and mine != theirs:
                least, given = exact_number(mine), exact_number(theirs)
                yield f"ASVs {verb} at least {given} {noun} are kept; the model's {verb} at least {least}"
        if self.vocabulary[: len(other.vocabulary)] != other.vocabulary[: len(self.vocabulary)]:
            yield f"tokens are {', '.join(other.vocabulary)}; the model's are {', '.join(self.vocabulary)}"


def describe_region(tokens: Tokens) -> Region:
    """Describe ends and lengths of ASVs.

    Parameters
    ----------
    tokens : ndarray of uint8, shape (U, L)
        Token ids as `vocabulary.encode` returns them, of at least one ASV. May be memory-mapped.
    """
    tokens = _selection(tokens)
    lengths = _num_bases(tokens)
    start, end = (_consensus(tokens, is_end) for is_end in (False, True))
    return Region(
        start=_letters(start),
        start_fraction=_agreeing_fraction(tokens, start, False),
        end=_letters(end),
        end_fraction=_agreeing_fraction(tokens, end, True),
        shortest=int(lengths.min()),
        median=float(np.median(lengths)),
        longest=int(lengths.max()),
    )


def region_mismatches(region: Region, tokens: Tokens) -> list[str]:
    """List the ends at which ASVs do not look like those of a region.

    An end is listed if fewer than half as many ASVs agree with the consensus as in the region itself.
    An end that is not conserved (`CONSERVED_FRACTION`), such as one trimmed to a fixed length within a
    variable region, says nothing and is never listed.

    Parameters
    ----------
    region : Region
    tokens : ndarray of uint8, shape (U, L)
    """
    tokens, found = _selection(tokens), []
    ends = (("begin", region.start, region.start_fraction), ("end", region.end, region.end_fraction))
    for verb, consensus, expected in ends:
        if expected < CONSERVED_FRACTION:
            continue
        ids = np.array([NAMES.index(letter) for letter in consensus], dtype=np.uint8)
        fraction = _agreeing_fraction(tokens, ids, verb == "end")
        if fraction < expected / 2:
            found.append(
                f"{fraction:.1%} of ASVs {verb} like {consensus}; {expected:.1%} of the model's did: another "
                "region, or primers that were not removed"
            )
    return found


def _selection(tokens: Tokens) -> Tokens:
    return tokens[:: -(-len(tokens) // MOST_ASVS)]


def _num_bases(tokens: Tokens) -> npt.NDArray[np.int64]:
    return (tokens[:, 1:] != PAD).sum(axis=1)


def _end_bases(tokens: Tokens, is_end: bool) -> Tokens:
    """Return the first or last bases, shape (U, REGION_BASES or fewer); PAD where an ASV is shorter."""
    size = min(REGION_BASES, tokens.shape[1] - 1)
    if not is_end:
        return tokens[:, 1 : 1 + size]
    position = _num_bases(tokens)[:, None] + np.arange(1 - size, 1)
    bases = np.take_along_axis(tokens, position.clip(0), axis=1)
    bases[position < 1] = PAD
    return bases


def _consensus(tokens: Tokens, is_end: bool) -> Tokens:
    """Return the most frequent base at each position; A where no ASV has a base there."""
    bases = _end_bases(tokens, is_end)
    counts = np.stack([(bases == base).sum(axis=0) for base in (A, C, G, T)])
    return (A + counts.argmax(axis=0)).astype(np.uint8)


def _agreeing_fraction(tokens: Tokens, consensus: Tokens, is_end: bool) -> float:
    """Return the fraction of ASVs that equal a consensus at enough positions."""
    bases = _end_bases(tokens, is_end)
    size = min(bases.shape[1], len(consensus))
    if not size:
        return 0.0
    is_equal = bases[:, -size:] == consensus[-size:] if is_end else bases[:, :size] == consensus[:size]
    return float((is_equal.sum(axis=1) >= AGREEING_BASES).mean())


def _letters(ids: Tokens) -> str:
    return decode(np.concatenate([[START], ids]).astype(np.uint8)[None, :])[0]


def _rarefied(preparation: Preparation) -> str:
    depth = preparation.rarefy_depth
    return "not rarefied" if depth is None else f"rarefied to {depth:,} reads"
