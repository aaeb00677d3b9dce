"""Random numbers that depend on a sample's id, and not on the order in which samples are read."""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, sample_id: str) -> np.random.Generator:
    """Return the random generator of a sample for one purpose, such as rarefaction."""
    key = hashlib.blake2b(f"{seed}\0{purpose}\0{sample_id}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key, "little")))


def unit_interval(key: str) -> float:
    """Map a text to a number in [0, 1) that is always the same for this text."""
    # The upper 53 bits of the hash fit exactly into a float64.
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


TRAIN_FRACTION, VALIDATION_FRACTION = 0.8, 0.1
"""Fractions of the samples in the splits train and validation. All others are in test."""


def split_of(key: str) -> str:
    """Return the split of a sample: train, validation or test.

    The split is a hash of the key. So it stays the same when samples are added to the study.

    Parameters
    ----------
    key : str
        Sample id, or a value that several samples share, such as a subject.
    """
    position = unit_interval(key)
    if position < TRAIN_FRACTION:
        return "train"
    return "validation" if position < TRAIN_FRACTION + VALIDATION_FRACTION else "test"
