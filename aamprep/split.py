"""Splits: 80/10/10 by a hash, so that a sample stays in its split whatever is added or removed."""

from aamprep.draw import unit_interval

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
