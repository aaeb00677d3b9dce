"""Named choices and defaults of preparing samples, each declared once."""

from enum import StrEnum

DEFAULT_TOKEN_LIMIT = 512
"""Maximum number of ASVs per sample. At this limit, most samples of 16S surveys keep nearly all reads."""

DEFAULT_BUDGET = 8.0
"""Maximum unpacked size that a file may declare, in GiB. Larger files are refused before they are read."""


class Select(StrEnum):
    """Order in which a sample's ASVs are kept until the token limit is reached."""

    ABUNDANCE = "abundance"
    """Most reads first; ties are ordered by sequence."""
    FIRST = "first"
    """Order of the table."""
    RANDOM = "random"
    """Random order, drawn for each sample."""


class MissingFromTree(StrEnum):
    """Treatment of ASVs that are not in the tree."""

    KEEP = "keep"
    """Keep them. UniFrac ignores them."""
    DROP = "drop"
    """Remove them from every sample."""
    REJECT = "reject"
    """Reject the samples that have such ASVs."""
