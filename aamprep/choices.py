"""What you choose when samples are prepared: the named choices and the defaults, each declared once."""

from enum import StrEnum

DEFAULT_TOKEN_LIMIT = 512
"""ASVs kept per sample: nearly all samples of 16S surveys keep nearly all of their reads at this limit."""

DEFAULT_BUDGET = 8.0
"""Gibibytes that a file may declare to hold, unpacked."""


class Select(StrEnum):
    """Order in which a sample's ASVs are kept until the token limit is reached."""

    ABUNDANCE = "abundance"
    """Most reads first, ties by sequence."""
    FIRST = "first"
    """The table's order."""
    RANDOM = "random"
    """A random order, drawn for each sample."""


class MissingFromTree(StrEnum):
    """What becomes of ASVs that the tree lacks."""

    KEEP = "keep"
    """They stay, and take no part in UniFrac."""
    DROP = "drop"
    """They are left out of every sample."""
    REJECT = "reject"
    """Samples that have one are left out."""
