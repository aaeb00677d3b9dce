"""Token ids of nucleotides.

Ids 0 to 6 are those of the published AAM checkpoints, so that these can be loaded. Every IUPAC ambiguity code
becomes N, an uncertain base call. It is never treated as padding.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PAD, A, C, G, T, START, MASK, N = range(8)
SIZE = 8
NAMES = ("PAD", "A", "C", "G", "T", "START", "MASK", "N")

AMBIGUITY_CODES = "RYSWKMBDHVN"
NUCLEOTIDE_CODES = "ACGTU" + AMBIGUITY_CODES

SHORTEST_SEQUENCE_ID = 30
"""Shortest feature id that is taken for a sequence. A shorter one (`GATTACA`) may be a plain name."""

# Marks bytes that are no nucleotide code in the lookup table. Tokens are below 8.
_INVALID = 255


def _token_of_byte() -> npt.NDArray[np.uint8]:
    """Return the token of each ASCII byte, shape (256,)."""
    table = np.full(256, _INVALID, dtype=np.uint8)
    tokens = {"A": A, "C": C, "G": G, "T": T, "U": T} | dict.fromkeys(AMBIGUITY_CODES, N)
    for letter, token in tokens.items():
        table[ord(letter)] = table[ord(letter.lower())] = token
    return table


_TOKEN_OF_BYTE = _token_of_byte()
_LETTER_OF_TOKEN = np.frombuffer(b".ACGT^?N", dtype=np.uint8)
_IS_BASE = np.isin(np.arange(256), (A, C, G, T, N))

_COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")
_NO_CODE = re.compile(f"[^{NUCLEOTIDE_CODES}{NUCLEOTIDE_CODES.lower()}]")


def fold(sequence: str) -> str:
    """Return a sequence in upper case, with T for U."""
    return sequence.upper().replace("U", "T")


def reverse_complement(sequence: str) -> str:
    """Return the reverse complement of a sequence in IUPAC codes, in upper case with T for U."""
    return sequence.translate(_COMPLEMENT)[::-1]


def first_invalid_position(sequence: str) -> int | None:
    """Return the position of the first character that is not an IUPAC nucleotide code.

    Returns
    -------
    int or None
        The 0-based position, or None if every character is a code.
    """
    invalid = _NO_CODE.search(sequence)
    return invalid.start() if invalid else None


def is_sequence(feature_id: str) -> bool:
    """Return whether a feature id is itself a nucleotide sequence: 30 or more IUPAC codes."""
    return len(feature_id) >= SHORTEST_SEQUENCE_ID and first_invalid_position(feature_id) is None


def encode(sequences: Sequence[str], length: int) -> npt.NDArray[np.uint8]:
    """Encode sequences as token ids.

    Parameters
    ----------
    sequences : sequence of str, U of them
        IUPAC nucleotide codes, in either case.
    length : int
        Tokens per ASV, L: START and the bases of the longest sequence.

    Returns
    -------
    ndarray of uint8, shape (U, L)
        START, the bases, and PAD up to the length.

    Raises
    ------
    ValueError
        If a sequence contains anything but IUPAC codes, or is longer than L - 1 bases.
    """
    num_bases = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    # "replace" turns every non-ASCII character into "?", which is not a nucleotide code. Each character thus
    # stays one byte, and `num_bases` stays valid.
    letters = np.frombuffer("".join(sequences).encode("ascii", "replace"), dtype=np.uint8)
    bases = _TOKEN_OF_BYTE[letters]
    if (num_bases >= length).any() or (bases == _INVALID).any():
        bad = next(s for s in sequences if len(s) >= length or first_invalid_position(s) is not None)
        raise ValueError(f"a sequence is not {length - 1} or fewer nucleotide codes: {bad[:50]!r}")
    tokens = np.zeros((len(sequences), length), dtype=np.uint8)
    tokens[:, 0] = START
    tokens[:, 1:][np.arange(length - 1) < num_bases[:, None]] = bases
    return tokens


def are_asvs(tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return which rows are valid ASVs, as `encode` writes them: START, at least one base, then padding.

    Parameters
    ----------
    tokens : ndarray of uint8, shape (U, L)
        Token ids, one row per ASV.

    Returns
    -------
    ndarray of bool, shape (U,)
    """
    rest = tokens[:, 1:]
    is_base = _IS_BASE[rest]
    is_known = (is_base | (rest == PAD)).all(axis=1)
    has_gap = (is_base[:, 1:] & ~is_base[:, :-1]).any(axis=1)
    return (tokens[:, 0] == START) & is_base.any(axis=1) & is_known & ~has_gap


def decode(tokens: npt.NDArray[np.uint8]) -> list[str]:
    """Decode token ids as bases, without START and padding. MASK becomes `?`.

    Parameters
    ----------
    tokens : ndarray of uint8, shape (U, L)
        Token ids, one row per ASV.

    Returns
    -------
    list of str, U of them
    """
    letters = _LETTER_OF_TOKEN[tokens[:, 1:]]
    return [row.tobytes().decode().rstrip(".") for row in letters]
