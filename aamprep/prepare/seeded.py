"""Random numbers that belong to a sample: the same whatever is read before it, beside it or after it."""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, sample_id: str) -> np.random.Generator:
    """Make the random generator of one sample for one purpose."""
    key = hashlib.blake2b(f"{seed}\0{purpose}\0{sample_id}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key, "little")))


def unit_interval(key: str) -> float:
    """Give a text its own fixed place in [0, 1)."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1


def split_of(key: str) -> str:
    """Assign a sample to train, validation or test.

    Parameters
    ----------
    key : str
        The sample id, or the value by which samples are kept together (a subject's, say).
    """
    place = unit_interval(key)
    if place < TRAIN_SHARE:
        return "train"
    return "validation" if place < TRAIN_SHARE + VALIDATION_SHARE else "test"
